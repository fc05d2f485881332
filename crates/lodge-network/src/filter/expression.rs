//! What a rule holds a packet to, as nft's text. Pure.
//!
//! `mirrored`: the rule is written for the other direction, so that source and destination change places. Numbers stand
//! for words, so that no table of names decides. Headers that nft has no words for (STP, RARP) are read at their place
//! in the frame, counted from behind the Ethernet header.

use std::fmt::Write as _;
use std::net::IpAddr;

use lodge_model::nwfilter::{Protocol, Rule, Value};

/// What is asked for that cannot be had, in words.
type Refusal = String;

/// The set of pairs of addresses that are equal in one byte, for gratuitous ARP.
pub(super) const SAME: &str = "same";

/// Where the group address of spanning tree is.
pub(super) const SPANNING_TREE: &str = "ether daddr 01:80:c2:00:00:00";

/// The rule's conditions; `None`: no packet can fit.
pub(super) fn of(rule: &Rule, mirrored: bool) -> Result<Option<String>, Refusal> {
    let Some(protocol) = rule.protocol else { return Ok(Some(String::new())) };
    let mut text = Text { rule, mirrored, out: String::new(), never: false };
    match protocol {
        Protocol::Mac => {
            text.ethernet();
            text.number("ether type", "protocolid", None);
        }
        Protocol::Vlan => {
            text.ethernet();
            text.say("ether type 0x8100");
            text.number("vlan id", "vlanid", None);
            text.number("vlan type", "encap-protocol", None);
        }
        Protocol::Stp => text.spanning_tree()?,
        Protocol::Arp => text.arp()?,
        Protocol::Rarp => text.rarp()?,
        Protocol::Ip => {
            text.ethernet();
            text.say("ether type 0x0800");
            text.addresses("ip")?;
            text.number("ip protocol", "protocol", None);
            text.ports("th")?;
            text.number("ip dscp", "dscp", None);
        }
        Protocol::Ipv6 => {
            text.ethernet();
            text.say("ether type 0x86dd");
            text.addresses("ip6")?;
            text.number("meta l4proto", "protocol", None);
            text.ports("th")?;
            text.number("icmpv6 type", "type", Some("typeend"));
            text.number("icmpv6 code", "code", Some("codeend"));
        }
        _ => text.over_ip(protocol)?,
    }
    Ok((!text.never).then_some(text.out))
}

/// Whether the rule's default is to count connections: it lets packets of one direction through, and those that answer.
pub(super) fn counts_connections(rule: &Rule) -> bool {
    use lodge_model::nwfilter::{Action, Direction, State};
    let is_over_ip = rule.protocol.is_some_and(|protocol| !protocol.is_ethernet());
    let says_none = rule.states().is_some_and(|states| states.0 & State::NONE != 0);
    is_over_ip
        && !rule.stateless
        && rule.action == Action::Accept
        && rule.direction != Direction::InOut
        && !says_none
        && rule.states().is_none()
}

struct Text<'a> {
    rule: &'a Rule,
    mirrored: bool,
    out: String,
    never: bool,
}

