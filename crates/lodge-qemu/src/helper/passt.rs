//! What passt is told, in libvirt's order, and how it is found to serve.
//!
//! It gets one end of a pair of sockets (`--fd`), where libvirt has a path: nobody else can connect, and it ends when
//! QEMU closes the other. So a passt that died is not begun again, as for all helpers. Sources: passt(1), passt's and
//! qemu(1)'s framing (a length of four bytes before each frame), RFC 826, RFC 4861.
//! Deliberately absent: `--vhost-user`, which passts before 2025 do not have.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use lodge_model::MacAddr;
use lodge_model::domain::interface::Interface;
use lodge_model::xml::Kept;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::claims::FdNumber;

/// The longest frame that is read.
const FRAME_BYTES: usize = 65_535 + 14;

/// The arguments for one interface; the error names the child of `<interface>` that cannot be.
pub fn arguments(interface: &Interface, socket: FdNumber) -> Result<Vec<String>, String> {
    // Its words go to a log that is opened already; more of them where there is no terminal needs --stderr before 2024.
    let mut words = vec!["--foreground".to_owned(), "--stderr".to_owned(), format!("--fd={socket}")];
    let mut two = |option: &str, value: String| words.extend([option.to_owned(), value]);
    if let Some(mac) = interface.mac() {
        two("--mac-addr", mac.to_string());
    }
    if let Some(mtu) = &interface.mtu {
        two("--mtu", mtu.size_bytes.to_string());
    }
    if let Some(dev) = interface.source.as_deref().and_then(|source| source.dev.as_ref()) {
        two("--interface", dev.clone());
    }
    let (mut had_v4, mut had_v6) = (false, false);
    for ip in &interface.ips {
        let address: IpAddr =
            ip.address.parse().map_err(|_| format!("ip: `{}` is no address", ip.address))?;
        let had = if address.is_ipv4() { &mut had_v4 } else { &mut had_v6 };
        if std::mem::replace(had, true) {
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(format!("ip: Only one {family} address per interface is allowed"));
        }
        if ip.peer.is_some() {
            return Err("ip: Invalid attempt to set peer IP for guest".to_owned());
        }
        two("--address", address.to_string());
        match ip.prefix.filter(|prefix| *prefix > 0) {
            Some(prefix) if address.is_ipv4() => two("--netmask", prefix.to_string()),
            // passt has no other for IPv6.
            Some(64) | None => {}
            Some(prefix) => {
                return Err(format!("ip: unsupported IPv6 address prefix='{prefix}' - must be 64"));
            }
        }
    }
    for forward in interface.port_forward.trees("portForward") {
        let option = match forward.attribute("proto") {
            Some("tcp") => "--tcp-ports",
            Some("udp") => "--udp-ports",
            other => {
                return Err(format!(
                    "portForward: `{}` is no protocol; tcp and udp are",
                    other.unwrap_or_default()
                ));
            }
        };
        two(option, forwarded(&forward)?);
    }
    Ok(words)
}

/// `ADDRESS%DEV/~START-END:TO-TO,…`.
fn forwarded(forward: &Kept) -> Result<String, String> {
    let mut text = String::new();
    let dev = forward.attribute("dev");
    match forward.attribute("address") {
        Some(address) => {
            let address: IpAddr =
                address.parse().map_err(|_| format!("portForward: `{address}` is no address"))?;
            text += &address.to_string();
            text += &dev.map(|dev| format!("%{dev}")).unwrap_or_default();
            text.push('/');
        }
        // libvirt would leave the interface out, and open the ports everywhere.
        None if dev.is_some() => return Err("portForward: `dev` needs an `address` beside it".to_owned()),
        None => {}
    }
    let ranges = forward.all("range").map(range).collect::<Result<Vec<_>, _>>()?;
    if ranges.is_empty() {
        return Ok(text + "all");
    }
    Ok(text + &ranges.join(","))
}

fn range(range: &Kept) -> Result<String, String> {
    let port = |name: &str| match range.attribute(name) {
        None => Ok(None),
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok(Some(port)),
            _ => Err(format!("portForward/range: `{name}` is no port")),
        },
    };
    let (start, end, to) = (port("start")?, port("end")?, port("to")?);
    let start = start.ok_or("portForward/range: attribute `start` is missing")?;
    let excluded = match range.attribute("exclude") {
        None | Some("no") => "",
        Some("yes") => "~",
        Some(other) => return Err(format!("portForward/range: exclude='{other}' is neither yes nor no")),
    };
    if end.is_some_and(|end| end < start) {
        return Err("portForward/range: it ends before it starts".to_owned());
    }
    let through = end.map(|end| format!("-{end}")).unwrap_or_default();
    let Some(to) = to else { return Ok(format!("{excluded}{start}{through}")) };
    if !excluded.is_empty() {
        return Err("portForward/range: what is excluded goes nowhere".to_owned());
    }
    let Some(end) = end else { return Ok(format!("{start}:{to}")) };
    let last = to.checked_add(end - start).ok_or("portForward/range: its last port is beyond 65535")?;
    Ok(format!("{start}{through}:{to}-{last}"))
}

