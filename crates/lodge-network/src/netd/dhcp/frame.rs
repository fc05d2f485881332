//! The IPv4 and UDP headers of a reply, for a client that UDP cannot reach yet.

use std::net::Ipv4Addr;

/// The hardware address of all.
pub const BROADCAST: [u8; 6] = [0xff; 6];

const IP_BYTES: u16 = 20;
const UDP_BYTES: u16 = 8;
const UDP: u8 = 17;
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// `payload` in an IPv4 packet from port 67 of `from` to port 68 of `to`. `None` if it does not fit.
pub fn udp_packet(from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Option<Vec<u8>> {
    let udp_len = u16::try_from(payload.len()).ok()?.checked_add(UDP_BYTES)?;
    let total = udp_len.checked_add(IP_BYTES)?;
    let mut packet = Vec::with_capacity(usize::from(total));
    packet.extend([0x45, 0x10]); // version 4, 5 words; low delay
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]); // don't fragment, 64 hops, checksum below
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());

    let udp_at = packet.len();
    packet.extend(SERVER_PORT.to_be_bytes());
    packet.extend(CLIENT_PORT.to_be_bytes());
    packet.extend(udp_len.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    let pseudo = [&from.octets()[..], &to.octets(), &[0, UDP], &udp_len.to_be_bytes()].concat();
    let sum = match checksum(&[&pseudo, &packet[udp_at..]]) {
        0 => 0xffff, // zero would mean: none (RFC 768)
        sum => sum,
    };
    packet[udp_at + 6..udp_at + 8].copy_from_slice(&sum.to_be_bytes());
    Some(packet)
}

/// The Internet checksum (RFC 1071) over parts, of which all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to sixteen bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_a_whole_packet_come_out_even() {
        let (from, to) = (Ipv4Addr::new(192, 168, 122, 1), Ipv4Addr::new(192, 168, 122, 77));
        for payload in [&b"odd"[..], b"even"] {
            let packet = udp_packet(from, to, payload).unwrap();
            assert_eq!(checksum(&[&packet[..20]]), 0);
            let length = u16::try_from(packet.len() - 20).unwrap();
            let pseudo = [&from.octets()[..], &to.octets(), &[0, UDP], &length.to_be_bytes()].concat();
            assert_eq!(checksum(&[&pseudo, &packet[20..]]), 0);
        }
        assert_eq!(udp_packet(from, to, &vec![0; 65_520]), None);
    }
}
