//! The sockets netd serves on, opened while there are still privileges.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::NetworkError;

const DHCP_PORT: u16 = 67;
const DNS_PORT: u16 = 53;
/// Room for a burst of guests that start together, in bytes.
const BURST_BYTES: usize = 8 << 20;
const BACKLOG: i32 = 64;

/// UDP port 67 of one bridge alone.
pub fn dhcp(bridge: &str) -> Result<OwnedFd, NetworkError> {
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.set_broadcast(true)?;
        socket.bind_device(Some(bridge.as_bytes()))?;
        // Above the host's ordinary limit; where that is refused, the ordinary one serves.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BURST_BYTES).is_err() {
            socket.set_recv_buffer_size(BURST_BYTES)?;
        }
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, DHCP_PORT)).into())?;
        Ok(socket.into())
    };
    open().map_err(|source| taken(source, "UDP port 67", bridge))
}

/// A socket that sends frames out of any interface.
pub fn frames(bridge: &str) -> Result<OwnedFd, NetworkError> {
    let failed =
        |source| NetworkError::Link { act: "open a packet socket for", subject: bridge.to_owned(), source };
    let socket = lodge_sys::packet::sender().map_err(failed)?;
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, BURST_BYTES);
    Ok(socket)
}

/// UDP and TCP port 53 of one address.
pub fn dns(gateway: IpAddr) -> Result<(OwnedFd, OwnedFd), NetworkError> {
    let address = SocketAddr::new(gateway, DNS_PORT);
    let open = || -> io::Result<(OwnedFd, OwnedFd)> {
        let domain = Domain::for_address(address);
        let udp = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        udp.bind(&address.into())?;
        let tcp = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        // A restarted netd must not wait for old connections to fade.
        tcp.set_reuse_address(true)?;
        tcp.bind(&address.into())?;
        tcp.listen(BACKLOG)?;
        Ok((udp.into(), tcp.into()))
    };
    open().map_err(|source| taken(source, "port 53", &gateway.to_string()))
}

fn taken(source: io::Error, port: &str, subject: &str) -> NetworkError {
    if source.kind() != io::ErrorKind::AddrInUse {
        return NetworkError::Link {
            act: "open the sockets of DHCP and DNS on",
            subject: subject.to_owned(),
            source,
        };
    }
    NetworkError::Conflict {
        what: format!("{port} on {subject}"),
        owner: "another server that listens on all interfaces (dnsmasq, named, unbound …)".into(),
        hint: "`ss -lntup` tells which; let it listen on its own addresses only (dnsmasq: bind-interfaces)"
            .into(),
    }
}
