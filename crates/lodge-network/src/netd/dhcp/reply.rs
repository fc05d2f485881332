//! What a reply carries: the options of the subnet, in the order a client asked or not at all.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};

use super::{Ask, BROADCAST, Reply, Server, encode};

impl Server {
    /// OFFER or ACK of `ip`; to an INFORM, `ip` is none and no lease is told.
    pub(super) fn reply(&self, ask: &Ask<'_>, kind: MessageType, ip: Ipv4Addr) -> Option<Reply> {
        let mut message = self.blank(ask, kind);
        message.set_yiaddr(ip).set_ciaddr(ask.message.ciaddr());
        if !ip.is_unspecified() {
            self.lease_options(&mut message);
        }
        self.subnet_options(ask, &mut message, ip);
        let current = ask.message.ciaddr();
        let (to_mac, to_ip) = if !current.is_unspecified() {
            (ask.mac.0, current)
        } else if ask.message.flags().broadcast() {
            (BROADCAST, Ipv4Addr::BROADCAST)
        } else {
            (ask.mac.0, ip)
        };
        Some(Reply { to_mac, to_ip, message: encode(&message)? })
    }

    /// NAK: always to all, for the client's address is in doubt (RFC 2131 section 4.1).
    pub(super) fn refuse(&self, ask: &Ask<'_>) -> Option<Reply> {
        let mut message = self.blank(ask, MessageType::Nak);
        let why = "that address is not for you here".to_owned();
        message.opts_mut().insert(DhcpOption::Message(why));
        Some(Reply { to_mac: BROADCAST, to_ip: Ipv4Addr::BROADCAST, message: encode(&message)? })
    }

    fn blank(&self, ask: &Ask<'_>, kind: MessageType) -> Message {
        let unset = Ipv4Addr::UNSPECIFIED;
        let xid = ask.message.xid();
        let mut message = Message::new_with_id(xid, unset, unset, unset, unset, &ask.mac.0);
        let flags =
            if ask.message.flags().broadcast() { Flags::default().set_broadcast() } else { Flags::default() };
        message.set_opcode(Opcode::BootReply).set_flags(flags);
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        message.opts_mut().insert(DhcpOption::ServerIdentifier(self.scope.server));
        if let Some(id) = &ask.client_id {
            // RFC 6842: the identifier goes back as it came.
            message.opts_mut().insert(DhcpOption::ClientIdentifier(id.clone()));
        }
        message
    }

    fn lease_options(&self, message: &mut Message) {
        let lease_s = self.scope.lease_s;
        let options = message.opts_mut();
        options.insert(DhcpOption::AddressLeaseTime(lease_s));
        if lease_s != u32::MAX {
            options.insert(DhcpOption::Renewal(lease_s / 2));
            options.insert(DhcpOption::Rebinding(lease_s / 8 * 7));
        }
    }

    fn subnet_options(&self, ask: &Ask<'_>, message: &mut Message, ip: Ipv4Addr) {
        let scope = &self.scope;
        let asked = |code| match ask.message.opts().get(OptionCode::ParameterRequestList) {
            Some(DhcpOption::ParameterRequestList(codes)) => codes.contains(&code),
            _ => true,
        };
        if let Some(boot) = &scope.boot {
            message.set_siaddr(boot.server.unwrap_or(scope.server));
            if boot.file.len() <= 127 {
                message.set_fname_str(&boot.file);
            }
        }
        let name = self.told_name(ask, ip);
        let options = message.opts_mut();
        let mask = ipnet::Ipv4Net::new(scope.server, scope.prefix).ok();
        if let Some(net) = mask {
            options.insert(DhcpOption::SubnetMask(net.netmask()));
            options.insert(DhcpOption::BroadcastAddr(net.broadcast()));
        }
        options.extend_some(scope.router.map(|router| DhcpOption::Router(vec![router])));
        options.extend_some((!scope.dns.is_empty()).then(|| DhcpOption::DomainNameServer(scope.dns.clone())));
        options.extend_some(scope.domain.clone().map(DhcpOption::DomainName));
        options.extend_some(scope.mtu.map(DhcpOption::InterfaceMtu));
        options.extend_some(name.map(DhcpOption::Hostname));
        if asked(OptionCode::ClasslessStaticRoute) && !scope.routes.is_empty() {
            // RFC 3442: a client that takes this option ignores the router option, so it is in here too.
            let default = scope.router.map(|router| (ipnet::Ipv4Net::default(), router));
            let routes = scope.routes.iter().filter_map(|&(network, prefix, gateway)| {
                Some((ipnet::Ipv4Net::new(network, prefix).ok()?, gateway))
            });
            options.insert(DhcpOption::ClasslessStaticRoute(routes.chain(default).collect()));
        }
    }

    /// The name fixed for the guest in the network's document; others keep their own.
    fn told_name(&self, ask: &Ask<'_>, ip: Ipv4Addr) -> Option<String> {
        let fixed = |host: &&super::super::setup::StaticHost| host.mac == Some(ask.mac) && host.ip == ip;
        self.scope.hosts.iter().find(fixed).and_then(|host| host.name.clone())
    }
}

/// Puts in an option where there is one.
trait ExtendSome {
    fn extend_some(&mut self, option: Option<DhcpOption>);
}

impl ExtendSome for dhcproto::v4::DhcpOptions {
    fn extend_some(&mut self, option: Option<DhcpOption>) {
        if let Some(option) = option {
            self.insert(option);
        }
    }
}
