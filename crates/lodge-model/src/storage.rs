//! Storage documents: `<pool>` and `<volume>`.

mod encryption;
mod source;

use crate::domain::memory::read_scaled;
use crate::xml::words::words;
use crate::xml::{
    Element, Foreign, ForeignItem, Node, ParseOptions, Reader, WriteOptions, Writer, Xml, attribute_key,
};
use crate::{BadName, Bytes, Fault, Faults, PoolId, check_name};

pub use encryption::{Cipher, Encryption, EncryptionSecret, IvGenerator};
pub use source::{
    Cow, Extent, PoolFeatures, PoolSource, SourceDevice, SourceDir, SourceFormat, SourceHost, SourceMaker,
    SourceProtocol,
};

words! {
    /// Sorts of pool.
    pub enum PoolKind {
        Dir = "dir", Fs = "fs", Netfs = "netfs", Logical = "logical", Disk = "disk", Iscsi = "iscsi",
        IscsiDirect = "iscsi-direct", Scsi = "scsi", Mpath = "mpath", Rbd = "rbd", Sheepdog = "sheepdog",
        Gluster = "gluster", Zfs = "zfs", Vstorage = "vstorage",
    }
}

/// `<pool>`.
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
    /// `<features>`.
    #[xml(child)]
    pub features: Option<PoolFeatures>,
    /// `<source>`; empty of a directory.
    #[xml(child)]
    pub source: Option<Box<PoolSource>>,
    /// `<target>`.
    #[xml(child)]
    pub target: Option<Box<StorageTarget>>,
    /// How volumes are looked at, kept as it is.
    #[xml(kept = "refresh")]
    pub refresh: Foreign,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
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
    /// `<timestamps>` of an existing volume.
    #[xml(child)]
    pub timestamps: Option<Timestamps>,
    /// `<encryption>` of a volume.
    #[xml(child)]
    pub encryption: Option<Box<Encryption>>,
    /// qcow2: `1.1` or `0.10`.
    #[xml(leaf)]
    pub compat: Option<String>,
    /// qcow2: `<clusterSize unit='B'>65536</clusterSize>`.
    #[xml(child = "clusterSize")]
    pub cluster_size: Option<ClusterSize>,
    /// qcow2: `<features>`.
    #[xml(child)]
    pub features: Option<VolumeFeatures>,
    /// Btrfs: the file is not copied on write.
    #[xml(flag)]
    pub nocow: bool,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<features>` of a qcow2 volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct VolumeFeatures {
    /// Reference counts are written late.
    #[xml(flag)]
    pub lazy_refcounts: bool,
    /// Clusters have 32 parts.
    #[xml(flag)]
    pub extended_l2: bool,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<clusterSize unit='B'>65536</clusterSize>`; read in any unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClusterSize(pub Bytes);

impl Element for ClusterSize {
    fn read(node: Node<'_, '_>, tag: &str, reader: &mut Reader<'_>) -> Option<Self> {
        Amount::read(node, tag, reader).map(|amount| Self(amount.0))
    }

    fn write_attributes(&self, writer: &mut Writer) {
        writer.word_attribute("unit", "B");
    }

    fn write_content(&self, writer: &mut Writer) {
        writer.text(&self.0.0);
    }

    fn visit_foreign<'a>(&'a self, _visit: &mut dyn FnMut(&'a ForeignItem)) {}
}

/// `<timestamps>`: seconds since 1970 with nanoseconds, as `1795186302.593786968`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Timestamps {
    /// Last read.
    #[xml(leaf)]
    pub atime: Option<String>,
    /// Last written.
    #[xml(leaf)]
    pub mtime: Option<String>,
    /// Last changed.
    #[xml(leaf)]
    pub ctime: Option<String>,
    /// Made.
    #[xml(leaf)]
    pub btime: Option<String>,
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
    /// Of what on a device it is made; known only of an existing volume of a pool of devices.
    #[xml(child)]
    pub source: Option<VolumeSource>,
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

/// `<source>` of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct VolumeSource {
    /// The devices it lies on.
    #[xml(children = "device")]
    pub devices: Vec<VolumeDevice>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<device path='/dev/sdb'>` of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct VolumeDevice {
    /// The device.
    #[xml(attr)]
    pub path: Option<String>,
    /// Where on it.
    #[xml(children = "extent")]
    pub extents: Vec<Extent>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl Pool {
    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        crate::xml::parse(text, "pool", ParseOptions::default())
    }

    /// Reads a document in which nothing may be unknown.
    pub fn parse_strict(text: &str) -> Result<Self, Faults> {
        crate::xml::parse(text, "pool", ParseOptions { strict: true })
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

    /// Adds what libvirt adds at a definition: a UUID, an empty source. Sizes are known only of a running pool.
    pub fn complete(&mut self) {
        self.uuid.get_or_insert_with(PoolId::random);
        self.source.get_or_insert_default();
        for amount in [&mut self.capacity, &mut self.allocation, &mut self.available] {
            *amount = Some(Amount::default());
        }
    }

    /// Finds contradictions; every fault names its element.
    pub fn check(&self) -> Result<(), Faults> {
        let mut faults = Vec::new();
        faults.extend(name_fault("/pool", &self.name));
        match self.path() {
            None if self.kind == PoolKind::Dir => {
                faults.push(Fault::at("/pool/target", "element <path> is missing"));
            }
            Some(path) if !path.starts_with('/') || path.chars().any(char::is_control) => {
                faults.push(Fault::at("/pool/target/path", format!("{path:?} is no absolute path")));
            }
            Some(_) | None => {}
        }
        if let Some(mode) =
            self.target.as_deref().and_then(|target| target.permissions.as_ref()?.mode.as_deref())
            && u32::from_str_radix(mode, 8).map_or(true, |mode| mode > 0o7777)
        {
            faults.push(Fault::at(
                "/pool/target/permissions/mode",
                format!("`{mode}` is no octal mode, as 0711"),
            ));
        }
        Faults(faults).into_result()
    }
}

impl Volume {
    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        crate::xml::parse(text, "volume", ParseOptions::default())
    }

    /// Reads a document in which nothing may be unknown.
    pub fn parse_strict(text: &str) -> Result<Self, Faults> {
        crate::xml::parse(text, "volume", ParseOptions { strict: true })
    }

    /// Writes libvirt's text of it.
    pub fn to_xml(&self, options: &WriteOptions) -> String {
        crate::xml::write(self, "volume", *options)
    }

    /// What is kept but not understood.
    pub fn unsupported(&self) -> Vec<Fault> {
        crate::xml::unsupported(self)
    }

    /// Format of its image; `raw` where it says nothing.
    pub fn format(&self) -> &str {
        let format = self.target.as_deref().and_then(|target| target.format.as_ref());
        format.map_or("raw", |format| format.kind.as_str())
    }

    /// Finds contradictions; every fault names its element.
    pub fn check(&self) -> Result<(), Faults> {
        let mut faults: Vec<_> = name_fault("/volume", &self.name).into_iter().collect();
        if self.capacity.is_none() && self.backing_store.is_none() {
            faults.push(Fault::at("/volume", "element <capacity> is missing"));
        }
        Faults(faults).into_result()
    }
}

fn name_fault(root: &str, name: &str) -> Option<Fault> {
    match check_name(name) {
        Ok(()) => None,
        Err(BadName::Empty) => Some(Fault::at(root, "element <name> is missing or empty")),
        Err(error) => Some(Fault::at(format!("{root}/name"), error.to_string())),
    }
}
