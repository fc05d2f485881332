//! Storage documents: `<pool type='dir'>` and `<volume>`. Other pools are read and kept, not run.

use crate::domain::memory::read_scaled;
use crate::xml::words::words;
use crate::xml::{
    Element, Foreign, ForeignItem, Node, ParseOptions, Reader, WriteOptions, Writer, Xml, attribute_key,
};
use crate::{Bytes, Fault, Faults, PoolId};

words! {
    /// Sorts of pool.
    pub enum PoolKind {
        Dir = "dir", Fs = "fs", Netfs = "netfs", Logical = "logical", Disk = "disk", Iscsi = "iscsi",
        IscsiDirect = "iscsi-direct", Scsi = "scsi", Mpath = "mpath", Rbd = "rbd", Sheepdog = "sheepdog",
        Gluster = "gluster", Zfs = "zfs", Vstorage = "vstorage",
    }
}

/// `<pool type='dir'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Pool {
    /// The sort.
    #[xml(attr = "type", required)]
    pub kind: PoolKind,
    /// The name.
    #[xml(leaf)]
    pub name: String,
    /// The identity; made by [`Pool::complete`] if missing.
    #[xml(leaf)]
    pub uuid: Option<PoolId>,
    /// Size; known only of a running pool.
    #[xml(child)]
    pub capacity: Option<Amount>,
    /// What is used.
    #[xml(child)]
    pub allocation: Option<Amount>,
    /// What is free.
    #[xml(child)]
    pub available: Option<Amount>,
    /// `<source>`; empty of a directory.
    #[xml(child)]
    pub source: Option<Box<PoolSource>>,
    /// `<target>`.
    #[xml(child)]
    pub target: Option<Box<StorageTarget>>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<source>` of a pool, kept as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct PoolSource {
    /// What is in it.
    #[xml(foreign, known)]
    pub elements: Foreign,
}

/// `<target>` of a pool or a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct StorageTarget {
    /// The directory or file.
    #[xml(leaf)]
    pub path: Option<String>,
    /// Format of a volume.
    #[xml(child)]
    pub format: Option<crate::domain::disk::ImageFormat>,
    /// `<permissions>`.
    #[xml(child)]
    pub permissions: Option<Permissions>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<permissions>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Permissions {
    /// Octal, as `0711`.
    #[xml(leaf)]
    pub mode: Option<String>,
    /// User id; -1: whoever makes it.
    #[xml(leaf)]
    pub owner: Option<i64>,
    /// Group id; -1: whoever makes it.
    #[xml(leaf)]
    pub group: Option<i64>,
    /// SELinux label.
    #[xml(leaf)]
    pub label: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<capacity unit='bytes'>10737418240</capacity>`; read in any unit, written in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount(pub Bytes);

impl Element for Amount {
    fn read(node: Node<'_, '_>, _tag: &str, reader: &mut Reader<'_>) -> Option<Self> {
        for attribute in node.attributes().filter(|attribute| attribute_key(attribute) != "unit") {
            reader.unknown_attribute(node, &attribute, None, false);
        }
        read_scaled(node, "bytes", reader).map(Self)
    }

    fn write_attributes(&self, writer: &mut Writer) {
        writer.word_attribute("unit", "bytes");
    }

    fn write_content(&self, writer: &mut Writer) {
        writer.text(&self.0.0);
    }

    fn visit_foreign<'a>(&'a self, _visit: &mut dyn FnMut(&'a ForeignItem)) {}
}

/// `<volume>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Volume {
    /// `file`, `block`, `dir`; known only of an existing volume.
    #[xml(attr = "type")]
    pub kind: Option<String>,
    /// The name inside its pool.
    #[xml(leaf)]
    pub name: String,
    /// Key: for a file its path.
    #[xml(leaf)]
    pub key: Option<String>,
    /// Size the guest sees.
    #[xml(child)]
    pub capacity: Option<Amount>,
    /// What it takes on the host.
    #[xml(child)]
    pub allocation: Option<Amount>,
    /// Length of the file.
    #[xml(child)]
    pub physical: Option<Amount>,
    /// `<target>`.
    #[xml(child)]
    pub target: Option<Box<StorageTarget>>,
    /// `<backingStore>`.
    #[xml(child = "backingStore")]
    pub backing_store: Option<Box<StorageTarget>>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl Pool {
    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        crate::xml::parse(text, "pool", ParseOptions::default())
    }

    /// Writes libvirt's text of it.
    pub fn to_xml(&self, options: &WriteOptions) -> String {
        crate::xml::write(self, "pool", *options)
    }

    /// What is kept but not understood.
    pub fn unsupported(&self) -> Vec<Fault> {
        crate::xml::unsupported(self)
    }

    /// The directory, of a pool that has one.
    pub fn path(&self) -> Option<&str> {
        self.target.as_deref()?.path.as_deref()
    }

    /// Adds a UUID if there is none.
    pub fn complete(&mut self) {
        self.uuid.get_or_insert_with(PoolId::random);
    }

    /// Finds contradictions.
    pub fn check(&self) -> Result<(), Faults> {
        Ok(())
    }
}

impl Volume {
    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        crate::xml::parse(text, "volume", ParseOptions::default())
    }

    /// Writes libvirt's text of it.
    pub fn to_xml(&self, options: &WriteOptions) -> String {
        crate::xml::write(self, "volume", *options)
    }

    /// Finds contradictions.
    pub fn check(&self) -> Result<(), Faults> {
        Ok(())
    }
}
