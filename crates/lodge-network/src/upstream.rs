//! The host's name servers, as `/etc/resolv.conf` tells. Read again by the daemon and pushed to netd, whose
//! root is empty.

use std::net::{IpAddr, SocketAddr};

/// Most servers taken; libc takes three.
const SERVERS_MAX: usize = 8;
const DNS_PORT: u16 = 53;

/// The servers in `text`, without those that are ours: asking them would lead back here.
pub fn parse(text: &str, ours: &[IpAddr]) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next())
        // A link-local server's scope cannot be told to netd by name.
        .filter_map(|server| server.parse::<IpAddr>().ok())
        .filter(|server| !ours.contains(server))
        .take(SERVERS_MAX)
        .map(|server| SocketAddr::new(server, DNS_PORT))
        .collect()
}

/// The host's servers now; none where the file cannot be read.
pub fn read(ours: &[IpAddr]) -> Vec<SocketAddr> {
    std::fs::read_to_string("/etc/resolv.conf").map(|text| parse(&text, ours)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_in_order_and_our_own_left_out() {
        let text = "# by hand\nsearch lan\nnameserver 192.168.122.1\n nameserver 10.0.0.53 # x\nnameserver fe80::1%eth0\nnameserver ::1\nnameserver\n";
        let servers = parse(text, &["192.168.122.1".parse().unwrap()]);
        assert_eq!(servers, ["10.0.0.53:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
    }
}
