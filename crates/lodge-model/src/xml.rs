//! Reading and writing of documents: what the derive macro's code calls.
//!
//! A document is read in one pass over roxmltree's tree (no DTD, no entities of its own, bounded in size, depth
//! and number of nodes) and written straight into one string in libvirt's manner: two blanks of indentation,
//! single quotes. All faults are collected with line, column and path. What no field knows is kept.
//!
//! Deliberately absent: namespaces other than QEMU's in typed fields; any tree that outlives the reading.

pub(crate) mod bounds;
mod foreign;
mod kept;
mod locate;
mod malformed;
mod reader;
mod value;
pub mod words;
mod writer;

pub use foreign::{Foreign, ForeignItem, Position};
pub use kept::Kept;
pub use locate::element_paths;
pub use lodge_model_derive::Xml;
pub use reader::{Reader, attribute_key, element_key};
pub use roxmltree::{Attribute, Node};
pub use value::Value;
pub(crate) use value::read_number;
pub(crate) use words::unknown_word;
pub use words::{OnOff, YesNo};
pub use writer::{Writer, escaped};

use crate::{Fault, Faults};

/// Longest document in bytes: that of libvirt's RPC (REMOTE_STRING_MAX).
pub const DOCUMENT_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Deepest nesting of elements.
pub const DEPTH_MAX: usize = 128;
/// Most nodes of a document.
pub const NODES_MAX: u32 = 200_000;

/// QEMU's namespace in domain documents.
pub const QEMU_NAMESPACE: &str = "http://libvirt.org/schemas/domain/qemu/1.0";

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// The definition, not the running guest: no ids, aliases or chosen ports (`dumpxml --inactive`).
    pub inactive: bool,
    /// With passwords (`dumpxml --security-info`).
    pub security_info: bool,
    /// For another host: the definition with passwords, without what an older libvirt adds itself
    /// (`dumpxml --migratable`).
    pub migratable: bool,
}

impl WriteOptions {
    /// The form that is stored: the definition with all secrets.
    pub const STORED: Self = Self { inactive: true, security_info: true, migratable: false };
}

/// How a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParseOptions {
    /// What no field knows is a fault instead of being kept.
    pub strict: bool,
}

/// An element: read from a node, written between its tags. Made by `#[derive(Xml)]`.
pub trait Element: Sized {
    /// Reads it. `tag` is an attribute somebody else has read. `None`: its faults are with the reader.
    fn read(node: Node<'_, '_>, tag: &str, reader: &mut Reader<'_>) -> Option<Self>;
    /// Writes its attributes.
    fn write_attributes(&self, writer: &mut Writer);
    /// Writes its text and children.
    fn write_content(&self, writer: &mut Writer);
    /// Walks over what is kept but not understood.
    fn visit_foreign<'a>(&'a self, visit: &mut dyn FnMut(&'a ForeignItem));
    /// Forgets what only a running thing has: ids, aliases, chosen numbers.
    fn forget_live(&mut self) {}
}

/// A group of attributes and children that several elements share. Made by `#[derive(Xml)]` with `#[xml(part)]`.
pub trait Part: Default {
    /// Takes an attribute if it is one of its own.
    fn take_attribute(
        &mut self,
        node: Node<'_, '_>,
        attribute: &Attribute<'_, '_>,
        reader: &mut Reader<'_>,
    ) -> bool;
    /// Takes a child element if it is one of its own.
    fn take_child(&mut self, child: Node<'_, '_>, reader: &mut Reader<'_>) -> bool;
    /// Writes its attributes.
    fn write_attributes(&self, writer: &mut Writer);
    /// Writes its children.
    fn write_content(&self, writer: &mut Writer);
    /// Walks over what is kept but not understood.
    fn visit_foreign<'a>(&'a self, visit: &mut dyn FnMut(&'a ForeignItem));
    /// Forgets what only a running thing has: ids, aliases, chosen numbers.
    fn forget_live(&mut self) {}
}

impl<T: Element> Element for Box<T> {
    fn read(node: Node<'_, '_>, tag: &str, reader: &mut Reader<'_>) -> Option<Self> {
        T::read(node, tag, reader).map(Self::new)
    }

    fn write_attributes(&self, writer: &mut Writer) {
        (**self).write_attributes(writer);
    }

    fn write_content(&self, writer: &mut Writer) {
        (**self).write_content(writer);
    }

    fn visit_foreign<'a>(&'a self, visit: &mut dyn FnMut(&'a ForeignItem)) {
        (**self).visit_foreign(visit);
    }

    fn forget_live(&mut self) {
        (**self).forget_live();
    }
}

/// Reads the document `text`, whose root must be `root`.
pub(crate) fn parse<T: Element>(text: &str, root: &str, options: ParseOptions) -> Result<T, Faults> {
    let document = bounds::document(text)?;
    let node = document.root_element();
    let mut reader = Reader::new(text, options);
    if element_key(node) != ("", root) {
        reader.fault(node, format!("the document is a <{}>, not a <{root}>", node.tag_name().name()));
        return Err(reader.into_faults());
    }
    let made = T::read(node, "", &mut reader);
    match made {
        Some(made) if !reader.has_faults() => Ok(made),
        Some(_) | None => Err(reader.into_faults()),
    }
}

/// Writes `value` as the document `<root>`.
pub(crate) fn write<T: Element>(value: &T, root: &str, options: WriteOptions) -> String {
    let mut writer = Writer::new(options);
    writer.child(root, value);
    writer.finish()
}

/// What is kept in `value` but not understood, with its place.
pub(crate) fn unsupported<T: Element>(value: &T) -> Vec<Fault> {
    let mut found = Vec::new();
    value.visit_foreign(&mut |item| found.push(item.as_fault()));
    found.sort_by_key(|fault: &Fault| (fault.line, fault.column));
    found
}

/// The name of a text's root element, if the text is one element.
pub(crate) fn root_name(text: &str) -> Result<Option<String>, Faults> {
    let document = bounds::document(text)?;
    let root = document.root_element();
    // A namespace's elements are no devices.
    Ok(root.tag_name().namespace().is_none().then(|| root.tag_name().name().to_owned()))
}
