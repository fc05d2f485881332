//! Values of rules' fields: read as libvirt reads them (virNWFilterRuleDetailsParse), written as it writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::protocol::{Form, Words};
use super::variable::Access;
use crate::MacAddr;

/// Longest comment, in bytes.
const COMMENT_MAX: usize = 256;
/// Longest name of a set of addresses.
const SET_NAME_MAX: usize = 31;
/// Most sides of a set of addresses.
const SIDES_MAX: usize = 6;

/// A field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// What a parameter gives.
    Variable(Access),
    /// A number; `hex`: written so.
    Number {
        /// It.
        value: u32,
        /// Written with `0x`.
        hex: bool,
    },
    /// A hardware address, or a mask of such.
    Mac(MacAddr),
    /// An address.
    Address(IpAddr),
    /// How many bits of an address count.
    Prefix(u8),
    /// States of connections.
    States(State),
    /// Which flags of TCP are looked at, and which of them are set.
    TcpFlags {
        /// Those looked at.
        mask: u8,
        /// Those set.
        flags: u8,
    },
    /// A comment, or a set's name.
    Text(String),
    /// What of a packet is looked up in a set: its source (`true`) or its destination.
    Sides(Vec<bool>),
    /// Yes or no.
    Truth(bool),
}

/// States of connections, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State(pub u32);

impl State {
    /// No state counts.
    pub const NONE: u32 = 1 << 5;
    const WORDS: [(u32, &str); 5] = [
        (1 << 1, "NEW"),
        (1 << 2, "ESTABLISHED"),
        (1 << 3, "RELATED"),
        (1 << 4, "INVALID"),
        (Self::NONE, "NONE"),
    ];

    /// Their words, in capitals.
    pub fn words(self) -> Vec<&'static str> {
        Self::WORDS.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, word)| *word).collect()
    }
}

const TCP_FLAGS: [(u32, &str); 8] = [
    (0x1, "FIN"),
    (0x2, "SYN"),
    (0x4, "RST"),
    (0x8, "PSH"),
    (0x10, "ACK"),
    (0x20, "URG"),
    (0x3f, "ALL"),
    (0, "NONE"),
];

impl Value {
    /// Reads a value of this form; `None`: it cannot have it.
    pub fn parse(text: &str, form: &Form) -> Option<Self> {
        if let Some(variable) = text.strip_prefix('$') {
            return Access::parse(variable).map(Self::Variable);
        }
        match form {
            Form::Mac => text.parse().ok().map(Self::Mac),
            Form::MacMask => text.parse().ok().filter(|mask| is_mask(*mask)).map(Self::Mac),
            Form::Ipv4 => ipv4(text).map(|address| Self::Address(address.into())),
            Form::Ipv6 => text.parse::<Ipv6Addr>().ok().map(|address| Self::Address(address.into())),
            Form::Ipv4Mask => prefix(text, 32, |text| ipv4(text).map(|mask| u128::from(mask.to_bits()))),
            Form::Ipv6Mask => prefix(text, 128, |text| text.parse::<Ipv6Addr>().ok().map(Ipv6Addr::to_bits)),
            Form::Number { bits, hex, words, least, most } => {
                let fits = |value: &u32| *bits == 32 || *value < 1 << bits;
                let decimal = unsigned(text, 10).filter(fits).map(|value| Self::Number { value, hex: false });
                let number = decimal.or_else(|| {
                    let read = hex.then(|| unsigned(text, 16)).flatten().filter(fits);
                    read.map(|value| Self::Number { value, hex: true })
                });
                let number = number.filter(|number| match number {
                    Self::Number { value, .. } => (*least..=*most).contains(value),
                    _ => false,
                });
                // A number that cannot be is no word either.
                number.or_else(|| {
                    let value = words.as_ref()?.value_of(text)?;
                    Some(Self::Number { value, hex: false })
                })
            }
            Form::States => {
                let states = words_in(text, &State::WORDS)?;
                let states = if states & State::NONE != 0 { State::NONE } else { states };
                Some(Self::States(State(states)))
            }
            Form::TcpFlags => {
                let (mask, flags) = text.split_once('/')?;
                let bits = |text| Some((words_in(text, &TCP_FLAGS)? & 0x3f) as u8);
                Some(Self::TcpFlags { mask: bits(mask)?, flags: bits(flags)? })
            }
            Form::SetName => {
                let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_.:-+ ".contains(letter);
                (text.len() <= SET_NAME_MAX && text.chars().all(is_letter))
                    .then(|| Self::Text(text.to_owned()))
            }
            Form::SetSides => sides(text).map(Self::Sides),
            Form::Truth => Some(Self::Truth(matches!(text, "true" | "1" | "yes"))),
            Form::Comment => {
                let end = (0..=COMMENT_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
                Some(Self::Text(text[..end.unwrap_or(0)].to_owned()))
            }
        }
    }

    /// Its text; `words`: those of its field.
    pub(super) fn text(&self, form: &Form) -> String {
        match self {
            Self::Variable(access) => access.to_string(),
            Self::Number { value, hex } => match form {
                Form::Number { words: Some(words), .. } => words.text_of(*value, *hex),
                _ if *hex => format!("{value:#x}"),
                _ => value.to_string(),
            },
            Self::Mac(mac) => mac.to_string(),
            Self::Address(IpAddr::V4(address)) => address.to_string(),
            Self::Address(IpAddr::V6(address)) => ipv6_text(*address),
            Self::Prefix(bits) => bits.to_string(),
            Self::States(states) => states.words().join(","),
            Self::TcpFlags { mask, flags } => format!("{}/{}", tcp_text(*mask), tcp_text(*flags)),
            Self::Text(text) => text.clone(),
            Self::Sides(sides) => {
                let words: Vec<_> = sides.iter().map(|source| if *source { "src" } else { "dst" }).collect();
                words.join(",")
            }
            Self::Truth(truth) => truth.to_string(),
        }
    }
}

impl Words {
    fn value_of(&self, text: &str) -> Option<u32> {
        self.names.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(value, _)| *value)
    }

