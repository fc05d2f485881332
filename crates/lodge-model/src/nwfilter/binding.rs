//! `<filterbinding>`: which filter a card of the host has, and whose card it is.

use std::fmt::Write as _;

use roxmltree::Node;

use super::{BadFilter, Reference, child, root, said, strict, text_of};
use crate::MacAddr;
use crate::xml::{bounds, escaped};

/// A filter's use by a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The domain's name.
    pub owner: String,
    /// The domain's UUID.
    pub owner_uuid: uuid::Uuid,
    /// The card's name on the host.
    pub port: String,
    /// The interface below it, of a macvtap.
    pub link: Option<String>,
    /// The guest's hardware address.
    pub mac: MacAddr,
    /// The filter.
    pub filter: Reference,
}

impl Binding {
    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self, BadFilter> {
        let document = bounds::document(text)?;
        Self::read(root(&document, "filterbinding")?)
    }

    /// The same, but what nobody knows is a fault.
    pub fn parse_strict(text: &str) -> Result<Self, BadFilter> {
        strict::check_binding(text)?;
        Self::parse(text)
    }

    /// Reads the file that libvirt keeps of one.
    pub fn parse_status(text: &str) -> Result<Self, BadFilter> {
        let document = bounds::document(text)?;
        let inner = child(root(&document, "filterbindingstatus")?, "filterbinding");
        Self::read(inner.ok_or_else(|| BadFilter::Markup("no binding is in it".to_owned()))?)
    }

    /// The element of that file.
    pub fn to_status(&self) -> String {
        let mut out = String::from("<filterbindingstatus>\n");
        for line in self.to_xml().lines() {
            writeln!(out, "  {line}").expect("a String takes all");
        }
        out + "</filterbindingstatus>\n"
    }

    fn read(root: Node<'_, '_>) -> Result<Self, BadFilter> {
        let lacks = |what: &str| BadFilter::Value(format!("filter binding has no {what}"));
        let named = |element: &str, attribute: &str| said(child(root, element)?, attribute);
        let port = named("portdev", "name").ok_or_else(|| lacks("port dev name"))?.to_owned();
        let link = match child(root, "linkdev") {
            Some(node) => Some(said(node, "name").ok_or_else(|| lacks("link dev name"))?.to_owned()),
            None => None,
        };
        let owner = child(root, "owner");
        let part = |name: &str| Some(text_of(child(owner?, name)?)).filter(|text| !text.is_empty());
        let name = part("name").ok_or_else(|| lacks("owner name"))?.to_owned();
        let uuid = part("uuid").ok_or_else(|| lacks("owner UUID"))?;
        let owner_uuid =
            uuid.parse().map_err(|_| BadFilter::Value(format!("Unable to parse UUID '{uuid}'")))?;
        let mac = named("mac", "address").ok_or_else(|| lacks("MAC address"))?;
        let mac = mac.parse().map_err(|_| BadFilter::Value(format!("Unable to parse MAC '{mac}'")))?;
        let reference = child(root, "filterref").filter(|node| said(*node, "filter").is_some());
        let filter = Reference::read(reference.ok_or_else(|| lacks("filter reference"))?)?;
        Ok(Self { owner: name, owner_uuid, port, link, mac, filter })
    }

    /// libvirt's text of it.
    pub fn to_xml(&self) -> String {
        let mut out = String::from("<filterbinding>\n  <owner>\n");
        writeln!(out, "    <name>{}</name>", escaped(&self.owner)).expect("a String takes all");
        writeln!(out, "    <uuid>{}</uuid>\n  </owner>", self.owner_uuid).expect("a String takes all");
        writeln!(out, "  <portdev name='{}'/>", escaped(&self.port)).expect("a String takes all");
        if let Some(link) = &self.link {
            writeln!(out, "  <linkdev name='{}'/>", escaped(link)).expect("a String takes all");
        }
        writeln!(out, "  <mac address='{}'/>", self.mac).expect("a String takes all");
        self.filter.write(&mut out, "  ");
        out.push_str("</filterbinding>\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "<filterbinding>\n  <owner>\n    <name>web</name>\n    \
                        <uuid>d54df46f-1ab5-4a22-8618-4560ef5fac2c</uuid>\n  </owner>\n  <portdev name='vnet0'/>\n  \
                        <mac address='52:54:00:7b:35:93'/>\n  <filterref filter='clean-traffic'>\n    \
                        <parameter name='MAC' value='52:54:00:7b:35:93'/>\n  </filterref>\n</filterbinding>\n";

    #[test]
    fn a_binding_is_read_and_written() {
        let binding = Binding::parse_strict(TEXT).unwrap();
        assert_eq!(binding.to_xml(), TEXT);
        assert_eq!(Binding::parse_status(&binding.to_status()).unwrap(), binding);
        assert!(Binding::parse_strict(&TEXT.replace("<mac ", "<foo/><mac ")).is_err());
        for (gone, lacks) in [
            ("<portdev name='vnet0'/>", "port dev name"),
            ("<name>web</name>", "owner name"),
            ("<mac address='52:54:00:7b:35:93'/>", "MAC address"),
            (" filter='clean-traffic'", "filter reference"),
        ] {
            let error = Binding::parse(&TEXT.replace(gone, "")).unwrap_err();
            assert_eq!(error, BadFilter::Value(format!("filter binding has no {lacks}")));
        }
    }
}
