//! Changing one section of a network's document (`virsh net-update`, virNetworkUpdate).
//!
//! Which entries match, what is refused and in which words are libvirt's: scripts and provisioners rely on them.
//! Pure: whether the changed document can be run is for the network crate to judge.

mod dhcp;
mod dns;
mod forward;

use super::Network;
use crate::xml::{Element, ParseOptions};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Puts another entry in the place of the one that matches.
    Modify,
    /// Takes the entry away.
    Delete,
    /// Adds behind the last.
    AddLast,
    /// Adds before the first.
    AddFirst,
}

impl Command {
    /// libvirt's number (virNetworkUpdateCommand).
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Modify),
            2 => Some(Self::Delete),
            3 => Some(Self::AddLast),
            4 => Some(Self::AddFirst),
            _ => None,
        }
    }

    fn adds(self) -> bool {
        matches!(self, Self::AddLast | Self::AddFirst)
    }
}

/// Where it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `<ip><dhcp><host>`.
    DhcpHost,
    /// `<ip><dhcp><range>`.
    DhcpRange,
    /// `<forward><interface>`.
    ForwardInterface,
    /// `<portgroup>`.
    PortGroup,
    /// `<dns><host>`.
    DnsHost,
    /// `<dns><txt>`.
    DnsTxt,
    /// `<dns><srv>`.
    DnsSrv,
    /// One that libvirt knows by name and does not change: its name.
    Fixed(&'static str),
}

impl Section {
    /// libvirt's number (virNetworkUpdateSection).
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Fixed("bridge"),
            2 => Self::Fixed("domain"),
            3 => Self::Fixed("ip"),
            4 => Self::DhcpHost,
            5 => Self::DhcpRange,
            6 => Self::Fixed("forward"),
            7 => Self::ForwardInterface,
            8 => Self::Fixed("forward pf"),
            9 => Self::PortGroup,
            10 => Self::DnsHost,
            11 => Self::DnsTxt,
            12 => Self::DnsSrv,
            _ => return None,
        })
    }

    /// `virsh`'s word.
    pub fn from_word(word: &str) -> Option<Self> {
        let words = [
            "none",
            "bridge",
            "domain",
            "ip",
            "ip-dhcp-host",
            "ip-dhcp-range",
            "forward",
            "forward-interface",
            "forward-pf",
            "portgroup",
            "dns-host",
            "dns-txt",
            "dns-srv",
        ];
        let number = words.iter().position(|known| *known == word)?;
        Self::from_number(u32::try_from(number).ok()?)
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// What.
    pub command: Command,
    /// Where.
    pub section: Section,
    /// Which `<ip>` it is in, where there are several.
    pub parent: Option<usize>,
    /// The entry.
    pub xml: String,
}

/// Why a document was not changed; libvirt's sort and words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUpdate {
    /// libvirt has no such change.
    #[error("{0}")]
    Unsupported(String),
    /// Nothing matches, or too much does.
    #[error("{0}")]
    Mismatch(String),
    /// The entry is no good.
    #[error("{0}")]
    Entry(String),
    /// The range is no range of the subnet.
    #[error("{0}")]
    Range(String),
}

type Done = Result<(), BadUpdate>;

impl Network {
    /// Makes the change, or says why not; the document is as before then.
    pub fn update(&mut self, update: &Update) -> Done {
        match update.section {
            Section::DhcpHost => dhcp::host(self, update),
            Section::DhcpRange => dhcp::range(self, update),
            Section::ForwardInterface => forward::interface(self, update),
            Section::PortGroup => forward::port_group(self, update),
            Section::DnsHost => dns::host(self, update),
            Section::DnsTxt => dns::txt(self, update),
            Section::DnsSrv => dns::srv(self, update),
            Section::Fixed(name) => {
                let text = format!("can't update '{name}' section of network '{}'", self.name);
                Err(BadUpdate::Unsupported(text))
            }
        }
    }

    /// The entry of an update, which must be a `<tag>`.
    fn entry<T: Element>(&self, update: &Update, tag: &str) -> Result<T, BadUpdate> {
        crate::xml::bounds::check(&update.xml)
            .map_err(|faults| BadUpdate::Entry(format!("(network_update_xml): {faults}")))?;
        let found = roxmltree::Document::parse(&update.xml)
            .map_err(|error| BadUpdate::Entry(format!("(network_update_xml): {error}")))?
            .root_element()
            .tag_name()
            .name()
            .to_owned();
        if found != tag {
            return Err(BadUpdate::Entry(format!(
                "unexpected element <{found}>, expecting <{tag}>, while updating network '{}'",
                self.name
            )));
        }
        crate::xml::parse(&update.xml, tag, ParseOptions::default())
            .map_err(|faults| BadUpdate::Entry(faults.to_string()))
    }
}

/// Puts `entry` at the end of `list` that `command` says.
fn add<T>(list: &mut Vec<T>, command: Command, entry: T) {
    if command == Command::AddFirst {
        list.insert(0, entry);
    } else {
        list.push(entry);
    }
}

#[cfg(test)]
mod tests;
