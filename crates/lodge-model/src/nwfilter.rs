//! The document of a network filter: libvirt's `<filter>`. Its rules are kept, not understood: nothing applies them yet.

use crate::xml::{Foreign, ParseOptions, WriteOptions, Xml};
use crate::{Fault, Faults};

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct NwFilter {
    /// The name.
    #[xml(attr)]
    pub name: Option<String>,
    /// Which packets it sees; `root` if not said.
    #[xml(attr)]
    pub chain: Option<String>,
    /// Its place among others.
    #[xml(attr)]
    pub priority: Option<i32>,
    /// The identity.
    #[xml(leaf)]
    pub uuid: Option<uuid::Uuid>,
    /// Rules and references to other filters.
    #[xml(foreign, known)]
    pub rules: Foreign,
}

/// Names of chains, or their beginnings.
const CHAINS: [&str; 8] = ["root", "mac", "vlan", "stp", "arp", "rarp", "ipv4", "ipv6"];

/// What libvirt gives a chain that says no priority.
const PRIORITIES: [(&str, i32); 7] = [
    ("mac", -800),
    ("vlan", -750),
    ("ipv4", -700),
    ("ipv6", -600),
    ("arp", -500),
    ("rarp", -400),
    ("stp", -810),
];

impl NwFilter {
    /// Reads a document and fills in what libvirt fills in.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        let mut filter: Self = crate::xml::parse(text, "filter", ParseOptions::default())?;
        if filter.name.as_deref().is_none_or(str::is_empty) {
            return Err(Faults(vec![Fault::at("", "filter has no name")]));
        }
        let chain = filter.chain.get_or_insert_with(|| "root".to_owned());
        if !CHAINS.iter().any(|known| chain == known || (*known != "root" && chain.starts_with(known))) {
            let list = CHAINS[1..].join(", ");
            return Err(Faults(vec![Fault::at(
                "",
                format!(
                    "Invalid chain name '{chain}'. Please use a chain name called 'root' or any of the following \
                     prefixes: {list}"
                ),
            )]));
        }
        let usual = PRIORITIES.iter().find(|(name, _)| chain == name).map(|(_, priority)| *priority);
        filter.priority = filter.priority.or(usual);
        Ok(filter)
    }

    /// libvirt's text of it.
    pub fn to_xml(&self) -> String {
        crate::xml::write(self, "filter", WriteOptions::STORED)
    }
}

#[cfg(test)]
mod tests {
    use super::NwFilter;

    #[test]
    fn rules_are_kept_as_they_are() {
        let text = "<filter name='no-mac-spoofing' chain='mac' priority='-800'>\n  \
                    <uuid>732c140a-790c-4b82-ba65-337bc47e0d31</uuid>\n  \
                    <rule action='return' direction='out' priority='500'>\n    <mac srcmacaddr='$MAC'/>\n  </rule>\n  \
                    <rule action='drop' direction='out' priority='500'>\n    <mac/>\n  </rule>\n</filter>\n";
        assert_eq!(NwFilter::parse(text).unwrap().to_xml(), text);
        let small = NwFilter::parse("<filter name='f'/>").unwrap();
        assert_eq!((small.chain.as_deref(), small.priority), (Some("root"), None));
        assert!(NwFilter::parse("<filter/>").is_err());
        assert!(
            NwFilter::parse("<filter name='a' chain='foo'/>")
                .unwrap_err()
                .to_string()
                .contains("prefixes: mac, vlan")
        );
    }
}