/// Asks for a neighbour as the guest would, by IPv4 and by IPv6: passt answers for every address but the guest's, by
/// whichever of the two it has. The answer is read; a second one the guest's card may get to hear, as any neighbour's.
pub async fn greet(socket: &mut UnixStream, mac: MacAddr) -> io::Result<()> {
    for frame in [who_has(mac), solicitation(mac)] {
        let length = u32::try_from(frame.len()).unwrap_or_default();
        socket.write_all(&length.to_be_bytes()).await?;
        socket.write_all(&frame).await?;
    }
    let length = socket.read_u32().await?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame without end"));
    }
    let mut frame = vec![0; length];
    socket.read_exact(&mut frame).await.map(drop)
}

/// An ARP request that says nothing of the asker's address (RFC 5227), for one that no host has.
fn who_has(mac: MacAddr) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &mac.0, &[0x08, 0x06]].concat();
    // Ethernet, IPv4, their lengths; a request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac.0);
    frame.extend([0, 0, 0, 0]);
    frame.extend([0; 6]);
    frame.extend([192, 0, 2, 1]);
    frame
}

/// A neighbour solicitation from the link-local address that belongs to the card's, for one that no host has.
fn solicitation(mac: MacAddr) -> Vec<u8> {
    // RFC 4291, appendix A.
    let mut own = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0];
    own[8..11].copy_from_slice(&mac.0[..3]);
    own[13..].copy_from_slice(&mac.0[3..]);
    own[8] ^= 2;
    let own = Ipv6Addr::from(own);
    let target = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    // The source's link-layer address.
    message.extend([1, 1]);
    message.extend(mac.0);
    let length = u16::try_from(message.len()).unwrap_or_default();
    let pseudo =
        [&own.octets()[..], &group.octets(), &[0, 0], &length.to_be_bytes(), &[0, 0, 0, 58]].concat();
    let sum = checksum(&[&pseudo[..], &message].concat());
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = [&[0x33, 0x33, 0xff, 0, 0, 1][..], &mac.0, &[0x86, 0xdd], &[0x60, 0, 0, 0]].concat();
    frame.extend(length.to_be_bytes());
    frame.extend([58, 255]);
    frame.extend(own.octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lodge_model::domain::Domain;

    fn told(rest: &str) -> Result<String, String> {
        let text = format!(
            "<domain type='qemu'><name>n</name><memory>65536</memory><os><type>hvm</type></os><devices>\
             <interface type='user'><mac address='52:54:00:00:00:01'/><backend type='passt'/>{rest}</interface>\
             </devices></domain>"
        );
        let interface = Domain::parse(&text).unwrap().devices.interfaces.remove(0);
        arguments(&interface, FdNumber::fixed(7)).map(|words| words[3..].join(" "))
    }

    #[test]
    fn it_is_told_what_libvirt_tells_it() {
        let mac = "--mac-addr 52:54:00:00:00:01";
        assert_eq!(told("").unwrap(), mac);
        assert_eq!(
            told(
                "<source dev='eth0'/><mtu size='1400'/><ip address='10.0.0.5' prefix='24'/><ip address='fd00::5'/>\
                 <portForward proto='tcp' address='2001:db8::1' dev='eth0'><range start='8080' to='80'/>\
                 <range start='4433' end='4434' to='3444'/></portForward>\
                 <portForward proto='udp'><range start='5000' end='5020'/><range start='5010' exclude='yes'/>\
                 </portForward><portForward proto='udp'/>"
            )
            .unwrap(),
            format!(
                "{mac} --mtu 1400 --interface eth0 --address 10.0.0.5 --netmask 24 --address fd00::5 \
                 --tcp-ports 2001:db8::1%eth0/8080:80,4433-4434:3444-3445 --udp-ports 5000-5020,~5010 --udp-ports all"
            )
        );
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (rest, said) in [
            ("<ip address='10.0.0.5'/><ip address='10.0.0.6'/>", "ip: Only one IPv4"),
            ("<ip address='fd00::5' prefix='48'/>", "ip: unsupported IPv6 address prefix='48'"),
            ("<portForward proto='sctp'/>", "portForward: `sctp`"),
            ("<portForward proto='tcp' dev='eth0'/>", "portForward: `dev` needs"),
            ("<portForward proto='tcp' address='x'/>", "portForward: `x` is no address"),
            (
                "<portForward proto='tcp'><range end='5'/></portForward>",
                "portForward/range: attribute `start`",
            ),
            (
                "<portForward proto='tcp'><range start='0'/></portForward>",
                "portForward/range: `start` is no port",
            ),
            (
                "<portForward proto='tcp'><range start='9' end='5'/></portForward>",
                "portForward/range: it ends",
            ),
            (
                "<portForward proto='tcp'><range start='1' end='5' to='65533'/></portForward>",
                "portForward/range: its last port",
            ),
        ] {
            let error = told(rest).unwrap_err();
            assert!(error.starts_with(said), "{rest}: {error}");
        }
    }

    #[test]
    fn a_solicitations_checksum_holds() {
        let frame = solicitation("52:54:00:00:00:01".parse().unwrap());
        let (header, message) = (&frame[14..54], &frame[54..]);
        let pseudo = [&header[8..40], &[0, 0], &header[4..6], &[0, 0, 0, 58]].concat();
        assert_eq!(checksum(&[&pseudo[..], message].concat()), 0);
    }
}
