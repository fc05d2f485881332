//! Processors of a guest: threads, times, and where they may run.

use lodge_domain::control::tune;
use lodge_domain::control::vcpu::iothread::{Iothread, numbers};
use lodge_domain::control::vcpu::pin::Processors;
use lodge_model::domain::Domain;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity};
use serde::Deserialize;

use super::{Guest, Look, process};

/// A processor of a running guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VcpuView {
    /// Its number.
    pub number: u32,
    /// The host's thread.
    pub thread: u32,
    /// Processor time it used, in nanoseconds.
    pub time_ns: u64,
    /// The host's processor it ran on last.
    pub cpu: i32,
    /// The host's processors it may run on.
    pub affinity: Processors,
}

/// An I/O thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IothreadView {
    /// Its number.
    pub number: u32,
    /// The host's processors it may run on.
    pub affinity: Processors,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Thread {
    cpu_index: u32,
    thread_id: u32,
}

/// The host's processors a thread may run on.
fn affinity(thread: u32) -> Option<Processors> {
    let set = sched_getaffinity(Pid::from_raw(i32::try_from(thread).ok()?)).ok()?;
    let mut map = vec![0_u8; CpuSet::MAX_CPU / 8];
    for number in (0..CpuSet::MAX_CPU).filter(|number| set.is_set(*number)) {
        map[number / 8] |= 1 << (number % 8);
    }
    Some(Processors::of_map(&map))
}

/// How many processors the host has.
pub(crate) fn host_processors() -> u32 {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/present").unwrap_or_default();
    let present = Processors::parse(online.trim()).and_then(|present| present.numbers().last().copied());
    present.map_or_else(
        || std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1)),
        |last| last + 1,
    )
}

impl Guest {
    /// Every processor of the running guest.
    #[crate::boxed]
    pub async fn vcpus(&self) -> Look<Vec<VcpuView>> {
        let pid = self.pid()?;
        let threads: Vec<Thread> = self.ask("query-cpus-fast", ()).await?;
        let view = |thread: Thread| {
            let times = process::times(pid, Some(thread.thread_id)).unwrap_or_default();
            VcpuView {
                number: thread.cpu_index,
                thread: thread.thread_id,
                time_ns: times.total_ns,
                cpu: times.last_cpu,
                affinity: affinity(thread.thread_id).unwrap_or_default(),
            }
        };
        Ok(threads.into_iter().map(view).collect())
    }

    /// How many processors the host has.
    pub fn host_processors(&self) -> u32 {
        host_processors()
    }

    /// Where each processor may run, as the document says it.
    pub fn vcpu_pins(&self, live: bool) -> Look<Vec<Processors>> {
        let domain = self.document_of(live)?;
        let all = domain_wide(&domain);
        let count = domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
        let pins = domain.cputune.as_deref().map(|tune| tune.vcpu_pins.as_slice()).unwrap_or_default();
        let of = |number| {
            let own = pins.iter().find(|pin| pin.vcpu == number);
            own.and_then(|pin| Processors::parse(&pin.cpuset)).unwrap_or_else(|| all.clone())
        };
        Ok((0..count).map(of).collect())
    }

    /// Where QEMU's other threads may run, as the document says it.
    pub fn emulator_pin(&self, live: bool) -> Look<Processors> {
        let domain = self.document_of(live)?;
        let own = domain.cputune.as_deref().and_then(|tune| tune.emulator_pin.as_ref());
        Ok(own.and_then(|pin| Processors::parse(&pin.cpuset)).unwrap_or_else(|| domain_wide(&domain)))
    }

    /// The I/O threads of the running guest (`live`), or of the definition.
    #[crate::boxed]
    pub async fn iothreads(&self, live: bool) -> Look<Vec<IothreadView>> {
        if live {
            self.must_run()?;
            let threads: Vec<Iothread> = self.ask("query-iothreads", ()).await?;
            let view = |thread: Iothread| {
                let affinity = affinity(thread.thread_id).unwrap_or_default();
                Some(IothreadView { number: thread.number()?, affinity })
            };
            return Ok(threads.into_iter().filter_map(view).collect());
        }
        let domain = self.document_of(false)?;
        let all = domain_wide(&domain);
        let pins = domain.cputune.as_deref().map(|tune| tune.iothread_pins.as_slice()).unwrap_or_default();
        let view = |number| {
            let own = pins.iter().find(|pin| pin.iothread == number);
            let affinity = own.and_then(|pin| Processors::parse(&pin.cpuset)).unwrap_or_else(|| all.clone());
            IothreadView { number, affinity }
        };
        Ok(numbers(&domain).into_iter().map(view).collect())
    }

    /// How many processors: the most there can be, or those there are.
    pub fn vcpu_count(&self, live: bool, maximum: bool) -> Look<u32> {
        let domain = self.document_of(live)?;
        if maximum {
            return Ok(domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count));
        }
        let plugged = lodge_domain::control::vcpu::plugged_in(&domain);
        Ok(u32::try_from(plugged.iter().filter(|plugged| **plugged).count()).unwrap_or(u32::MAX))
    }

    /// The guest's own cgroup, as far as this host gave one.
    pub fn limits(&self, controller: tune::Controller) -> Look<tune::Limits> {
        self.must_run()?;
        tune::Limits::of(&self.handle.cgroup(), controller)
    }
}

fn domain_wide(domain: &Domain) -> Processors {
    let set = domain.vcpu.as_ref().and_then(|vcpu| vcpu.cpuset.as_deref());
    set.and_then(Processors::parse).unwrap_or_else(|| Processors::all(host_processors()))
}
