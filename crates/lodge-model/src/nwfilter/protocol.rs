//! Which protocols a rule can be of, and which fields each has, in the order in which libvirt writes them.

use super::value::Value;

crate::xml::words::words! {
    /// What a rule looks at.
    pub enum Protocol {
        Arp = "arp", Rarp = "rarp", Mac = "mac", Vlan = "vlan", Stp = "stp", Ip = "ip", Ipv6 = "ipv6",
        Tcp = "tcp", Udp = "udp", UdpLite = "udplite", Esp = "esp", Ah = "ah", Sctp = "sctp", Icmp = "icmp",
        All = "all", Igmp = "igmp",
        TcpIpv6 = "tcp-ipv6", UdpIpv6 = "udp-ipv6", UdpLiteIpv6 = "udplite-ipv6", EspIpv6 = "esp-ipv6",
        AhIpv6 = "ah-ipv6", SctpIpv6 = "sctp-ipv6", Icmpv6 = "icmpv6", AllIpv6 = "all-ipv6",
    }
}

/// A field of a protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// The attribute.
    pub name: &'static str,
    /// What values it has.
    pub form: Form,
}

/// What values a field has.
#[derive(Debug, PartialEq, Eq)]
pub enum Form {
    /// Hardware addresses.
    Mac,
    /// Masks of such.
    MacMask,
    /// Addresses.
    Ipv4,
    /// Masks of such.
    Ipv4Mask,
    /// Addresses.
    Ipv6,
    /// Masks of such.
    Ipv6Mask,
    /// Numbers.
    Number {
        /// How wide they are.
        bits: u32,
        /// Hexadecimal ones as well.
        hex: bool,
        /// Names of some.
        words: Option<Words>,
        /// The lowest.
        least: u32,
        /// The highest.
        most: u32,
    },
    /// States of connections.
    States,
    /// Flags of TCP.
    TcpFlags,
    /// The name of a set of addresses.
    SetName,
    /// What is looked up in it.
    SetSides,
    /// Yes or no.
    Truth,
    /// Words for people.
    Comment,
}

/// Names of numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct Words {
    pub(super) names: &'static [(u32, &'static str)],
    /// What has no name is written in decimal, however it was read.
    pub(super) always_decimal: bool,
}

const ETHERTYPES: &[(u32, &str)] =
    &[(0x806, "arp"), (0x8035, "rarp"), (0x800, "ipv4"), (0x86dd, "ipv6"), (0x8100, "vlan")];
const OPCODES: &[(u32, &str)] = &[
    (1, "Request"),
    (2, "Reply"),
    (3, "Request_Reverse"),
    (4, "Reply_Reverse"),
    (5, "DRARP_Request"),
    (6, "DRARP_Reply"),
    (7, "DRARP_Error"),
    (8, "InARP_Request"),
    (9, "ARP_NAK"),
];
const IP_PROTOCOLS: &[(u32, &str)] = &[
    (6, "tcp"),
    (17, "udp"),
    (136, "udplite"),
    (50, "esp"),
    (51, "ah"),
    (1, "icmp"),
    (2, "igmp"),
    (132, "sctp"),
    (58, "icmpv6"),
];

const fn number(name: &'static str, bits: u32, most: u32) -> Field {
    Field { name, form: Form::Number { bits, hex: true, words: None, least: 0, most } }
}

const fn byte(name: &'static str) -> Field {
    number(name, 8, 0xff)
}

const fn short(name: &'static str) -> Field {
    number(name, 16, 0xffff)
}

const fn long(name: &'static str) -> Field {
    number(name, 32, u32::MAX)
}

const fn named(
    name: &'static str,
    bits: u32,
    least: u32,
    names: &'static [(u32, &'static str)],
    always_decimal: bool,
) -> Field {
    let most = (1 << bits) - 1;
    Field {
        name,
        form: Form::Number { bits, hex: true, words: Some(Words { names, always_decimal }), least, most },
    }
}

const fn field(name: &'static str, form: Form) -> Field {
    Field { name, form }
}

const COMMENT: Field = field("comment", Form::Comment);
const ETHERNET: [Field; 4] = [
    field("srcmacaddr", Form::Mac),
    field("srcmacmask", Form::MacMask),
    field("dstmacaddr", Form::Mac),
    field("dstmacmask", Form::MacMask),
];
const PORTS: [Field; 4] =
    [short("srcportstart"), short("srcportend"), short("dstportstart"), short("dstportend")];

