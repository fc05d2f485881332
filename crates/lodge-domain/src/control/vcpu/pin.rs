//! Which of the host's processors a guest's threads run on.

use lodge_model::domain::Domain;
use lodge_model::domain::cpu::{EmulatorPin, IothreadPin, VcpuPin};
pub use lodge_model::domain::processors::Processors;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::control::tune::failed;
use crate::control::tune::threads::Threads;
use crate::control::{Change, Refusal, Scope};

/// `virsh vcpupin`. Pinned to all is pinned to none.
pub fn vcpu(number: u32, to: Processors, scope: Scope) -> Change {
    let of_live = to.clone();
    let edit = move |domain: &mut Domain, which: &str| {
        let vcpus = domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
        if number >= vcpus {
            return Err(Refusal::arg(format!("vcpu {number} is out of range of {which} cpu count {vcpus}")));
        }
        let tune = domain.cputune.get_or_insert_default();
        tune.vcpu_pins.retain(|pin| pin.vcpu != number);
        tune.vcpu_pins.push(VcpuPin { vcpu: number, cpuset: to.to_string(), ..VcpuPin::default() });
        tune.vcpu_pins.sort_by_key(|pin| pin.vcpu);
        Ok(())
    };
    let of_config = edit.clone();
    Change::new("vcpupin", scope).config(move |domain| of_config(domain, "persistent")).live(
        move |mut running| async move {
            let outcome = async {
                edit(&mut running.document, "live")?;
                let vcpus = running.monitor.vcpus().await.map_err(Refusal::from)?;
                let thread = vcpus.iter().find(|vcpu| vcpu.cpu_index == number).map(|vcpu| vcpu.thread_id);
                // One that is not plugged in is pinned when it is.
                thread.map_or(Ok(()), |thread| bind(thread, &of_live))
            };
            let outcome = outcome.await;
            (running, outcome)
        },
    )
}

/// `virsh emulatorpin`.
pub fn emulator(to: Processors, scope: Scope) -> Change {
    let of_live = to.clone();
    let edit = move |domain: &mut Domain| {
        let tune = domain.cputune.get_or_insert_default();
        tune.emulator_pin = Some(EmulatorPin { cpuset: to.to_string(), ..EmulatorPin::default() });
        Ok(())
    };
    let of_config = edit.clone();
    Change::new("emulatorpin", scope).config(of_config).live(move |mut running| async move {
        let outcome = async {
            let threads = Threads::of(&running.monitor, running.pid).await?;
            threads.others().iter().try_for_each(|thread| bind(*thread, &of_live))?;
            edit(&mut running.document)
        };
        let outcome = outcome.await;
        (running, outcome)
    })
}

/// `virsh iothreadpin`.
pub fn iothread(number: u32, to: Processors, scope: Scope) -> Change {
    let of_live = to.clone();
    let edit = move |domain: &mut Domain| {
        if !super::iothread::numbers(domain).contains(&number) {
            return Err(Refusal::arg(format!("iothreadid {number} not found")));
        }
        let tune = domain.cputune.get_or_insert_default();
        tune.iothread_pins.retain(|pin| pin.iothread != number);
        tune.iothread_pins.push(IothreadPin {
            iothread: number,
            cpuset: to.to_string(),
            ..IothreadPin::default()
        });
        tune.iothread_pins.sort_by_key(|pin| pin.iothread);
        Ok(())
    };
    let of_config = edit.clone();
    Change::new("iothreadpin", scope).config(of_config).live(move |mut running| async move {
        let outcome = async {
            let thread = super::iothread::thread(&running, number).await?;
            let thread = thread.ok_or_else(|| Refusal::arg(format!("iothread {number} not found")))?;
            bind(thread, &of_live)?;
            edit(&mut running.document)
        };
        let outcome = outcome.await;
        (running, outcome)
    })
}

pub(crate) fn bind(thread: u32, to: &Processors) -> Result<(), Refusal> {
    let mut set = CpuSet::new();
    for number in to.numbers().iter().filter(|number| (**number as usize) < CpuSet::MAX_CPU) {
        set.set(*number as usize);
    }
    let pid = i32::try_from(thread).ok().and_then(Pid::from_raw).ok_or_else(Refusal::not_running)?;
    let set = sched_setaffinity(Some(pid), &set);
    set.map_err(|error| failed(&format!("cannot set CPU affinity on process {thread}"), &error.into()))
}
