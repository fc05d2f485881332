//! Sizes with a unit: elements whose text is a number, read in any unit and written in the one libvirt writes.

use super::memory::read_scaled;
use crate::Bytes;
use crate::xml::{Element, Foreign, ForeignItem, Node, Reader, Writer, attribute_key};

/// `<size unit='KiB'>524288</size>`; no unit means KiB, and what is less than one counts as one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kib {
    /// How much.
    pub size: Bytes,
    /// What this struct does not know.
    pub foreign: Foreign,
}

impl From<Bytes> for Kib {
    fn from(size: Bytes) -> Self {
        Self { size, ..Self::default() }
    }
}

/// `<size unit='M'>4</size>`; no unit means bytes, and what is less than a MiB is not written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mib {
    /// How much.
    pub size: Bytes,
    /// What this struct does not know.
    pub foreign: Foreign,
}

impl From<Bytes> for Mib {
    fn from(size: Bytes) -> Self {
        Self { size, ..Self::default() }
    }
}

fn read(node: Node<'_, '_>, unit: &str, reader: &mut Reader<'_>) -> Option<(Bytes, Foreign)> {
    let size = read_scaled(node, unit, reader);
    let mut foreign = Foreign::default();
    for attribute in node.attributes().filter(|attribute| attribute_key(attribute) != "unit") {
        reader.unknown_attribute(node, &attribute, Some(&mut foreign), false);
    }
    Some((size?, foreign))
}

impl Element for Kib {
    fn read(node: Node<'_, '_>, _tag: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let (size, foreign) = read(node, "KiB", reader)?;
        Some(Self { size: Bytes::from_kib(size.kib()), foreign })
    }

    fn write_attributes(&self, writer: &mut Writer) {
        writer.word_attribute("unit", "KiB");
        writer.foreign_attributes(&self.foreign);
    }

    fn write_content(&self, writer: &mut Writer) {
        writer.text(&self.size.kib());
    }

    fn visit_foreign<'a>(&'a self, visit: &mut dyn FnMut(&'a ForeignItem)) {
        self.foreign.items().iter().for_each(visit);
    }
}

impl Element for Mib {
    fn read(node: Node<'_, '_>, _tag: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let (size, foreign) = read(node, "B", reader)?;
        Some(Self { size, foreign })
    }

    fn write_attributes(&self, writer: &mut Writer) {
        writer.word_attribute("unit", "M");
        writer.foreign_attributes(&self.foreign);
    }

    fn write_content(&self, writer: &mut Writer) {
        writer.text(&(self.size.0 >> 20));
    }

    fn visit_foreign<'a>(&'a self, visit: &mut dyn FnMut(&'a ForeignItem)) {
        self.foreign.items().iter().for_each(visit);
    }
}
