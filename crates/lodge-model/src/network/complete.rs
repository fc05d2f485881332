//! What a network's definition gains (virNetworkDefParseXML and its users).

use super::{Bridge, Forward, ForwardInterface, ForwardMode, Network, NetworkMac, PortRange};
use crate::xml::OnOff;
use crate::{MacAddr, NetworkId};

impl Network {
    /// Adds what libvirt adds at a definition: UUID, the bridge's MAC, STP and delay. A missing bridge name is
    /// for the network crate to find, since it depends on the host. Doing it twice changes nothing more.
    pub fn complete(&mut self) {
        self.uuid.get_or_insert_with(NetworkId::random);
        if let Some(forward) = &mut self.forward {
            complete_forward(forward);
        }
        if self.has_own_bridge() {
            let bridge = self.bridge.get_or_insert_with(Bridge::default);
            bridge.stp.get_or_insert(OnOff::On);
            bridge.delay_s.get_or_insert(0);
            self.mac
                .get_or_insert_with(|| NetworkMac { address: MacAddr::random(), ..NetworkMac::default() });
        }
    }

    /// The document of the network once it runs: what libvirt chooses at a start is in it.
    #[must_use]
    pub fn as_it_runs(mut self) -> Self {
        if let Some(forward) = self.forward.as_deref_mut().filter(|forward| forward.mode == ForwardMode::Nat)
        {
            let nat = forward.nat.get_or_insert_default();
            nat.port.get_or_insert(PortRange { start: 1024, end: 65535, ..PortRange::default() });
        }
        self
    }

    /// Whether the network's bridge is ours to make; otherwise it is one of the host's, or there is none.
    pub fn has_own_bridge(&self) -> bool {
        match self.forward_mode() {
            None | Some(ForwardMode::Nat | ForwardMode::Route | ForwardMode::Open | ForwardMode::None) => {
                true
            }
            Some(
                ForwardMode::Bridge
                | ForwardMode::Private
                | ForwardMode::Vepa
                | ForwardMode::Passthrough
                | ForwardMode::Hostdev,
            ) => false,
        }
    }
}

/// `dev` and the first `<interface>` say the same.
fn complete_forward(forward: &mut Forward) {
    match (&forward.dev, forward.interfaces.first()) {
        (Some(dev), None) => {
            forward.interfaces.push(ForwardInterface { dev: dev.clone(), ..ForwardInterface::default() });
        }
        (None, Some(first)) => forward.dev = Some(first.dev.clone()),
        (Some(_), Some(_)) | (None, None) => {}
    }
}
