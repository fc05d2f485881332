//! Processor time: `virsh schedinfo`.

use lodge_model::domain::Domain;
use lodge_model::domain::cpu::CpuTune;

use super::{Controller, Limits, Setting, Settings};
use crate::control::{Change, Refusal, Scope};

/// libvirt's bounds of a period, in µs.
const PERIOD: std::ops::RangeInclusive<u64> = 1000..=1_000_000;
/// The least quota, in µs.
const QUOTA_LEAST: i64 = 1000;
/// The greatest quota, in µs.
const QUOTA_MOST: i64 = 17_592_186_044_415;

/// Sets what is named.
pub fn set(settings: Settings, scope: Scope) -> Change {
    let of_live = settings.clone();
    let edit = move |domain: &mut Domain| {
        let tune = domain.cputune.get_or_insert_default();
        settings.iter().try_for_each(|(name, value)| write(tune, name, value))
    };
    let into_document = edit.clone();
    Change::new("schedinfo", scope).config(edit).live(move |mut running| async move {
        let outcome = Limits::of(&running.cgroup, Controller::Cpu).and_then(|limits| {
            let mut document = running.document.clone();
            into_document(&mut document)?;
            for (name, value) in &of_live {
                apply(&limits, name, value)?;
            }
            running.document = document;
            Ok(())
        });
        (running, outcome)
    })
}

fn write(tune: &mut CpuTune, name: &str, value: &Setting) -> Result<(), Refusal> {
    let period = value.unsigned();
    let quota = value.signed();
    if name.ends_with("_period") && period != 0 && !PERIOD.contains(&period) {
        return Err(range(name, &period, PERIOD.start(), PERIOD.end()));
    }
    if name.ends_with("_quota") && quota >= 0 && quota != 0 && !(QUOTA_LEAST..=QUOTA_MOST).contains(&quota) {
        return Err(range(name, &quota, &QUOTA_LEAST, &QUOTA_MOST));
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

fn range(
    name: &str,
    value: &dyn std::fmt::Display,
    least: &dyn std::fmt::Display,
    most: &dyn std::fmt::Display,
) -> Refusal {
    Refusal::arg(format!("value of '{name}' is out of range [{least}, {most}]: {value}"))
}

/// A guest has one cgroup here, so its threads have no limits of their own.
fn apply(limits: &Limits, name: &str, value: &Setting) -> Result<(), Refusal> {
    match name {
        "cpu_shares" if limits.unified => limits.write("cpu.weight", &value.unsigned().to_string()),
        "cpu_shares" => limits.write("cpu.shares", &value.unsigned().to_string()),
        "global_period" if limits.unified => {
            let now = limits.read("cpu.max").unwrap_or_default();
            let quota = now.split(' ').next().unwrap_or("max").to_owned();
            limits.write("cpu.max", &format!("{quota} {}", value.unsigned()))
        }
        "global_period" => limits.write("cpu.cfs_period_us", &value.unsigned().to_string()),
        "global_quota" if limits.unified => {
            let quota = value.signed();
            limits.write("cpu.max", &if quota <= 0 { "max".to_owned() } else { quota.to_string() })
        }
        "global_quota" => {
            let quota = value.signed();
            limits.write("cpu.cfs_quota_us", &if quota == 0 { -1 } else { quota }.to_string())
        }
        _ => Err(Refusal::unsupported(format!(
            "'{name}' of a running guest is not supported; 'cpu_shares', 'global_period' and 'global_quota' are"
        ))),
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
    let unsigned = |number: i64| Setting::Unsigned(u64::try_from(number).unwrap_or(0));
    if limits.unified {
        put("cpu_shares", limits.number("cpu.weight").map(unsigned));
        let max = limits.read("cpu.max").unwrap_or_default();
        let mut words = max.split(' ');
        put("global_quota", words.next().map(|word| Setting::Signed(word.parse().unwrap_or(-1))));
        put("global_period", words.next().and_then(|word| word.parse().ok()).map(unsigned));
    } else {
        put("cpu_shares", limits.number("cpu.shares").map(unsigned));
        put("global_period", limits.number("cpu.cfs_period_us").map(unsigned));
        put("global_quota", limits.number("cpu.cfs_quota_us").map(Setting::Signed));
    }
    all
}
