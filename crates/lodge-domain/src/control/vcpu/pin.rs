//! Which of the host's processors a guest's threads run on.

use lodge_model::domain::Domain;
use lodge_model::domain::cpu::{EmulatorPin, IothreadPin, VcpuPin};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::control::{Change, Refusal, Scope, Sort};

/// A set of the host's processors, in libvirt's text: `0-3,6`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Processors(Vec<u32>);

impl Processors {
    /// Out of a map of bits, the lowest first (`virDomainPinVcpu`).
    pub fn of_map(map: &[u8]) -> Self {
        let bits = map.iter().enumerate().flat_map(|(at, byte)| {
            (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| at * 8 + bit)
        });
        Self(bits.filter_map(|bit| u32::try_from(bit).ok()).collect())
    }

    /// Out of libvirt's text (`0-3,^2`).
    pub fn parse(text: &str) -> Option<Self> {
        let mut set = std::collections::BTreeSet::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (out, part) = part.strip_prefix('^').map_or((false, part), |rest| (true, rest));
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to): (u32, u32) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            if to < from || to > 4096 {
                return None;
            }
            for number in from..=to {
                if out {
                    set.remove(&number)
                } else {
                    set.insert(number)
                };
            }
        }
        Some(Self(set.into_iter().collect()))
    }

    /// The first `count` of a host.
    pub fn all(count: u32) -> Self {
        Self((0..count).collect())
    }

    /// The numbers, ascending.
    pub fn numbers(&self) -> &[u32] {
        &self.0
    }

    /// As a map of `length` bytes.
    pub fn to_map(&self, length: usize) -> Vec<u8> {
        let mut map = vec![0u8; length];
        for number in &self.0 {
            if let Some(byte) = map.get_mut(*number as usize / 8) {
                *byte |= 1 << (number % 8);
            }
        }
        map
    }
}

impl std::fmt::Display for Processors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut at = 0;
        let mut gap = "";
        while let Some(&first) = self.0.get(at) {
            let length =
                self.0[at..].iter().zip(first..).take_while(|(number, want)| *number == want).count();
            let last = self.0[at + length - 1];
            match length {
                1 => write!(f, "{gap}{first}")?,
                _ => write!(f, "{gap}{first}-{last}")?,
            }
            gap = ",";
            at += length;
        }
        Ok(())
    }
}

/// `virsh vcpupin`. Pinned to all is pinned to none.
pub fn vcpu(number: u32, to: Processors, scope: Scope) -> Change {
    let of_live = to.clone();
    let edit = move |domain: &mut Domain, which: &str| {
        let vcpus =
            domain.vcpu.as_ref().map_or(1, |vcpu| if which == "live" { vcpu.at_start() } else { vcpu.count });
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
                let thread = thread.ok_or_else(|| Refusal::arg(format!("vcpu {number} is offline")))?;
                bind(thread, &of_live)
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
        let outcome = bind(running.pid, &of_live).and_then(|()| edit(&mut running.document));
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

fn bind(thread: u32, to: &Processors) -> Result<(), Refusal> {
    let mut set = CpuSet::new();
    for number in to.numbers().iter().filter(|number| (**number as usize) < CpuSet::MAX_CPU) {
        set.set(*number as usize);
    }
    let pid = i32::try_from(thread).ok().and_then(Pid::from_raw).ok_or_else(Refusal::not_running)?;
    sched_setaffinity(Some(pid), &set).map_err(|error| {
        let text =
            format!("cannot set CPU affinity on process {thread}: {}", plain(&std::io::Error::from(error)));
        Refusal::new(Sort::System(error.raw_os_error()), text)
    })
}

/// The kernel's words without Rust's number behind them.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_as_libvirt_writes_them() {
        for (text, again) in
            [("0-3,^2", "0-1,3"), ("5", "5"), ("", ""), ("1,0,2", "0-2"), ("0,2,4-6", "0,2,4-6")]
        {
            assert_eq!(Processors::parse(text).unwrap().to_string(), again, "{text}");
        }
        assert_eq!(Processors::parse("3-1"), None);
        assert_eq!(Processors::parse("a"), None);
        assert_eq!(Processors::of_map(&[0b101, 1]).to_string(), "0,2,8");
        assert_eq!(Processors::parse("0,9").unwrap().to_map(2), [1, 2]);
    }
}
