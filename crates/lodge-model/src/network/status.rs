//! `<networkstatus>`: what libvirt's network driver keeps of a running network in `run/libvirt/network/NAME.xml`.

use super::Network;
use crate::Faults;
use crate::xml::{Foreign, ForeignItem, ParseOptions, WriteOptions, Xml};

/// A running network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct NetworkStatus {
    /// `<class_id>`, kept as it is.
    #[xml(kept = "class_id")]
    pub class_id: Foreign,
    /// `<floor>`, kept as it is.
    #[xml(kept = "floor")]
    pub floor: Foreign,
    /// The network.
    #[xml(child, required)]
    pub network: Box<Network>,
    /// How the rules made for it are taken back.
    #[xml(child)]
    pub firewall: Option<FirewallUndo>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<firewall name='fwRemoval' backend='iptables'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FirewallUndo {
    /// `fwRemoval`.
    #[xml(attr)]
    pub name: Option<String>,
    /// `iptables` or `nftables`.
    #[xml(attr)]
    pub backend: Option<String>,
    /// What is done together.
    #[xml(children = "group")]
    pub groups: Vec<FirewallGroup>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<group ignoreErrors='yes'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FirewallGroup {
    /// The commands.
    #[xml(children = "action")]
    pub actions: Vec<FirewallAction>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "rollback @ignoreErrors @autoRollback")]
    pub foreign: Foreign,
}

/// `<action layer='ipv4'>`: one command.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FirewallAction {
    /// `ethernet`, `ipv4`, `ipv6`.
    #[xml(attr)]
    pub layer: Option<String>,
    /// Its arguments.
    #[xml(child)]
    pub args: Option<FirewallArgs>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "@ignoreErrors")]
    pub foreign: Foreign,
}

/// `<args>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FirewallArgs {
    /// One after the other.
    #[xml(leaves = "item")]
    pub items: Vec<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl NetworkStatus {
    /// The status of a network that runs by this document, without rules to be taken back.
    pub fn of(network: &Network) -> Self {
        let kept = |xml: &str| {
            let mut kept = Foreign::default();
            kept.push(ForeignItem::element(xml).expect("the element is well-formed"));
            kept
        };
        Self {
            class_id: kept("<class_id bitmap='0-2'/>"),
            floor: kept("<floor sum='0'/>"),
            network: Box::new(network.clone()),
            ..Self::default()
        }
    }

    /// Reads a status.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        crate::xml::parse(text, "networkstatus", ParseOptions::default())
    }

    /// Writes it, without the comment that libvirt puts before it.
    pub fn to_xml(&self) -> String {
        let options = WriteOptions { inactive: false, security_info: true, migratable: false };
        crate::xml::write(self, "networkstatus", options)
    }
}