static MAC: &[&[Field]] = &[&ETHERNET, &[named("protocolid", 16, 0x600, ETHERTYPES, false), COMMENT]];
static VLAN: &[&[Field]] = &[
    &ETHERNET,
    &[
        Field {
            name: "vlanid",
            form: Form::Number { bits: 16, hex: true, words: None, least: 0, most: 4095 },
        },
        named("encap-protocol", 16, 0x3c, ETHERTYPES, false),
        COMMENT,
    ],
];
static STP: &[&[Field]] = &[&[
    field("srcmacaddr", Form::Mac),
    field("srcmacmask", Form::MacMask),
    byte("type"),
    byte("flags"),
    short("root-priority"),
    short("root-priority-hi"),
    field("root-address", Form::Mac),
    field("root-address-mask", Form::MacMask),
    long("root-cost"),
    long("root-cost-hi"),
    short("sender-priority"),
    short("sender-priority-hi"),
    field("sender-address", Form::Mac),
    field("sender-address-mask", Form::MacMask),
    short("port"),
    short("port-hi"),
    short("age"),
    short("age-hi"),
    short("max-age"),
    short("max-age-hi"),
    short("hello-time"),
    short("hello-time-hi"),
    short("forward-delay"),
    short("forward-delay-hi"),
    COMMENT,
]];
static ARP: &[&[Field]] = &[
    &ETHERNET,
    &[
        short("hwtype"),
        short("protocoltype"),
        named("opcode", 16, 0, OPCODES, true),
        field("arpsrcmacaddr", Form::Mac),
        field("arpdstmacaddr", Form::Mac),
        field("arpsrcipaddr", Form::Ipv4),
        field("arpsrcipmask", Form::Ipv4Mask),
        field("arpdstipaddr", Form::Ipv4),
        field("arpdstipmask", Form::Ipv4Mask),
        field("gratuitous", Form::Truth),
        COMMENT,
    ],
];
static IP: &[&[Field]] = &[
    &ETHERNET,
    &[
        field("srcipaddr", Form::Ipv4),
        field("srcipmask", Form::Ipv4Mask),
        field("dstipaddr", Form::Ipv4),
        field("dstipmask", Form::Ipv4Mask),
        named("protocol", 8, 0, IP_PROTOCOLS, false),
    ],
    &PORTS,
    &[DSCP, COMMENT],
];
static IPV6: &[&[Field]] = &[
    &ETHERNET,
    &[
        field("srcipaddr", Form::Ipv6),
        field("srcipmask", Form::Ipv6Mask),
        field("dstipaddr", Form::Ipv6),
        field("dstipmask", Form::Ipv6Mask),
        named("protocol", 8, 0, IP_PROTOCOLS, false),
    ],
    &PORTS,
    &[byte("type"), byte("typeend"), byte("code"), byte("codeend"), COMMENT],
];

const DSCP: Field =
    Field { name: "dscp", form: Form::Number { bits: 8, hex: true, words: None, least: 0, most: 63 } };
const STATEFUL: [Field; 5] = [
    DSCP,
    Field {
        name: "connlimit-above",
        form: Form::Number { bits: 16, hex: false, words: None, least: 0, most: 0xffff },
    },
    field("state", Form::States),
    field("ipset", Form::SetName),
    field("ipsetflags", Form::SetSides),
];
const OVER_IPV4: [Field; 9] = [
    field("srcmacaddr", Form::Mac),
    field("srcipaddr", Form::Ipv4),
    field("srcipmask", Form::Ipv4Mask),
    field("dstipaddr", Form::Ipv4),
    field("dstipmask", Form::Ipv4Mask),
    field("srcipfrom", Form::Ipv4),
    field("srcipto", Form::Ipv4),
    field("dstipfrom", Form::Ipv4),
    field("dstipto", Form::Ipv4),
];
const OVER_IPV6: [Field; 9] = [
    field("srcmacaddr", Form::Mac),
    field("srcipaddr", Form::Ipv6),
    field("srcipmask", Form::Ipv6Mask),
    field("dstipaddr", Form::Ipv6),
    field("dstipmask", Form::Ipv6Mask),
    field("srcipfrom", Form::Ipv6),
    field("srcipto", Form::Ipv6),
    field("dstipfrom", Form::Ipv6),
    // libvirt reads an IPv4 address here (COMMON_IP_PROPS), so it is none that a rule could hold a packet to.
    field("dstipto", Form::Ipv4),
];
const OPTION: Field = byte("option");
const FLAGS: Field = field("flags", Form::TcpFlags);
const ICMP_FIELDS: [Field; 3] = [byte("type"), byte("code"), COMMENT];

static TCP: &[&[Field]] = &[&OVER_IPV4, &STATEFUL, &PORTS, &[OPTION, FLAGS, COMMENT]];
static TCP_IPV6: &[&[Field]] = &[&OVER_IPV6, &STATEFUL, &PORTS, &[OPTION, COMMENT]];
static WITH_PORTS: &[&[Field]] = &[&OVER_IPV4, &STATEFUL, &PORTS, &[COMMENT]];
static WITH_PORTS_IPV6: &[&[Field]] = &[&OVER_IPV6, &STATEFUL, &PORTS, &[COMMENT]];
static PLAIN: &[&[Field]] = &[&OVER_IPV4, &STATEFUL, &[COMMENT]];
static PLAIN_IPV6: &[&[Field]] = &[&OVER_IPV6, &STATEFUL, &[COMMENT]];
static ICMP: &[&[Field]] = &[&OVER_IPV4, &STATEFUL, &ICMP_FIELDS];
static ICMP_IPV6: &[&[Field]] = &[&OVER_IPV6, &STATEFUL, &ICMP_FIELDS];

