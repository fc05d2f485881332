//! Clocks, timers, and what the guest's power states do.

use lodge_model::domain::Domain;
use lodge_model::domain::features::{
    Clock, ClockBasis, ClockOffset, LifecycleAction, TickPolicy, Timer, TimerMode, TimerName, TimerTrack,
};

use super::builder::{Builder, Family};

/// The timer of this name, if the document says anything of it.
pub(super) fn timer(domain: &Domain, name: TimerName) -> Option<&Timer> {
    domain.clock.as_deref()?.timers.iter().find(|timer| timer.name == name)
}

/// The timers that are words of `-cpu`.
pub(super) fn processor_clocks(b: &mut Builder<'_>, words: &mut Vec<String>) {
    let Some(clock) = b.domain.clock.as_deref() else { return };
    for timer in &clock.timers {
        b.at(format!("/domain/clock/timer[@name='{}']", timer.name));
        let present = timer.present.map(|present| if present.is_yes() { "on" } else { "off" });
        let word = match timer.name {
            TimerName::Kvmclock => present.map(|present| format!("kvmclock={present}")),
            TimerName::Hypervclock => present.map(|present| format!("hv-time={present}")),
            TimerName::Tsc => {
                if timer.mode.is_some_and(|mode| mode != TimerMode::Auto) {
                    b.refuse("a mode of the time-stamp counter is Xen's, not QEMU's");
                }
                timer.frequency_hz.map(|hz| format!("tsc-frequency={hz}"))
            }
            TimerName::Platform | TimerName::Armvtimer => {
                b.refuse(format!("timer '{}' is not a PC's", timer.name));
                None
            }
            TimerName::Pit | TimerName::Rtc | TimerName::Hpet => None,
        };
        match word {
            Some(word) if b.is_kvm() => words.push(word),
            Some(word) => b.warn(format!("left out under TCG, which has no such thing: {word}")),
            None => {}
        }
    }
}

/// `-rtc` and the interval timer.
pub(super) fn clock(b: &mut Builder<'_>) {
    b.at("/domain/clock");
    let mut text = match b.domain.clock.as_deref() {
        None => "base=utc".to_owned(),
        Some(clock) => base(b, clock),
    };
    if let Some(rtc) = timer(b.domain, TimerName::Rtc) {
        b.at("/domain/clock/timer[@name='rtc']");
        match rtc.track {
            None | Some(TimerTrack::Boot) => {}
            Some(TimerTrack::Guest) => text += ",clock=vm",
            Some(TimerTrack::Wall) => text += ",clock=host",
            Some(TimerTrack::Realtime) => text += ",clock=rt",
        }
        match rtc.tick_policy {
            None | Some(TickPolicy::Delay) => {}
            Some(TickPolicy::Catchup) => text += ",driftfix=slew",
            Some(policy) => b.refuse(format!("tickpolicy='{policy}' is not one the clock has")),
        }
    }
    b.arg("-rtc", text);
    if let Some(pit) = timer(b.domain, TimerName::Pit) {
        b.at("/domain/clock/timer[@name='pit']");
        match pit.tick_policy {
            // The interval timer that can do either is KVM's; TCG's own knows no such choice and never loses ticks.
            Some(TickPolicy::Delay) if b.is_kvm() => b.arg("-global", "kvm-pit.lost_tick_policy=delay"),
            Some(TickPolicy::Discard) if b.is_kvm() => b.arg("-global", "kvm-pit.lost_tick_policy=discard"),
            Some(TickPolicy::Merge) => b.refuse("tickpolicy='merge' is not one the interval timer has"),
            _ => {}
        }
    }
}

