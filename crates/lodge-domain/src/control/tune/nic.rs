//! How much a card may carry: `virsh domiftune`.

use lodge_model::domain::Domain;
use lodge_model::domain::interface::{Bandwidth, Interface, InterfaceKind, Rate};
use lodge_model::xml::YesNo;

use super::Settings;
use crate::control::{Change, Refusal, Running, Scope};

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
        Ok(at)
    };
    let of_live = edit.clone();
    Change::new("domiftune", scope).config(move |domain| edit(domain).map(drop)).live(
        move |mut running| async move {
            let mut wanted = running.document.clone();
            let outcome = match of_live(&mut wanted) {
                Ok(at) => limit(&mut running, at, wanted.devices.interfaces[at].bandwidth.clone()).await,
                Err(refusal) => Err(refusal),
            };
            (running, outcome)
        },
    )
}

/// Limits a card of the running guest, and shows it in its document. If that cannot be, it is limited as before.
pub(in crate::control) async fn limit(
    running: &mut Running,
    at: usize,
    wanted: Option<Box<Bandwidth>>,
) -> Result<(), Refusal> {
    let card = &running.document.devices.interfaces[at];
    let kind = card.kind;
    let is_limited = matches!(
        kind,
        InterfaceKind::Network | InterfaceKind::Bridge | InterfaceKind::Ethernet | InterfaceKind::Direct
    );
    let is_others = card.target.as_ref().is_some_and(|target| target.managed == Some(YesNo::No));
    if !is_limited || is_others || !card.virtualport.is_empty() {
        let text = format!("setting bandwidth on this interface of type '{kind}' is not supported");
        return Err(Refusal::unsupported(text));
    }
    let Some(ifname) = card.target.as_ref().map(|target| target.dev.clone()) else {
        return Err(Refusal::unsupported("the interface has no end on the host"));
    };
    let before = card.bandwidth.as_deref().cloned().unwrap_or_default();
    let new = wanted.as_deref().cloned().unwrap_or_default();
    let nics = &running.shared.ports.nics;
    if let Err(error) = nics.limit(&ifname, &new).await {
        if let Err(second) = nics.limit(&ifname, &before).await {
            tracing::error!(domain = running.document.name, card = ifname, error = %second, "a card has no limits now");
        }
        return Err(error.into());
    }
    running.document.devices.interfaces[at].bandwidth = wanted;
    Ok(())
}

/// A rate without an average and a floor says nothing.
fn tidy(rate: &mut Option<Rate>) {
    if rate.as_ref().is_some_and(|rate| rate.average_kib_s.is_none() && rate.floor_kib_s.is_none()) {
        *rate = None;
    }
}
