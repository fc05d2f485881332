//! What a guest's port on a network gets: the interface's own word, else its port group's, else the network's. Pure.
//!
//! As libvirt does it (networkAllocatePort): limits come of the interface or the group, VLANs and isolation of either or of
//! the network, and virtual ports of all three together, which must not contradict each other. Deliberately absent: what
//! the kernel and Open vSwitch make of it, and pools of virtual functions, which have VLANs of the network alone.

use lodge_model::domain::interface::{Bandwidth, Vlans};
use lodge_model::network::{ForwardMode, Network, PortGroup};
use lodge_model::xml::words::YesNo;
use lodge_model::xml::{Foreign, Kept};

use crate::{AttachRequest, NetworkError, SwitchPort, VirtualPort};

/// The only sort of virtual port there is here.
const SWITCH: &str = "openvswitch";

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PortRules {
    pub bandwidth: Option<Bandwidth>,
    pub vlans: Option<Vlans>,
    pub isolated: bool,
    /// It is one of Open vSwitch's.
    pub switch: Option<SwitchPort>,
}

impl PortRules {
    /// Those of an interface on `network`, whose bridge is `bridge`.
    pub fn of(network: &Network, bridge: &str, request: &AttachRequest) -> Result<Self, NetworkError> {
        let options = &request.options;
        let group = group_of(network, options.port_group.as_deref());
        if let (Some(name), None) = (&options.port_group, group) {
            // libvirt says nothing of it.
            tracing::warn!(
                network = network.name,
                group = name,
                domain = request.domain_name,
                "there is no such port group"
            );
        }
        let bandwidth = options.bandwidth.clone().or_else(|| group?.bandwidth.as_deref().cloned());
        let vlans = options.vlans.clone();
        let vlans = vlans.or_else(|| Vlans::of(&group?.vlan)).or_else(|| Vlans::of(&network.vlan));
        let common = network.port.as_ref().and_then(|port| port.isolated).is_some_and(YesNo::is_yes);
        let isolated = request.isolated.unwrap_or(common);
        let kept = [&network.virtualport].into_iter().chain(group.map(|group| &group.virtualport));
        let ports = options.virtualport.iter().cloned().chain(kept.filter_map(VirtualPort::of));
        let port = ports.map(Ok).reduce(|one, other| one?.with(other?));
        let switch = port.transpose()?.map(|port| port.on(bridge)).transpose()?;
        let refused = |what, hint| Err(NetworkError::Card { what, hint });
        match switch {
            Some(_) if isolated => refused(
                "<port isolated='yes'/> is not supported for network interfaces with virtualport type='openvswitch'",
                "keep guests apart in the switch: ovs-vsctl set port … protected=true",
            ),
            Some(_) if bandwidth.is_some() => refused(
                "<bandwidth> of a port of Open vSwitch is not supported",
                "set it in the switch: ovs-vsctl set port … qos=@new",
            ),
            switch => Ok(Self { bandwidth, vlans, isolated, switch }),
        }
    }
}

/// The group of that name, or the one of interfaces that name none.
fn group_of<'a>(network: &'a Network, name: Option<&str>) -> Option<&'a PortGroup> {
    let is_it = |group: &&PortGroup| match name {
        Some(name) => group.name.as_deref() == Some(name),
        None => group.default == Some(YesNo::Yes),
    };
    network.port_groups.iter().find(is_it)
}

impl VirtualPort {
    /// What a kept `<virtualport>` says.
    pub fn of(kept: &Foreign) -> Option<Self> {
        let tree = kept.tree("virtualport")?;
        let parameters = tree.child("parameters");
        let parameter = |name: &str| {
            let value = parameters.and_then(|parameters: &Kept| parameters.attribute(name))?;
            Some(value.to_owned()).filter(|value| !value.is_empty())
        };
        let kind = tree.attribute("type").filter(|kind| *kind != "none").map(str::to_owned);
        Some(Self { kind, interface: parameter("interfaceid"), profile: parameter("profileid") })
    }

    /// Both together.
    fn with(self, other: Self) -> Result<Self, NetworkError> {
        let one = |what: &'static str, own: Option<String>, other: Option<String>| match (own, other) {
            (Some(own), Some(other)) if own != other => {
                Err(NetworkError::PortsClash { what, one: own, other })
            }
            (own, other) => Ok(own.or(other)),
        };
        Ok(Self {
            kind: one("types", self.kind, other.kind)?,
            interface: one("interfaceids", self.interface, other.interface)?,
            profile: one("profileids", self.profile, other.profile)?,
        })
    }

    fn on(self, bridge: &str) -> Result<SwitchPort, NetworkError> {
        if self.kind.as_deref() != Some(SWITCH) {
            return Err(NetworkError::Card {
                what: "virtual ports of other sorts than type='openvswitch' are not supported",
                hint: "name that type, or leave <virtualport> out",
            });
        }
        let interface = self.interface.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        Ok(SwitchPort { bridge: bridge.to_owned(), interface, profile: self.profile })
    }
}

/// What the ports of a network cannot have, by name.
pub(crate) fn unsupported(network: &Network) -> Option<String> {
    let mode = network.forward_mode();
    let (bridged, lends) = (mode == Some(ForwardMode::Bridge), mode == Some(ForwardMode::Hostdev));
    let groups = &network.port_groups;
    let told = |group: &PortGroup| group.name.clone().unwrap_or_default();
    if lends {
        let is_rich = |group: &&PortGroup| {
            group.bandwidth.is_some() || !group.vlan.is_empty() || !group.virtualport.is_empty()
        };
        if let Some(group) = groups.iter().find(is_rich) {
            return Some(format!("<portgroup name='{}'> with forward mode 'hostdev'", told(group)));
        }
        let is_there = !network.virtualport.is_empty();
        return is_there.then(|| "<virtualport> with forward mode 'hostdev'".to_owned());
    }
    let of_groups = |kept: fn(&PortGroup) -> &Foreign| groups.iter().map(kept);
    let all_vlans = std::iter::once(&network.vlan).chain(of_groups(|group| &group.vlan));
    if !bridged && all_vlans.into_iter().any(|kept| !kept.is_empty()) {
        return Some("<vlan> of a network or port group without forward mode 'bridge'".to_owned());
    }
    let all_ports = std::iter::once(&network.virtualport).chain(of_groups(|group| &group.virtualport));
    for port in all_ports.filter_map(VirtualPort::of) {
        match port.kind.as_deref() {
            Some(SWITCH) if bridged => {}
            Some(SWITCH) => {
                return Some("<virtualport type='openvswitch'> without forward mode 'bridge'".to_owned());
            }
            Some(kind) => return Some(format!("<virtualport type='{kind}'>")),
            None => {}
        }
    }
    let limited = network.bandwidth.is_some() && is_switched(network);
    limited.then(|| "<bandwidth> of a network on a bridge of Open vSwitch's".to_owned())
}

/// Whether the network's bridge is one of Open vSwitch's, by what is said of its ports.
pub(crate) fn is_switched(network: &Network) -> bool {
    let groups = network.port_groups.iter().map(|group| &group.virtualport);
    let mut all = std::iter::once(&network.virtualport).chain(groups).filter_map(VirtualPort::of);
    all.any(|port| port.kind.as_deref() == Some(SWITCH))
}

#[cfg(test)]
mod tests;
