//! How much a card may carry: `virsh domiftune`.

use lodge_model::domain::Domain;
use lodge_model::domain::interface::{Bandwidth, Interface, Rate};

use super::Settings;
use crate::control::{Change, Refusal, Scope};

/// The card that `device` (its name on the host, or its MAC address) means.
pub fn find<'a>(domain: &'a Domain, device: &str) -> Result<&'a Interface, Refusal> {
    let at = position(domain, device)?;
    Ok(&domain.devices.interfaces[at])
}

fn position(domain: &Domain, device: &str) -> Result<usize, Refusal> {
    let mac: Option<lodge_model::MacAddr> = device.parse().ok();
    let is_it = |card: &Interface| match mac {
        Some(mac) => card.mac() == Some(mac),
        None => card.target.as_ref().is_some_and(|target| target.dev == device),
    };
    domain
        .devices
        .interfaces
        .iter()
        .position(is_it)
        .ok_or_else(|| Refusal::arg(format!("'{device}' is not a known interface")).of_domain())
}

/// Sets what is named; a rate of 0 is none.
pub fn set(device: String, settings: Settings, scope: Scope) -> Change {
    let edit = move |domain: &mut Domain| {
        let at = position(domain, &device)?;
        let card = &mut domain.devices.interfaces[at];
        let mut bandwidth = card.bandwidth.take().unwrap_or_default();
        for (name, value) in &settings {
            let Some((way, what)) = name.split_once('.') else { continue };
            let rate = if way == "inbound" { &mut bandwidth.inbound } else { &mut bandwidth.outbound };
            let rate = rate.get_or_insert_default();
            let number = Some(value.unsigned()).filter(|number| *number > 0);
            match what {
                "average" => rate.average_kib_s = number,
                "peak" => rate.peak_kib_s = number,
                "burst" => rate.burst_kib = number,
                _ => rate.floor_kib_s = number,
            }
        }
        tidy(&mut bandwidth.inbound);
        tidy(&mut bandwidth.outbound);
        card.bandwidth = (*bandwidth != Bandwidth::default()).then_some(bandwidth);
        Ok(())
    };
    Change::new("domiftune", scope).config(edit).live(|running| async move {
        let text = "limits of a running guest's interface are not supported yet; those of its definition are";
        (running, Err(Refusal::unsupported(text)))
    })
}

/// A rate without an average and a floor says nothing.
fn tidy(rate: &mut Option<Rate>) {
    if rate.as_ref().is_some_and(|rate| rate.average_kib_s.is_none() && rate.floor_kib_s.is_none()) {
        *rate = None;
    }
}
