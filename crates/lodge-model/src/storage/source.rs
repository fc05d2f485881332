//! What a pool is made of: `<source>` with its hosts, devices and names, and `<features>`.
//!
//! Which of these a type of pool has is `lodge_storage`'s to judge; here each is read wherever it stands.

use crate::xml::{Foreign, Xml};

/// `<source>` of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
#[xml(open)]
pub struct PoolSource {
    /// Servers.
    #[xml(children = "host")]
    pub hosts: Vec<SourceHost>,
    /// Block devices.
    #[xml(children = "device")]
    pub devices: Vec<SourceDevice>,
    /// A directory of the server.
    #[xml(child)]
    pub dir: Option<SourceDir>,
    /// A SCSI host, kept as it is.
    #[xml(kept = "adapter")]
    pub adapter: Foreign,
    /// A volume group's name, or what is a name to a server.
    #[xml(leaf)]
    pub name: Option<String>,
    /// iSCSI: who we are, kept as it is.
    #[xml(kept = "initiator")]
    pub initiator: Foreign,
    /// The file system, partition table or protocol.
    #[xml(child)]
    pub format: Option<SourceFormat>,
    /// A login, kept as it is.
    #[xml(kept = "auth")]
    pub auth: Foreign,
    /// NFS's version.
    #[xml(child)]
    pub protocol: Option<SourceProtocol>,
    /// Who made the device.
    #[xml(child)]
    pub vendor: Option<SourceMaker>,
    /// What they call it.
    #[xml(child)]
    pub product: Option<SourceMaker>,
    /// What this struct does not know.
    #[xml(foreign, known)]
    pub foreign: Foreign,
}

/// `<host name='nfs.example' port='2049'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SourceHost {
    /// Name or address.
    #[xml(attr)]
    pub name: Option<String>,
    /// Port, if it is not the usual one.
    #[xml(attr)]
    pub port: Option<u16>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<device path='/dev/sdb'/>`, of a running pool of type disk with what is free on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SourceDevice {
    /// Its node, or a link to it.
    #[xml(attr)]
    pub path: Option<String>,
    /// Whether partitions' names have a `p` before their number (`yes`, `no`).
    #[xml(attr)]
    pub part_separator: Option<String>,
    /// What no partition has.
    #[xml(children = "freeExtent")]
    pub free_extents: Vec<Extent>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// A part of a device, as `<freeExtent start='17408' end='1048576'/>`: bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

impl crate::xml::Element for Extent {
    fn read(
        node: crate::xml::Node<'_, '_>,
        _tag: &str,
        _reader: &mut crate::xml::Reader<'_>,
    ) -> Option<Self> {
        // Only ever written by us and libvirt, into the state of what runs: what is no number is no extent.
        let number = |name| node.attribute(name).and_then(|text| text.parse().ok());
        Some(Self { start: number("start")?, end: number("end")? })
    }

    fn write_attributes(&self, writer: &mut crate::xml::Writer) {
        writer.word_attribute("start", &self.start.to_string());
        writer.word_attribute("end", &self.end.to_string());
    }

    fn write_content(&self, _writer: &mut crate::xml::Writer) {}

    fn visit_foreign<'a>(&'a self, _visit: &mut dyn FnMut(&'a crate::xml::ForeignItem)) {}
}

/// `<dir path='/export'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SourceDir {
    /// The directory.
    #[xml(attr)]
    pub path: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<format type='nfs'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SourceFormat {
    /// libvirt's word.
    #[xml(attr = "type")]
    pub kind: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<protocol ver='4.1'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SourceProtocol {
    /// The version.
    #[xml(attr)]
    pub ver: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<vendor name='…'/>`, `<product name='…'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SourceMaker {
    /// The name.
    #[xml(attr)]
    pub name: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<features>` of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct PoolFeatures {
    /// Btrfs: whether files are copied on write.
    #[xml(child)]
    pub cow: Option<Cow>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<cow state='no'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Cow {
    /// `yes`, `no`.
    #[xml(attr)]
    pub state: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// libvirt's namespace for what pools of mounted file systems have beside.
const FS_NAMESPACE: &str = "http://libvirt.org/schemas/storagepool/fs/1.0";

impl super::Pool {
    /// The names of `<fs:mount_opts>`'s options, none where one has no name.
    pub fn mount_options(&self) -> Vec<Option<String>> {
        let documents = self.foreign.elements().filter_map(|xml| roxmltree::Document::parse(xml).ok());
        let options = documents.flat_map(|document| {
            let root = document.root_element();
            let is_ours = root.has_tag_name((FS_NAMESPACE, "mount_opts"));
            let children =
                root.children().filter(|child| is_ours && child.has_tag_name((FS_NAMESPACE, "option")));
            children.map(|child| child.attribute("name").map(str::to_owned)).collect::<Vec<_>>()
        });
        options.collect()
    }
}
