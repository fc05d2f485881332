//! Processor time: `virsh schedinfo`.

use lodge_model::domain::Domain;
use lodge_model::domain::cpu::CpuTune;

use super::threads::{Role, Threads};
use super::{Bandwidth, Controller, Limits, Setting, Settings};
use crate::control::{Change, Refusal, Scope};

/// libvirt's bounds of a period, in µs.
const PERIOD: std::ops::RangeInclusive<u64> = 1000..=1_000_000;
/// The least quota, in µs.
const QUOTA_LEAST: i64 = 1000;
/// The greatest quota, in µs.
const QUOTA_MOST: i64 = 17_592_186_044_415;

/// Those that are of the guest as a whole; the others are of its threads.
pub(super) const OF_GUEST: [&str; 3] = ["cpu_shares", "global_period", "global_quota"];

/// Sets what is named.
pub fn set(settings: Settings, scope: Scope) -> Change {
    let of_live = settings.clone();
    let edit = move |domain: &mut Domain| {
        let tune = domain.cputune.get_or_insert_default();
        settings.iter().try_for_each(|(name, value)| write(tune, name, value))
    };
    let into_document = edit.clone();
    Change::new("schedinfo", scope).config(edit).live(move |mut running| async move {
        let outcome = async {
            let limits = Limits::of(&running.cgroup, Controller::Cpu)?;
            let mut document = running.document.clone();
            into_document(&mut document)?;
            let of_guest = of_live.iter().filter(|(name, _)| OF_GUEST.contains(&name.as_str()));
            of_guest.into_iter().try_for_each(|(name, value)| apply(&limits, name, value))?;
            let named = |sort: &str| of_live.iter().any(|(name, _)| name.starts_with(sort));
            let chosen = |role| match role {
                Role::Vcpu(_) => named("vcpu_"),
                Role::Iothread(_) => named("iothread_"),
                Role::Emulator => named("emulator_"),
            };
            if named("vcpu_") || named("iothread_") || named("emulator_") {
                let threads = Threads::of(&running.monitor, running.pid).await?;
                threads.share(&document, &running.cgroup, chosen)?;
            }
            running.document = document;
            Ok(())
        };
        let outcome = outcome.await;
        (running, outcome)
    })
}

fn write(tune: &mut CpuTune, name: &str, value: &Setting) -> Result<(), Refusal> {
    let period = value.unsigned();
    let quota = value.signed();
    if name.ends_with("_period") && period != 0 && !PERIOD.contains(&period) {
        return Err(range(name, PERIOD.start(), PERIOD.end()));
    }
    if name.ends_with("_quota") && quota >= 0 && quota != 0 && !(QUOTA_LEAST..=QUOTA_MOST).contains(&quota) {
        return Err(range(name, &QUOTA_LEAST, &QUOTA_MOST));
    }
    let (period, quota) = ((period != 0).then_some(period), (quota != 0).then_some(quota));
    match name {
        "cpu_shares" => tune.shares = Some(value.unsigned()),
        "vcpu_period" => tune.period_us = period,
        "vcpu_quota" => tune.quota_us = quota,
        "global_period" => tune.global_period_us = period,
        "global_quota" => tune.global_quota_us = quota,
        "emulator_period" => tune.emulator_period_us = period,
        "emulator_quota" => tune.emulator_quota_us = quota,
        "iothread_period" => tune.iothread_period_us = period,
        "iothread_quota" => tune.iothread_quota_us = quota,
        _ => return Err(Refusal::arg(format!("parameter '{name}' not supported"))),
    }
    Ok(())
}

fn range(name: &str, least: &dyn std::fmt::Display, most: &dyn std::fmt::Display) -> Refusal {
    Refusal::arg(format!("value of '{name}' is out of range [{least}, {most}]"))
}

/// What is of the guest as a whole.
pub(super) fn apply(limits: &Limits, name: &str, value: &Setting) -> Result<(), Refusal> {
    match name {
        "cpu_shares" if limits.unified => limits.write("cpu.weight", &value.unsigned().to_string()),
        "cpu_shares" => limits.write("cpu.shares", &value.unsigned().to_string()),
        "global_period" => {
            limits.set_bandwidth(Bandwidth { period_us: Some(value.unsigned()), quota_us: None })
        }
        _ => {
            let quota = value.signed();
            let quota_us = Some(if quota == 0 { -1 } else { quota });
            limits.set_bandwidth(Bandwidth { period_us: None, quota_us })
        }
    }
}

/// What a document says, in libvirt's order.
pub fn of_document(domain: &Domain) -> Vec<(&'static str, Setting)> {
    let none = CpuTune::default();
    let tune = domain.cputune.as_deref().unwrap_or(&none);
    let period = |value: Option<u64>| Setting::Unsigned(value.unwrap_or(0));
    let quota = |value: Option<i64>| Setting::Signed(value.unwrap_or(0));
    vec![
        ("cpu_shares", period(tune.shares)),
        ("vcpu_period", period(tune.period_us)),
        ("vcpu_quota", quota(tune.quota_us)),
        ("emulator_period", period(tune.emulator_period_us)),
        ("emulator_quota", quota(tune.emulator_quota_us)),
        ("global_period", period(tune.global_period_us)),
        ("global_quota", quota(tune.global_quota_us)),
        ("iothread_period", period(tune.iothread_period_us)),
        ("iothread_quota", quota(tune.iothread_quota_us)),
    ]
}

/// The same with what the guest's cgroup says.
pub fn of_guest(domain: &Domain, limits: &Limits) -> Vec<(&'static str, Setting)> {
    let mut all = of_document(domain);
    let mut put = |name: &str, value: Option<Setting>| {
        if let (Some(place), Some(value)) = (all.iter_mut().find(|(known, _)| *known == name), value) {
            place.1 = value;
        }
    };
    let shares = limits.number(if limits.unified { "cpu.weight" } else { "cpu.shares" });
    put("cpu_shares", shares.and_then(|number| u64::try_from(number).ok()).map(Setting::Unsigned));
    let first_iothread = domain.iothreads().first().map(|thread| Role::Iothread(thread.number).group());
    let groups = [
        ("global", Some(limits.bandwidth())),
        ("vcpu", Some(of_threads(limits, &Role::Vcpu(0).group()))),
        ("emulator", Some(of_threads(limits, &Role::Emulator.group()))),
        ("iothread", first_iothread.map(|group| of_threads(limits, &group))),
    ];
    for (sort, bandwidth) in groups {
        let Some(bandwidth) = bandwidth else { continue };
        put(&format!("{sort}_period"), bandwidth.period_us.map(Setting::Unsigned));
        put(&format!("{sort}_quota"), bandwidth.quota_us.map(Setting::Signed));
    }
    all
}

/// Threads without a group of their own have no limit.
fn of_threads(limits: &Limits, group: &str) -> Bandwidth {
    limits.threads(group).map_or(Bandwidth::NONE, |group| group.bandwidth())
}
