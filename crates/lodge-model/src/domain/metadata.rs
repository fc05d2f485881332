//! Others' elements of `<metadata>`, by their namespace: how `virsh metadata` reads and sets them.
//!
//! libvirt's manner (virxml.c): what is given has no namespace and gets one, what is asked for is given without it.
//! Deliberately absent: title and description, which are fields of [`Domain`].

use std::fmt::Write as _;

use roxmltree::Node;

use super::Domain;
use crate::xml::bounds;
use crate::xml::{ForeignItem, escaped};

/// Why an element cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFault {
    /// It is no XML.
    #[error("the element is not well-formed: {message}")]
    Malformed {
        /// Line from 1.
        line: u32,
        /// What is wrong.
        message: String,
    },
    /// The prefix is no name.
    #[error("`{key}` cannot be a namespace's prefix")]
    Key {
        /// The prefix.
        key: String,
    },
    /// The element has that prefix already, for another namespace.
    #[error("the element has a prefix `{key}` of its own")]
    KeyTaken {
        /// The prefix.
        key: String,
    },
}

impl Domain {
    /// The element of namespace `uri`, without that namespace.
    pub fn metadata_element(&self, uri: &str) -> Option<String> {
        let elements = self.metadata.iter().flat_map(|metadata| metadata.elements.elements());
        for xml in elements {
            let Ok(document) = roxmltree::Document::parse(xml) else { continue };
            if document.root_element().tag_name().namespace() == Some(uri) {
                let mut stripped = String::new();
                write(document.root_element(), &mut stripped, &Naming::Strip { uri });
                return canonical(&stripped).map(|(text, _)| text);
            }
        }
        None
    }

    /// Replaces the element of namespace `uri`; `None` removes it. `key` is the prefix it gets.
    pub fn set_metadata_element(
        &mut self,
        uri: &str,
        element: Option<(&str, &str)>,
    ) -> Result<(), MetadataFault> {
        let item = element.map(|(key, xml)| with_namespace(uri, key, xml)).transpose()?;
        if item.is_none() && self.metadata.is_none() {
            return Ok(());
        }
        let metadata = self.metadata.get_or_insert_default();
        metadata.elements.retain(|other| !is_of(other, uri));
        if let Some(item) = item {
            metadata.elements.push(item);
        }
        self.metadata.take_if(|metadata| metadata.elements.is_empty());
        Ok(())
    }
}

fn is_of(item: &ForeignItem, uri: &str) -> bool {
    let ForeignItem::Element { xml, .. } = item else { return false };
    let document = roxmltree::Document::parse(xml);
    document.is_ok_and(|document| document.root_element().tag_name().namespace() == Some(uri))
}

fn with_namespace(uri: &str, key: &str, xml: &str) -> Result<ForeignItem, MetadataFault> {
    bounds::check(xml).map_err(|faults| MetadataFault::Malformed {
        line: faults.0.first().map_or(0, |fault| fault.line),
        message: faults.to_string(),
    })?;
    let document = roxmltree::Document::parse(xml)
        .map_err(|error| MetadataFault::Malformed { line: error.pos().row, message: error.to_string() })?;
    let starts = |c: char| c.is_alphabetic() || c == '_';
    let goes_on = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !key.starts_with(starts) || !key.chars().all(goes_on) {
        return Err(MetadataFault::Key { key: key.to_owned() });
    }
    let root = document.root_element();
    if root.namespaces().any(|namespace| namespace.name() == Some(key)) {
        return Err(MetadataFault::KeyTaken { key: key.to_owned() });
    }
    let mut text = String::new();
    write(root, &mut text, &Naming::Put { uri, key });
    canonical(&text).map(|(_, item)| item).ok_or(MetadataFault::Key { key: key.to_owned() })
}

/// The text as libxml2 dumps it, and the kept item.
fn canonical(xml: &str) -> Option<(String, ForeignItem)> {
    let item = ForeignItem::element(xml)?;
    match &item {
        ForeignItem::Element { xml, .. } => Some((xml.to_string(), item.clone())),
        ForeignItem::Attribute { .. } | ForeignItem::LeafAttribute { .. } => None,
    }
}

/// What becomes of the names.
enum Naming<'a> {
    /// Elements without a namespace get this one.
    Put { uri: &'a str, key: &'a str },
    /// Elements of this namespace lose it.
    Strip { uri: &'a str },
}

