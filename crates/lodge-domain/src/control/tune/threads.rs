//! What a document says of a guest's threads, done to those there are: pins, turns, shares of time.
//!
//! At a start all of it, before the guest's processors run; later for threads that were plugged in, and for what a
//! change sets. libvirt's three sorts: a processor each, an I/O thread each, and QEMU's others as one (`emulator`).

use std::path::Path;

use lodge_model::domain::Domain;
use lodge_model::domain::cpu::CpuTune;
use lodge_model::domain::processors::Processors;
use lodge_model::xml::Kept;
use lodge_qemu::qmp::Monitor;
use lodge_sys::scheduler::{Policy, set_policy};

use super::{Bandwidth, Controller, Limits, failed};
use crate::control::vcpu::iothread::Iothread;
use crate::control::vcpu::pin::bind;
use crate::control::{Refusal, Sort};

/// A sort of thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A guest's processor, by number.
    Vcpu(u32),
    /// An I/O thread, by number.
    Iothread(u32),
    /// All others.
    Emulator,
}

impl Role {
    /// libvirt's name of its group.
    pub fn group(self) -> String {
        match self {
            Self::Vcpu(number) => format!("vcpu{number}"),
            Self::Iothread(number) => format!("iothread{number}"),
            Self::Emulator => "emulator".to_owned(),
        }
    }

    fn bandwidth(self, tune: &CpuTune) -> Bandwidth {
        let (period_us, quota_us) = match self {
            Self::Vcpu(_) => (tune.period_us, tune.quota_us),
            Self::Iothread(_) => (tune.iothread_period_us, tune.iothread_quota_us),
            Self::Emulator => (tune.emulator_period_us, tune.emulator_quota_us),
        };
        Bandwidth { period_us, quota_us }
    }

    /// The host's processors it may run on, as the document says; `None`: it says nothing.
    fn pin(self, domain: &Domain) -> Option<Processors> {
        let tune = domain.cputune.as_deref();
        let own = tune.and_then(|tune| match self {
            Self::Vcpu(number) => {
                tune.vcpu_pins.iter().find(|pin| pin.vcpu == number).map(|pin| pin.cpuset.as_str())
            }
            Self::Iothread(number) => {
                tune.iothread_pins.iter().find(|pin| pin.iothread == number).map(|pin| pin.cpuset.as_str())
            }
            Self::Emulator => tune.emulator_pin.as_ref().map(|pin| pin.cpuset.as_str()),
        });
        let said = own.or_else(|| domain.vcpu.as_ref()?.cpuset.as_deref()).and_then(Processors::parse);
        // QEMU begins on its own threads' processors, and what it begins there would stay on them.
        let is_confined = self != Self::Emulator && tune.is_some_and(|tune| tune.emulator_pin.is_some());
        said.or_else(|| is_confined.then(online))
    }

    fn turns(self, domain: &Domain) -> Result<Option<(Policy, i32)>, Refusal> {
        let Some(tune) = domain.cputune.as_deref() else { return Ok(None) };
        let (element, list, number) = match self {
            Self::Vcpu(number) => ("vcpusched", "vcpus", Some(number)),
            Self::Iothread(number) => ("iothreadsched", "iothreads", Some(number)),
            Self::Emulator => ("emulatorsched", "", None),
        };
        let is_for_it = |turns: &Kept| {
            let listed = turns.attribute(list).and_then(Processors::parse);
            number.is_none_or(|number| listed.is_some_and(|listed| listed.numbers().contains(&number)))
        };
        let all = tune.foreign.trees(element);
        let Some(turns) = all.iter().find(|turns| is_for_it(turns)) else { return Ok(None) };
        let word = turns.attribute("scheduler").unwrap_or_default();
        let policy = Policy::parse(word).ok_or_else(|| {
            Refusal::new(Sort::ConfigUnsupported, format!("Unknown scheduler '{word}' in <{element}>"))
        })?;
        let priority = turns.attribute("priority").and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Some((policy, if policy.is_real_time() { priority } else { 0 })))
    }
}

/// A guest's threads as they are.
#[derive(Debug)]
pub(crate) struct Threads {
    pid: u32,
    single: Vec<(Role, u32)>,
}

