//! TCP ports for VNC and SPICE: from 5900 up, past those in use by other guests and other programs.
//!
//! A [`Port`] is held as long as its guest runs. Between our look and QEMU's bind somebody else may take the
//! port; QEMU then ends with a message that names it, and the start is undone.
//! Deliberately absent: who may connect.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use crate::settings::Settings;

/// The ports of this daemon's guests.
#[derive(Debug, Clone)]
pub(crate) struct Ports {
    taken: Arc<Mutex<BTreeSet<u16>>>,
    /// Those that are chosen from: `remote_display_port_min` and `_max` of qemu.conf.
    screens: RangeInclusive<u16>,
    /// The same for VNC over WebSocket.
    web: RangeInclusive<u16>,
}

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
    /// None is taken yet.
    pub fn new(settings: &Settings) -> Self {
        let (screens, web) = (settings.screen_ports.clone(), settings.web_ports.clone());
        Self { taken: Arc::default(), screens, web }
    }

    /// The first port that nobody uses on `address`; none if all are taken.
    pub fn reserve(&self, address: Option<IpAddr>) -> Option<Port> {
        self.first_free(&self.screens, address)
    }

    /// The same for VNC over WebSocket.
    pub fn reserve_web(&self, address: Option<IpAddr>) -> Option<Port> {
        self.first_free(&self.web, address)
    }

    fn first_free(&self, range: &RangeInclusive<u16>, address: Option<IpAddr>) -> Option<Port> {
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut numbers = self.numbers();
        let free = range.clone().find(|number| {
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
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_use_are_passed_over_and_come_back() {
        let ports = Ports::new(&Settings::default());
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

    #[test]
    fn the_host_says_which_ports_there_are() {
        let settings = Settings { screen_ports: 64_998..=64_998, ..Settings::default() };
        let ports = Ports::new(&settings);
        let only = ports.take(64_998).unwrap();
        assert!(ports.reserve(None).is_none());
        drop(only);
        assert!(ports.reserve(None).is_none_or(|port| port.number() == 64_998));
    }
}