/// Fields whose sign is another's: libvirt copies it, also where that other is not there (virNWFilterRuleDefFixup).
const MAC_SIGNS: &[(&str, &str)] = &[("srcmacmask", "srcmacaddr"), ("dstmacmask", "dstmacaddr")];
const STP_SIGNS: &[(&str, &str)] = &[
    ("srcmacmask", "srcmacaddr"),
    ("root-priority-hi", "root-priority"),
    ("root-address-mask", "root-address"),
    ("root-cost-hi", "root-cost"),
    ("sender-priority-hi", "sender-priority"),
    ("sender-address-mask", "sender-address"),
    ("port-hi", "port"),
    ("age-hi", "age"),
    ("max-age-hi", "max-age"),
    ("hello-time-hi", "hello-time"),
    ("forward-delay-hi", "forward-delay"),
];
const MASK_SIGNS: &[(&str, &str)] = &[("srcipmask", "srcipaddr"), ("dstipmask", "dstipaddr")];
const RANGE_SIGNS: &[(&str, &str)] = &[("srcipto", "srcipfrom"), ("dstipto", "dstipfrom")];
const PORT_SIGNS: &[(&str, &str)] =
    &[("srcportend", "srcportstart"), ("dstportstart", "srcportstart"), ("dstportend", "srcportstart")];
const ICMP_SIGNS: &[(&str, &str)] = &[("code", "type")];
const IPV6_SIGNS: &[(&str, &str)] = &[("typeend", "type"), ("code", "type"), ("codeend", "type")];

impl Protocol {
    /// Its fields.
    pub fn fields(self) -> impl Iterator<Item = &'static Field> {
        let parts = match self {
            Self::Arp | Self::Rarp => ARP,
            Self::Mac => MAC,
            Self::Vlan => VLAN,
            Self::Stp => STP,
            Self::Ip => IP,
            Self::Ipv6 => IPV6,
            Self::Tcp => TCP,
            Self::TcpIpv6 => TCP_IPV6,
            Self::Udp | Self::Sctp => WITH_PORTS,
            Self::UdpIpv6 | Self::SctpIpv6 => WITH_PORTS_IPV6,
            Self::Icmp => ICMP,
            Self::Icmpv6 => ICMP_IPV6,
            Self::UdpLite | Self::Esp | Self::Ah | Self::All | Self::Igmp => PLAIN,
            Self::UdpLiteIpv6 | Self::EspIpv6 | Self::AhIpv6 | Self::AllIpv6 => PLAIN_IPV6,
        };
        parts.iter().copied().flatten()
    }

    /// Pairs of a field and the one whose sign it has.
    pub(super) fn signs(self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let parts: &[&'static [(&str, &str)]] = match self {
            Self::Arp | Self::Rarp => &[],
            Self::Mac | Self::Vlan => &[MAC_SIGNS],
            Self::Stp => &[STP_SIGNS],
            Self::Ip => &[MASK_SIGNS],
            Self::Ipv6 => &[MASK_SIGNS, IPV6_SIGNS],
            Self::Tcp | Self::Udp | Self::Sctp | Self::TcpIpv6 | Self::UdpIpv6 | Self::SctpIpv6 => {
                &[MASK_SIGNS, RANGE_SIGNS, PORT_SIGNS]
            }
            Self::Icmp | Self::Icmpv6 => &[MASK_SIGNS, RANGE_SIGNS, ICMP_SIGNS],
            Self::UdpLite
            | Self::Esp
            | Self::Ah
            | Self::All
            | Self::Igmp
            | Self::UdpLiteIpv6
            | Self::EspIpv6
            | Self::AhIpv6
            | Self::AllIpv6 => &[MASK_SIGNS, RANGE_SIGNS],
        };
        parts.iter().copied().flatten()
    }

    /// Whether it looks at frames; the others look at packets of IP, and know connections.
    pub fn is_ethernet(self) -> bool {
        matches!(self, Self::Arp | Self::Rarp | Self::Mac | Self::Vlan | Self::Stp | Self::Ip | Self::Ipv6)
    }

    /// Whether it looks at packets of IPv6 with its fields of connections.
    pub fn is_over_ipv6(self) -> bool {
        matches!(
            self,
            Self::TcpIpv6
                | Self::UdpIpv6
                | Self::UdpLiteIpv6
                | Self::EspIpv6
                | Self::AhIpv6
                | Self::SctpIpv6
                | Self::Icmpv6
                | Self::AllIpv6
        )
    }

    /// Whether ports say something beside this number of a protocol (dccp is 33, sctp 132).
    pub(super) fn has_ports(number: &Value) -> bool {
        matches!(number, Value::Number { value: 6 | 17 | 33 | 132, .. })
    }
}