fn base(b: &mut Builder<'_>, clock: &Clock) -> String {
    let adjustment = clock.adjustment.as_deref().unwrap_or("0");
    let seconds = if adjustment == "reset" { Ok(0) } else { adjustment.parse::<i64>() };
    match (clock.offset, seconds) {
        (_, Err(_)) => b.refuse(format!("adjustment='{adjustment}' is no number of seconds")),
        (ClockOffset::Utc, Ok(0)) => return "base=utc".to_owned(),
        (ClockOffset::Localtime, Ok(0)) => return "base=localtime".to_owned(),
        (ClockOffset::Variable, Ok(0)) if clock.basis == Some(ClockBasis::Localtime) => {
            return "base=localtime".to_owned();
        }
        (ClockOffset::Utc | ClockOffset::Variable, Ok(seconds))
            if clock.basis != Some(ClockBasis::Localtime) =>
        {
            match b.claims.now_unix_s {
                _ if seconds == 0 => return "base=utc".to_owned(),
                Some(now) => return set_to(b, now.saturating_add(seconds)),
                None => b.refuse("a clock set against the host's needs the time of the start"),
            }
        }
        (ClockOffset::Absolute, Ok(_)) => match clock.start_s.and_then(|start| i64::try_from(start).ok()) {
            Some(start) => return set_to(b, start),
            None => b.refuse("offset='absolute' needs a start"),
        },
        (ClockOffset::Timezone, Ok(0)) => match clock.timezone.as_deref() {
            // QEMU's C library reads the zone's file by this name.
            Some(zone) => {
                b.env("TZ", zone);
                return "base=localtime".to_owned();
            }
            None => b.refuse("offset='timezone' needs a timezone"),
        },
        (ClockOffset::Variable, Ok(seconds)) => match (b.claims.now_unix_s, b.claims.local_offset_s) {
            (Some(now), Some(offset)) => {
                let local = now.saturating_add(i64::from(offset)).saturating_add(seconds);
                return set_to(b, local);
            }
            _ => b.refuse("a clock set against the host's needs the host's time zone"),
        },
        (offset, Ok(_)) => b.refuse(format!("offset='{offset}' has no adjustment; offset='variable' has")),
    }
    "base=utc".to_owned()
}

fn set_to(b: &mut Builder<'_>, unix_s: i64) -> String {
    utc_text(unix_s).map_or_else(
        || {
            b.refuse("this is a time beyond the calendar");
            String::new()
        },
        |text| format!("base={text}"),
    )
}

/// How QEMU and libvirt write a time.
const FORM: &str = "%Y-%m-%dT%H:%M:%S";

/// Seconds since 1970 as `2026-11-20T13:48:18`; none beyond what a calendar has.
fn utc_text(unix_s: i64) -> Option<String> {
    Some(jiff::Timestamp::from_second(unix_s).ok()?.strftime(FORM).to_string())
}

/// Seconds since 1970 of a time in UTC as `2026-11-20T13:48:18`; none of a date that is not in the calendar.
pub(super) fn unix_s(text: &str) -> Option<i64> {
    let time = jiff::civil::DateTime::strptime(FORM, text).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

/// What happens when the guest ends itself, and which sleep states it has.
pub(super) fn power(b: &mut Builder<'_>) {
    // The process stays when the guest has powered off: so its last state can be told, also by a later daemon.
    b.at("/domain/on_poweroff");
    b.flag("-no-shutdown");
    b.at("/domain/on_reboot");
    if let Some(LifecycleAction::Destroy | LifecycleAction::Preserve) = b.domain.on_reboot {
        b.arg("-action", "reboot=shutdown");
    }
    let Some(pm) = &b.domain.pm else { return };
    let bridge = match b.family {
        Family::Q35 => "ICH9-LPC",
        Family::I440fx => "PIIX4_PM",
        _ => {
            b.at("/domain/pm");
            return b.refuse("setting ACPI S3 and S4 is not supported by this machine");
        }
    };
    let states =
        [("suspend-to-mem", "s3", &pm.suspend_to_mem), ("suspend-to-disk", "s4", &pm.suspend_to_disk)];
    for (element, state, wanted) in states {
        b.at(format!("/domain/pm/{element}"));
        if let Some(enabled) = wanted.as_ref().and_then(|wanted| wanted.enabled) {
            b.arg("-global", format!("{bridge}.disable_{state}={}", u8::from(!enabled.is_yes())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{unix_s, utc_text};

    #[test]
    fn times_are_read_as_they_are_written() {
        assert_eq!(utc_text(951_782_400).as_deref(), Some("2000-02-29T00:00:00"));
        for seconds in [-1, 0, 951_782_399, 951_782_400, 1_795_182_498] {
            assert_eq!(unix_s(&utc_text(seconds).unwrap()), Some(seconds));
        }
        assert_eq!(utc_text(i64::MAX), None);
        for wrong in
            ["", "2026-11-20", "2026-02-29T00:00:00", "2026-13-01T00:00:00", "2026-11-20T24:00:00", "aTb"]
        {
            assert_eq!(unix_s(wrong), None, "{wrong}");
        }
    }
}