    fn text_of(&self, value: u32, hex: bool) -> String {
        match self.names.iter().find(|(known, _)| *known == value) {
            Some((_, name)) => (*name).to_owned(),
            None if hex && !self.always_decimal => format!("{value:#x}"),
            None => value.to_string(),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(",").to_lowercase())
    }
}

fn tcp_text(flags: u8) -> String {
    match flags {
        0 => "NONE".to_owned(),
        0x3f => "ALL".to_owned(),
        _ => {
            let set = TCP_FLAGS[..6].iter().filter(|(bit, _)| u32::from(flags) & bit != 0);
            set.map(|(_, word)| *word).collect::<Vec<_>>().join(",")
        }
    }
}

/// Words between commas or blanks, or one after the other, as libvirt takes them.
fn words_in(text: &str, words: &[(u32, &str)]) -> Option<u32> {
    let mut found = 0;
    let is_between = |letter: char| letter == ',' || letter.is_ascii_whitespace();
    let mut rest = text.trim_start_matches(is_between);
    while !rest.is_empty() {
        let begins = |word: &str| rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        let (bits, word) = words.iter().find(|(_, word)| begins(word))?;
        found |= bits;
        rest = rest[word.len()..].trim_start_matches(is_between);
    }
    Some(found)
}

fn sides(text: &str) -> Option<Vec<bool>> {
    let sides: Option<Vec<bool>> = text
        .split(',')
        .map(|side| match side {
            _ if side.eq_ignore_ascii_case("src") => Some(true),
            _ if side.eq_ignore_ascii_case("dst") => Some(false),
            _ => None,
        })
        .collect();
    sides.filter(|sides| sides.len() <= SIDES_MAX)
}

/// Ones, and then zeros.
fn is_mask(mask: MacAddr) -> bool {
    let bits = mask.0.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    let ones = (bits << 16).leading_ones();
    ones == bits.count_ones()
}

fn prefix(text: &str, width: u32, bits_of: impl Fn(&str) -> Option<u128>) -> Option<Value> {
    if let Some(bits) = unsigned(text, 10) {
        return u8::try_from(bits).ok().filter(|bits| u32::from(*bits) <= width).map(Value::Prefix);
    }
    let mask = bits_of(text)? << (128 - width);
    let ones = mask.leading_ones();
    (ones == mask.count_ones()).then(|| Value::Prefix(u8::try_from(ones).unwrap_or(u8::MAX)))
}

/// As `inet_aton` reads it: fewer than four parts, octal and hexadecimal ones.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    let (last, first) = parts.split_last()?;
    if first.len() > 3 {
        return None;
    }
    let number = |part: &str| {
        let (digits, radix) = match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
            Some(digits) => (digits, 16),
            None if part.len() > 1 && part.starts_with('0') => (&part[1..], 8),
            None => (part, 10),
        };
        let plain = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
    };
    let mut address = 0u32;
    for part in first {
        address = address << 8 | number(part).filter(|part| *part <= 255)?;
    }
    let width = 8 * (4 - u32::try_from(first.len()).ok()?);
    let last = number(last)?;
    if width == 32 {
        return Some(last.into());
    }
    (last < 1 << width).then(|| (address << width | last).into())
}

/// As `inet_ntop` writes it: an IPv4 address behind 96 zeros with dots.
fn ipv6_text(address: Ipv6Addr) -> String {
    let segments = address.segments();
    if segments[..6] == [0; 6] && segments[6] != 0 {
        let [.., a, b, c, d] = address.octets();
        return format!("::{}", Ipv4Addr::new(a, b, c, d));
    }
    address.to_string()
}

/// As `strtoul` and libvirt read a whole text: a sign may be there, and −1 is the highest number.
fn unsigned(text: &str, radix: u32) -> Option<u32> {
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let bare = (radix == 16).then(|| digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")));
    let digits = bare.flatten().unwrap_or(digits);
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let number = u32::from_str_radix(digits, radix).ok()?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// A decimal number at the beginning of a text, and what follows it.
pub(super) fn unsigned_prefix(text: &str) -> Option<(u32, &str)> {
    let text = text.trim_start();
    let end = text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

/// A decimal number with a sign.
pub(super) fn signed(text: &str) -> Option<i32> {
    text.trim_start().parse().ok()
}