impl Text<'_> {
    fn say(&mut self, words: &str) {
        if !self.out.is_empty() {
            self.out.push(' ');
        }
        self.out.push_str(words);
    }

    /// `source` or `destination` of a mirrored rule.
    fn side(&self, is_source: bool) -> &'static str {
        if is_source == self.mirrored { "daddr" } else { "saddr" }
    }

    fn sign(&self, name: &str) -> &'static str {
        if self.rule.item(name).is_some_and(|item| item.negated) { "!= " } else { "" }
    }

    fn numeric(&self, name: &str) -> Option<u32> {
        match self.rule.value(name) {
            Some(Value::Number { value, .. }) => Some(*value),
            _ => None,
        }
    }

    /// A field that is a number, or the first of a range.
    fn number(&mut self, what: &str, name: &str, end: Option<&str>) {
        let Some(first) = self.numeric(name) else { return };
        let sign = self.sign(name);
        let text = match end.and_then(|end| self.numeric(end)) {
            Some(last) if last < first => {
                // A range without a number in it.
                self.never |= sign.is_empty();
                return;
            }
            Some(last) if last > first => format!("{what} {sign}{first:#x}-{last:#x}"),
            _ => format!("{what} {sign}{first:#x}"),
        };
        self.say(&text);
    }

    fn mac(&self, name: &str) -> Option<[u8; 6]> {
        match self.rule.value(name) {
            Some(Value::Mac(mac)) => Some(mac.0),
            _ => None,
        }
    }

    fn ethernet(&mut self) {
        for (name, mask, is_source) in
            [("srcmacaddr", "srcmacmask", true), ("dstmacaddr", "dstmacmask", false)]
        {
            let Some(mac) = self.mac(name) else { continue };
            let (side, sign) = (self.side(is_source), self.sign(name));
            let text = match self.mac(mask) {
                Some(mask) => {
                    let sign = if sign.is_empty() { "== " } else { sign };
                    let masked = masked(mac, mask);
                    format!("ether {side} & {} {sign}{}", colons(mask), colons(masked))
                }
                None => format!("ether {side} {sign}{}", colons(mac)),
            };
            self.say(&text);
        }
    }

    /// Six bytes behind the Ethernet header.
    fn raw_mac(&mut self, name: &str, mask: Option<&str>, bits: u32) {
        let Some(mac) = self.mac(name) else { return };
        let sign = self.sign(name);
        let text = match mask.and_then(|mask| self.mac(mask)) {
            Some(mask) => {
                let sign = if sign.is_empty() { "== " } else { sign };
                format!("@nh,{bits},48 & {} {sign}{}", hex(mask), hex(masked(mac, mask)))
            }
            None => format!("@nh,{bits},48 {sign}{}", hex(mac)),
        };
        self.say(&text);
    }

    fn spanning_tree(&mut self) -> Result<(), Refusal> {
        if self.mirrored && self.rule.item("srcmacaddr").is_some() {
            return Err("STP filtering in inout direction with source MAC address set".to_owned());
        }
        self.ethernet();
        self.say(SPANNING_TREE);
        // Behind three bytes of LLC, IEEE 802.1D section 9.3.
        self.number("@nh,48,8", "type", None);
        self.number("@nh,56,8", "flags", None);
        for (place, name) in [
            ("@nh,64,16", "root-priority"),
            ("@nh,128,32", "root-cost"),
            ("@nh,160,16", "sender-priority"),
            ("@nh,224,16", "port"),
            ("@nh,240,16", "age"),
            ("@nh,256,16", "max-age"),
            ("@nh,272,16", "hello-time"),
            ("@nh,288,16", "forward-delay"),
        ] {
            self.refuse_alone(&format!("{name}-hi"), name)?;
            self.number(place, name, Some(&format!("{name}-hi")));
        }
        self.raw_mac("root-address", Some("root-address-mask"), 80);
        self.raw_mac("sender-address", Some("sender-address-mask"), 176);
        Ok(())
    }

    fn arp(&mut self) -> Result<(), Refusal> {
        self.ethernet();
        self.say("ether type 0x0806");
        self.number("arp htype", "hwtype", None);
        self.number("arp ptype", "protocoltype", None);
        self.number("arp operation", "opcode", None);
        for (name, is_source) in [("arpsrcmacaddr", true), ("arpdstmacaddr", false)] {
            if let Some(mac) = self.mac(name) {
                let (side, sign) = (self.side(is_source), self.sign(name));
                self.say(&format!("arp {side} ether {sign}{}", colons(mac)));
            }
        }
        for (name, mask, is_source) in
            [("arpsrcipaddr", "arpsrcipmask", true), ("arpdstipaddr", "arpdstipmask", false)]
        {
            let side = self.side(is_source);
            self.masked_address(&format!("arp {side} ip"), name, mask);
        }
        if self.rule.value("gratuitous") == Some(&Value::Truth(true)) {
            if self.rule.item("gratuitous").is_some_and(|item| item.negated) {
                return Err("gratuitous with match='no'".to_owned());
            }
            // nft compares no two fields: byte by byte, a pair of equal ones is in the set.
            for mask in ["255.0.0.0", "0.255.0.0", "0.0.255.0", "0.0.0.255"] {
                self.say(&format!("arp saddr ip & {mask} . arp daddr ip & {mask} @{SAME}"));
            }
        }
        Ok(())
    }

    fn rarp(&mut self) -> Result<(), Refusal> {
        if self.rule.value("gratuitous") == Some(&Value::Truth(true)) {
            return Err("gratuitous of RARP".to_owned());
        }
        self.ethernet();
        self.say("ether type 0x8035");
        self.number("@nh,0,16", "hwtype", None);
        self.number("@nh,16,16", "protocoltype", None);
        self.number("@nh,48,16", "opcode", None);
        let (source, destination) = if self.mirrored { (144, 64) } else { (64, 144) };
        self.raw_mac("arpsrcmacaddr", None, source);
        self.raw_mac("arpdstmacaddr", None, destination);
        for (name, mask, bits) in [
            ("arpsrcipaddr", "arpsrcipmask", source + 48),
            ("arpdstipaddr", "arpdstipmask", destination + 48),
        ] {
            let Some(Value::Address(IpAddr::V4(address))) = self.rule.value(name) else { continue };
            let width = self.prefix(mask).unwrap_or(32);
            let sign = if self.sign(name).is_empty() { "== " } else { "!= " };
            let mask = u32::MAX.checked_shl(32 - u32::from(width)).unwrap_or(0);
            let text = format!("@nh,{bits},32 & {mask:#010x} {sign}{:#010x}", address.to_bits() & mask);
            self.say(&text);
        }
        Ok(())
    }

    fn prefix(&self, name: &str) -> Option<u8> {
        match self.rule.value(name) {
            Some(Value::Prefix(bits)) => Some(*bits),
            _ => None,
        }
    }

    fn masked_address(&mut self, what: &str, name: &str, mask: &str) {
        let Some(Value::Address(address)) = self.rule.value(name) else { return };
        let sign = self.sign(name);
        let text = match self.prefix(mask) {
            Some(0) => {
                // Every address fits.
                self.never |= !sign.is_empty();
                return;
            }
            Some(bits) => format!("{what} {sign}{address}/{bits}"),
            None => format!("{what} {sign}{address}"),
        };
        self.say(&text);
    }

    fn addresses(&mut self, family: &str) -> Result<(), Refusal> {
        for (name, mask, from, to, is_source) in [
            ("srcipaddr", "srcipmask", "srcipfrom", "srcipto", true),
            ("dstipaddr", "dstipmask", "dstipfrom", "dstipto", false),
        ] {
            let what = format!("{family} {}", self.side(is_source));
            self.refuse_alone(mask, name)?;
            self.masked_address(&what, name, mask);
            self.refuse_alone(to, from)?;
            let Some(Value::Address(first)) = self.rule.value(from) else { continue };
            let sign = self.sign(from);
            let text = match self.rule.value(to) {
                Some(Value::Address(last)) if last.is_ipv4() != first.is_ipv4() => {
                    return Err(format!("{to}='{last}' beside {from}='{first}'"));
                }
                Some(Value::Address(last)) if last < first => {
                    self.never |= sign.is_empty();
                    continue;
                }
                Some(Value::Address(last)) if last > first => format!("{what} {sign}{first}-{last}"),
                _ => format!("{what} {sign}{first}"),
            };
            self.say(&text);
        }
        Ok(())
    }

    fn ports(&mut self, header: &str) -> Result<(), Refusal> {
        for (first, last, is_source) in
            [("srcportstart", "srcportend", true), ("dstportstart", "dstportend", false)]
        {
            self.refuse_alone(last, first)?;
            let side = if is_source == self.mirrored { "dport" } else { "sport" };
            self.number(&format!("{header} {side}"), first, Some(last));
        }
        Ok(())
    }

    /// What means nothing without something else; libvirt passes it over.
    fn refuse_alone(&self, name: &str, without: &str) -> Result<(), Refusal> {
        if self.rule.item(name).is_some() && self.rule.item(without).is_none() {
            return Err(format!("{name} without {without}"));
        }
        Ok(())
    }

    fn over_ip(&mut self, protocol: Protocol) -> Result<(), Refusal> {
        let (family, kind) = if protocol.is_over_ipv6() { ("ip6", 0x86dd) } else { ("ip", 0x0800) };
        if self.rule.item("ipset").is_some() {
            return Err("ipset: sets of the program ipset are not seen by nftables".to_owned());
        }
        self.say(&format!("ether type {kind:#06x}"));
        if let Some(number) = number_of(protocol) {
            self.say(&format!("meta l4proto {number}"));
        }
        self.ethernet();
        self.addresses(family)?;
        self.number(&format!("{family} dscp"), "dscp", None);
        if matches!(
            protocol,
            Protocol::Tcp
                | Protocol::Udp
                | Protocol::Sctp
                | Protocol::TcpIpv6
                | Protocol::UdpIpv6
                | Protocol::SctpIpv6
        ) {
            self.ports("th")?;
        }
        if let Some(Value::TcpFlags { mask, flags }) = self.rule.value("flags") {
            let sign = if self.sign("flags").is_empty() { "==" } else { "!=" };
            self.say(&format!("tcp flags & {mask:#x} {sign} {flags:#x}"));
        }
        if let Some(option) = self.numeric("option") {
            let there = if self.sign("option").is_empty() { "exists" } else { "missing" };
            self.say(&format!("tcp option {option} {there}"));
        }
        let header = if protocol.is_over_ipv6() { "icmpv6" } else { "icmp" };
        // An answer has another type than what it answers; its connection says whose it is.
        if !(self.mirrored && counts_connections(self.rule)) {
            self.number(&format!("{header} type"), "type", None);
            self.refuse_alone("code", "type")?;
            self.number(&format!("{header} code"), "code", None);
        }
        Ok(())
    }
}

/// The number of what a rule over IP looks at.
fn number_of(protocol: Protocol) -> Option<u8> {
    Some(match protocol {
        Protocol::Tcp | Protocol::TcpIpv6 => 6,
        Protocol::Udp | Protocol::UdpIpv6 => 17,
        Protocol::UdpLite | Protocol::UdpLiteIpv6 => 136,
        Protocol::Esp | Protocol::EspIpv6 => 50,
        Protocol::Ah | Protocol::AhIpv6 => 51,
        Protocol::Sctp | Protocol::SctpIpv6 => 132,
        Protocol::Icmp => 1,
        Protocol::Icmpv6 => 58,
        Protocol::Igmp => 2,
        _ => return None,
    })
}

fn masked(mac: [u8; 6], mask: [u8; 6]) -> [u8; 6] {
    let mut masked = mac;
    masked.iter_mut().zip(mask).for_each(|(byte, mask)| *byte &= mask);
    masked
}

fn colons(mac: [u8; 6]) -> String {
    lodge_model::MacAddr(mac).to_string()
}

fn hex(mac: [u8; 6]) -> String {
    mac.iter().fold("0x".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}
