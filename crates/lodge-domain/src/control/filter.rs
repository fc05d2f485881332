//! The host's end of a card follows the guest's: its address, and what it listens to (`trustGuestRxFilters='yes'`).
//!
//! QEMU tells that a filter has changed once, and again only after it was asked: a daemon that comes anew asks. Of
//! macvtaps only: a tap's bridge learns by itself.

use lodge_model::MacAddr;
use lodge_model::domain::interface::{Interface, InterfaceKind};
use lodge_model::xml::YesNo;
use serde::Deserialize;
use serde_json::json;

use super::Running;
use crate::ports::CardFilter;

/// A filter as `query-rx-filter` tells it (qapi/net.json).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Filter {
    promiscuous: bool,
    multicast: String,
    #[serde(default)]
    multicast_overflow: bool,
    main_mac: MacAddr,
    #[serde(default)]
    multicast_table: Vec<MacAddr>,
    vlan: String,
    #[serde(default)]
    vlan_table: Vec<u16>,
}

/// The card with this alias has another filter now.
pub(super) async fn follow(running: &mut Running, alias: &str) {
    let is_it = |card: &Interface| card.place.alias.as_ref().is_some_and(|known| known.name == alias);
    let Some(at) = running.document.devices.interfaces.iter().position(is_it) else { return };
    if is_trusted(&running.document.devices.interfaces[at]) {
        look_at(running, at).await;
    }
}

/// All of them may have.
pub(super) async fn look(running: &mut Running) {
    for at in 0..running.document.devices.interfaces.len() {
        if is_trusted(&running.document.devices.interfaces[at]) {
            look_at(running, at).await;
        }
    }
}

fn is_trusted(card: &Interface) -> bool {
    card.kind == InterfaceKind::Direct && card.trust_guest_rx_filters.is_some_and(YesNo::is_yes)
}

async fn look_at(running: &mut Running, at: usize) {
    let card = &running.document.devices.interfaces[at];
    let (Some(alias), Some(target)) = (&card.place.alias, &card.target) else { return };
    let (alias, ifname) = (alias.name.clone(), target.dev.clone());
    let asked = running.monitor.execute::<Vec<Filter>>("query-rx-filter", json!({ "name": alias })).await;
    let filter = match asked {
        Ok(filters) => filters.into_iter().next(),
        Err(error) => {
            tracing::warn!(domain = running.document.name, card = ifname, %error, "a card's filter is not known");
            None
        }
    };
    let Some(filter) = filter else { return };
    let followed = running.shared.ports.nics.follow(&ifname, &of(&filter)).await;
    if let Err(error) = followed {
        tracing::warn!(domain = running.document.name, card = ifname, %error, "the host does not follow a card");
        return;
    }
    if let Some(mac) = &mut running.document.devices.interfaces[at].mac {
        mac.current = (filter.main_mac != mac.address).then(|| filter.main_mac.to_string());
    }
}

/// What the host's end is to let through for it.
fn of(filter: &Filter) -> CardFilter {
    let Filter { promiscuous, multicast, multicast_overflow, main_mac, multicast_table, vlan, vlan_table } =
        filter;
    // A macvtap knows of no VLANs, and lets through all or none of them; every Linux guest names the number 0.
    let has_vlans = vlan == "normal" && vlan_table.iter().any(|vlan| *vlan != 0);
    CardFilter {
        mac: *main_mac,
        promiscuous: *promiscuous || has_vlans,
        all_multicast: multicast == "all" || *multicast_overflow,
        multicast: if multicast == "none" { Vec::new() } else { multicast_table.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_listens_to_is_what_the_host_lets_through() {
        let told = json!({
            "promiscuous": false, "multicast": "normal", "multicast-overflow": false, "unicast": "normal",
            "main-mac": "52:54:00:00:00:99", "multicast-table": ["01:00:5e:00:00:01"], "unicast-table": [],
            "vlan": "normal", "vlan-table": [0], "broadcast-allowed": true, "name": "net0", "unicast-overflow": false,
        });
        let filter = |key: &str, value: serde_json::Value| {
            let mut told = told.clone();
            told[key] = value;
            of(&serde_json::from_value(told).unwrap())
        };
        let plain = filter("promiscuous", false.into());
        let mac = |text: &str| text.parse::<MacAddr>().unwrap();
        assert_eq!(plain.mac, mac("52:54:00:00:00:99"));
        assert_eq!(plain.multicast, [mac("01:00:5e:00:00:01")]);
        assert!(!plain.promiscuous && !plain.all_multicast);
        assert!(filter("promiscuous", true.into()).promiscuous);
        assert!(filter("vlan-table", json!([0, 42])).promiscuous);
        assert!(filter("multicast", "all".into()).all_multicast);
        assert!(filter("multicast-overflow", true.into()).all_multicast);
        assert!(filter("multicast", "none".into()).multicast.is_empty());
    }
}