fn write(node: Node<'_, '_>, out: &mut String, naming: &Naming<'_>) {
    let source = node.document().input_text();
    let local = node.tag_name().name();
    let (name, root) = (qualified(&source[node.range()]), node.parent_element().is_none());
    let name = match naming {
        Naming::Put { key, .. } if node.tag_name().namespace().is_none() => format!("{key}:{local}"),
        Naming::Strip { uri } if node.tag_name().namespace() == Some(*uri) => local.to_owned(),
        _ => name.to_owned(),
    };
    let _ = write!(out, "<{name}");
    if let (true, Naming::Put { uri, key }) = (root, naming) {
        let _ = write!(out, " xmlns:{key}=\"{}\"", escaped(uri));
    }
    for namespace in node.namespaces().filter(|namespace| namespace.name() != Some("xml")) {
        let inherited = node.parent_element().is_some_and(|parent| {
            let same = |other: &roxmltree::Namespace<'_>| {
                (other.name(), other.uri()) == (namespace.name(), namespace.uri())
            };
            parent.namespaces().any(same)
        });
        let stripped = matches!(naming, Naming::Strip { uri } if namespace.uri() == *uri);
        if inherited || stripped {
            continue;
        }
        let colon = namespace.name().map(|prefix| format!(":{prefix}")).unwrap_or_default();
        let _ = write!(out, " xmlns{colon}=\"{}\"", escaped(namespace.uri()));
    }
    for attribute in node.attributes() {
        let _ = write!(out, " {}=\"{}\"", &source[attribute.range_qname()], escaped(attribute.value()));
    }
    out.push('>');
    for child in node.children() {
        if child.is_element() {
            write(child, out, naming);
        } else {
            out.push_str(&source[child.range()]);
        }
    }
    let _ = write!(out, "</{name}>");
}

/// The name in a start tag, with prefix.
fn qualified(source: &str) -> &str {
    let source = source.strip_prefix('<').unwrap_or(source);
    let end = source.find(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/').unwrap_or(source.len());
    &source[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Domain {
        Domain::parse(
            "<domain type='qemu'><name>a</name><memory>1024</memory><os><type>hvm</type></os></domain>",
        )
        .unwrap()
    }

    #[test]
    fn an_element_is_kept_under_its_namespace_and_given_without_it() {
        let mut domain = domain();
        let given = "<foo attr='1'><bar>x &amp; y</bar></foo>";
        domain.set_metadata_element("http://x/", Some(("k", given))).unwrap();
        let xml = domain.to_xml(&crate::xml::WriteOptions::STORED);
        assert!(
            xml.contains("<k:foo xmlns:k=\"http://x/\" attr=\"1\">\n      <k:bar>x &amp; y</k:bar>"),
            "{xml}"
        );
        let read = Domain::parse(&xml).unwrap();
        let told = read.metadata_element("http://x/").unwrap();
        assert_eq!(told, "<foo attr=\"1\">\n  <bar>x &amp; y</bar>\n</foo>");
        assert_eq!(read.metadata_element("http://y/"), None);
    }

    #[test]
    fn another_replaces_it_and_none_removes_it() {
        let mut domain = domain();
        for name in ["<a/>", "<b/>"] {
            domain.set_metadata_element("http://x/", Some(("k", name))).unwrap();
        }
        domain.set_metadata_element("http://y/", Some(("k", "<c/>"))).unwrap();
        assert_eq!(domain.metadata_element("http://x/").as_deref(), Some("<b/>"));
        domain.set_metadata_element("http://x/", None).unwrap();
        domain.set_metadata_element("http://x/", None).unwrap();
        assert_eq!(domain.metadata_element("http://x/"), None);
        assert_eq!(domain.metadata_element("http://y/").as_deref(), Some("<c/>"));
        domain.set_metadata_element("http://y/", None).unwrap();
        assert_eq!(domain.metadata, None);
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let set = |key, xml| domain().set_metadata_element("http://x/", Some((key, xml))).unwrap_err();
        assert!(matches!(set("k", "<foo"), MetadataFault::Malformed { .. }));
        assert!(matches!(set("1k", "<foo/>"), MetadataFault::Key { .. }));
        assert!(matches!(set("q", "<q:z xmlns:q='http://y/'/>"), MetadataFault::KeyTaken { .. }));
    }
}
