//! TCP ports for VNC and SPICE: from 5900 up, past those in use by other guests and other programs.
//!
//! A [`Port`] is held as long as its guest runs. Between our look and QEMU's bind somebody else may take the
//! port; QEMU then ends with a message that names it, and the start is undone.
//! Deliberately absent: who may connect.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

/// libvirt's range: `remote_display_port_min` and `_max` of qemu.conf.
const FIRST: u16 = 5900;
const LAST: u16 = 65535;
/// The same for VNC over WebSocket: `remote_websocket_port_min`.
const FIRST_WEB: u16 = 5700;

/// The ports of this daemon's guests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ports(Arc<Mutex<BTreeSet<u16>>>);

/// One reserved port; free again when dropped.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    all: Ports,
}

impl Port {
    pub fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.all.numbers().remove(&self.number);
    }
}

impl Ports {
    /// The first port that nobody uses on `address`; none if all are taken.
    pub fn reserve(&self, address: Option<IpAddr>) -> Option<Port> {
        self.first_free(FIRST, address)
    }

    /// The same for VNC over WebSocket.
    pub fn reserve_web(&self, address: Option<IpAddr>) -> Option<Port> {
        self.first_free(FIRST_WEB, address)
    }

    fn first_free(&self, first: u16, address: Option<IpAddr>) -> Option<Port> {
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut numbers = self.numbers();
        let free = (first..=LAST).find(|number| {
            !numbers.contains(number) && TcpListener::bind(SocketAddr::new(address, *number)).is_ok()
        })?;
        numbers.insert(free);
        Some(Port { number: free, all: self.clone() })
    }

    /// A port that the document fixes, or that a guest taken over has. None if another guest has it.
    pub fn take(&self, number: u16) -> Option<Port> {
        self.numbers().insert(number).then(|| Port { number, all: self.clone() })
    }

    fn numbers(&self) -> std::sync::MutexGuard<'_, BTreeSet<u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_use_are_passed_over_and_come_back() {
        let ports = Ports::default();
        let first = ports.reserve(None).unwrap();
        let second = ports.reserve(None).unwrap();
        assert!(second.number() > first.number());
        let number = first.number();
        assert!(ports.take(number).is_none());
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, number));
        drop(first);
        let third = ports.reserve(None).unwrap();
        match taken {
            Ok(_foreign) => assert_ne!(third.number(), number),
            Err(_) => assert_eq!(third.number(), number),
        }
    }
}