impl Threads {
    /// Asks QEMU.
    pub async fn of(monitor: &Monitor, pid: u32) -> Result<Self, Refusal> {
        let (vcpus, iothreads) =
            tokio::join!(monitor.vcpus(), monitor.execute::<Vec<Iothread>>("query-iothreads", ()));
        let vcpus = vcpus.map_err(Refusal::from)?;
        let iothreads = iothreads.map_err(Refusal::from)?;
        let vcpus = vcpus.iter().map(|vcpu| (Role::Vcpu(vcpu.cpu_index), vcpu.thread_id));
        let iothreads =
            iothreads.iter().filter_map(|thread| Some((Role::Iothread(thread.number()?), thread.thread_id)));
        Ok(Self { pid, single: vcpus.chain(iothreads).collect() })
    }

    /// Every sort there is, with its threads. Under TCG several processors may be one thread.
    fn groups(&self) -> Vec<(Role, Vec<u32>)> {
        let mut groups: Vec<_> = self.single.iter().map(|(role, thread)| (*role, vec![*thread])).collect();
        groups.push((Role::Emulator, self.others()));
        groups
    }

    /// The guest's processors by number, with the thread of each.
    pub fn vcpus(&self) -> impl Iterator<Item = (u32, u32)> {
        self.single.iter().filter_map(|(role, thread)| match role {
            Role::Vcpu(number) => Some((*number, *thread)),
            Role::Iothread(_) | Role::Emulator => None,
        })
    }

    /// QEMU's other threads.
    pub fn others(&self) -> Vec<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        let numbers = tasks.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter(|number| self.single.iter().all(|(_, thread)| thread != number)).collect()
    }

    /// Pins, turns and shares of all threads that `chosen` takes.
    pub fn apply(
        &self,
        domain: &Domain,
        cgroup: &Path,
        chosen: impl Fn(Role) -> bool,
    ) -> Result<(), Refusal> {
        for (role, threads) in self.groups().into_iter().filter(|(role, _)| chosen(*role)) {
            if let Some(pin) = role.pin(domain) {
                threads.iter().try_for_each(|thread| bind(*thread, &pin))?;
            }
            if let Some((policy, priority)) = role.turns(domain)? {
                for thread in &threads {
                    set_policy(*thread, policy, priority).map_err(|error| {
                        failed(&format!("Cannot set scheduler parameters for pid {thread}"), &error)
                    })?;
                }
            }
        }
        self.share(domain, cgroup, chosen)
    }

    /// Their shares of time alone.
    pub fn share(
        &self,
        domain: &Domain,
        cgroup: &Path,
        chosen: impl Fn(Role) -> bool,
    ) -> Result<(), Refusal> {
        let Some(tune) = domain.cputune.as_deref() else { return Ok(()) };
        for (role, threads) in self.groups().into_iter().filter(|(role, _)| chosen(*role)) {
            let bandwidth = role.bandwidth(tune);
            if bandwidth.is_empty() {
                continue;
            }
            let limits = Limits::of(cgroup, Controller::Cpu).map_err(|_| {
                Refusal::new(Sort::ConfigUnsupported, "cgroup cpu is required for scheduler tuning")
            })?;
            let group = limits.make_threads(&role.group())?;
            threads.iter().try_for_each(|thread| group.join(*thread))?;
            if role == Role::Emulator {
                // Those that were begun meanwhile; whatever is begun from now on is in it from its birth.
                self.others().iter().try_for_each(|thread| group.join(*thread))?;
            }
            group.set_bandwidth(bandwidth)?;
        }
        Ok(())
    }
}

/// The host's processors that are switched on.
fn online() -> Processors {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    Processors::parse(text.trim()).filter(|online| !online.numbers().is_empty()).unwrap_or_else(|| {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Processors::all(u32::try_from(count).unwrap_or(1))
    })
}

/// Whether a document says anything of threads.
pub(crate) fn is_tuned(domain: &Domain) -> bool {
    let tune = domain.cputune.as_deref();
    domain.vcpu.as_ref().is_some_and(|vcpu| vcpu.cpuset.is_some())
        || tune.is_some_and(|tune| {
            !tune.vcpu_pins.is_empty()
                || !tune.iothread_pins.is_empty()
                || tune.emulator_pin.is_some()
                || !tune.foreign.is_empty()
                || [Role::Vcpu(0), Role::Iothread(0), Role::Emulator]
                    .iter()
                    .any(|role| !role.bandwidth(tune).is_empty())
        })
}

/// The processors that a QEMU begins on: those of its own threads.
pub(crate) fn first_processors(domain: &Domain) -> Vec<u32> {
    Role::Emulator.pin(domain).map(|pin| pin.numbers().to_vec()).unwrap_or_default()
}
