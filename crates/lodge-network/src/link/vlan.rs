//! VLANs of a bridge's ports.

use lodge_model::domain::interface::Vlans;
use rtnetlink::LinkBridgeVlan;
use rtnetlink::packet_route::link::BridgeVlanInfoFlags;

use super::{Links, failed};
use crate::NetworkError;

impl Links {
    /// Puts a port of a bridge into `vlans` and no others; `first`: the one that the bridge put it into.
    pub async fn set_vlans(
        &self,
        index: u32,
        name: &str,
        first: u16,
        vlans: &Vlans,
    ) -> Result<(), NetworkError> {
        if first != 0 {
            let message = LinkBridgeVlan::new(index).vlan(first, BridgeVlanInfoFlags::empty()).build();
            let gone = self.handle.link().del_with_message(message).execute().await;
            gone.map_err(failed("take the first VLAN from", name))?;
        }
        let mut message = LinkBridgeVlan::new(index);
        for (vlan, flags) in memberships(vlans) {
            message = message.vlan(vlan, flags);
        }
        self.handle.link().set(message.build()).execute().await.map_err(failed("set VLANs of", name))
    }
}

/// Each VLAN, and how its frames go in and out.
fn memberships(vlans: &Vlans) -> Vec<(u16, BridgeVlanInfoFlags)> {
    let one = |vlan: &u16| match (vlans.trunk, vlans.native) {
        // The guest knows of no tag.
        (false, _) => (*vlan, BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged),
        (true, Some((native, true))) if native == *vlan => {
            (*vlan, BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged)
        }
        (true, Some((native, false))) if native == *vlan => (*vlan, BridgeVlanInfoFlags::Pvid),
        (true, _) => (*vlan, BridgeVlanInfoFlags::empty()),
    };
    vlans.tags.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_without_tags_has_one_vlan_and_a_trunk_has_a_native_one_at_most() {
        let (pvid, untagged) = (BridgeVlanInfoFlags::Pvid, BridgeVlanInfoFlags::Untagged);
        let none = BridgeVlanInfoFlags::empty();
        let cases = [
            (Vlans { trunk: false, tags: vec![42], native: None }, vec![(42, pvid | untagged)]),
            (Vlans { trunk: true, tags: vec![42], native: None }, vec![(42, none)]),
            (
                Vlans { trunk: true, tags: vec![42, 47], native: Some((47, true)) },
                vec![(42, none), (47, pvid | untagged)],
            ),
            (Vlans { trunk: true, tags: vec![123], native: Some((123, false)) }, vec![(123, pvid)]),
        ];
        for (vlans, expected) in cases {
            assert_eq!(memberships(&vlans), expected, "{vlans:?}");
        }
    }
}
