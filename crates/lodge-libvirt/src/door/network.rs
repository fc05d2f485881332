//! The network's doors: which addresses and ports, and listening there.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;

use tokio::net::{TcpListener, TcpSocket};

/// Where service names are looked up (services(5)).
const SERVICES: &str = "/etc/services";

/// Every socket for `port` (a number or a service's name) on `address` (a name or a number; none: all addresses).
pub fn listen(address: Option<&str>, port: &str, queued: u32) -> io::Result<Vec<TcpListener>> {
    let port = port_number(port)?;
    let Some(address) = address else {
        // IPv6's socket takes IPv4 too; where there is no IPv6, IPv4's alone.
        let all = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), (Ipv4Addr::UNSPECIFIED, port).into()];
        return bind(all[0], queued).or_else(|_| bind(all[1], queued)).map(|listener| vec![listener]);
    };
    (address, port).to_socket_addrs()?.map(|address| bind(address, queued)).collect()
}

/// One that systemd opened.
pub fn handed(socket: OwnedFd) -> io::Result<TcpListener> {
    let socket = std::net::TcpListener::from(socket);
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

fn bind(address: SocketAddr, queued: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted daemon need not wait for the last one's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(queued.max(1))
}

fn port_number(port: &str) -> io::Result<u16> {
    if let Ok(number) = port.parse() {
        return Ok(number);
    }
    let services = std::fs::read_to_string(SERVICES).unwrap_or_default();
    let named = services.lines().find_map(|line| port_of(line, port));
    named.ok_or_else(|| {
        let text = format!("`{port}` is neither a port's number nor a TCP service of {SERVICES}");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}

/// `https   443/tcp   alias  # comment`
fn port_of(line: &str, service: &str) -> Option<u16> {
    let mut words = line.split('#').next()?.split_whitespace();
    let (name, port) = (words.next()?, words.next()?);
    let number = port.strip_suffix("/tcp")?;
    (name == service || words.any(|alias| alias == service)).then(|| number.parse().ok()).flatten()
}

/// A peer's address as libvirt writes it for people: `127.0.0.1:54321`. IPv4 through an IPv6 socket is IPv4.
pub fn peer(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_numbers_and_names() {
        assert_eq!(port_number("16514").unwrap(), 16514);
        assert_eq!(port_of("https\t443/tcp www-tls # web", "https"), Some(443));
        assert_eq!(port_of("https\t443/tcp www-tls # web", "www-tls"), Some(443));
        assert_eq!(port_of("https\t443/udp", "https"), None);
        assert_eq!(port_of("# https 443/tcp", "https"), None);
        assert!(
            port_number("no-such-service-here").unwrap_err().to_string().contains("no-such-service-here")
        );
    }
}
