//! `<disk>`.

use super::address::{PciAddress, Place};
use super::virtio::VirtioOptions;
use crate::xml::words::{OnOff, YesNo, words};
use crate::xml::{Foreign, Kept, Xml};

words! {
    /// Where a disk's bytes are.
    pub enum SourceKind {
        File = "file", Block = "block", Dir = "dir", Network = "network", Volume = "volume", Nvme = "nvme",
        VhostUser = "vhostuser", VhostVdpa = "vhostvdpa",
    }
}

words! {
    /// What the guest sees.
    pub enum DiskDevice { Disk = "disk", Cdrom = "cdrom", Floppy = "floppy", Lun = "lun" }
}

/// `<disk type='file' device='disk'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Disk {
    /// Where its bytes are.
    #[xml(attr = "type")]
    pub kind: SourceKind,
    /// What the guest sees.
    #[xml(attr)]
    pub device: DiskDevice,
    /// Bus model: `virtio-transitional` …
    #[xml(attr)]
    pub model: Option<String>,
    /// Whether raw SCSI commands are allowed.
    #[xml(attr = "rawio")]
    pub raw_io: Option<YesNo>,
    /// Filter of SCSI commands.
    #[xml(attr = "sgio")]
    pub sg_io: Option<String>,
    /// Snapshot policy: `no`, `internal`, `external`.
    #[xml(attr)]
    pub snapshot: Option<String>,
    /// `<driver …/>`.
    #[xml(child)]
    pub driver: Option<Box<DiskDriver>>,
    /// `<auth>`, kept as it is.
    #[xml(kept = "auth")]
    pub auth: Foreign,
    /// `<source …/>`; none: an empty drive.
    #[xml(child)]
    pub source: Option<Box<DiskSource>>,
    /// `<backingStore>`.
    #[xml(child = "backingStore")]
    pub backing_store: Option<Box<BackingStore>>,
    /// `<backenddomain>` of Xen's, kept as it is.
    #[xml(kept = "backenddomain")]
    pub backend_domain: Foreign,
    /// `<geometry>`, kept as it is.
    #[xml(kept = "geometry")]
    pub geometry: Foreign,
    /// `<blockio …/>`.
    #[xml(child = "blockio")]
    pub block_io: Option<Box<BlockIo>>,
    /// `<mirror>`, kept as it is; only a running guest has one.
    #[xml(kept = "mirror", live)]
    pub mirror: Foreign,
    /// `<target dev='vda' bus='virtio'/>`.
    #[xml(child, required)]
    pub target: DiskTarget,
    /// `<iotune>`.
    #[xml(child)]
    pub iotune: Option<Box<IoTune>>,
    /// `<throttlefilters>`, kept as it is.
    #[xml(kept = "throttlefilters")]
    pub throttle_filters: Foreign,
    /// The guest cannot write it.
    #[xml(flag)]
    pub readonly: bool,
    /// Several guests may use it at once.
    #[xml(flag)]
    pub shareable: bool,
    /// Changes are thrown away at the guest's end; `shareBacking`, for several guests on one image, is kept.
    #[xml(flag, keeps = "@shareBacking")]
    pub transient: bool,
    /// Serial number the guest sees.
    #[xml(leaf)]
    pub serial: Option<String>,
    /// World-wide name: 16 hex digits.
    #[xml(leaf)]
    pub wwn: Option<String>,
    /// Vendor the guest sees.
    #[xml(leaf)]
    pub vendor: Option<String>,
    /// Product the guest sees.
    #[xml(leaf)]
    pub product: Option<String>,
    /// `<encryption>`, kept as it is.
    #[xml(kept = "encryption")]
    pub encryption: Foreign,
    /// Boot order, alias, address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl Disk {
    /// Its element alone, for `attach-device` and its kin.
    pub fn to_xml(&self, options: &crate::xml::WriteOptions) -> String {
        crate::xml::write(self, "disk", *options)
    }

    /// The local path of its bytes: a file, a device or a directory.
    pub fn path(&self) -> Option<&str> {
        let source = self.source.as_deref()?;
        match self.kind {
            SourceKind::File => source.file.as_deref(),
            SourceKind::Block => source.dev.as_deref(),
            SourceKind::Dir => source.dir.as_deref(),
            SourceKind::Network
            | SourceKind::Volume
            | SourceKind::Nvme
            | SourceKind::VhostUser
            | SourceKind::VhostVdpa => None,
        }
    }

    /// Format of its image as the document says it; `raw` where it says nothing.
    pub fn format(&self) -> &str {
        self.driver.as_deref().and_then(|driver| driver.format.as_deref()).unwrap_or("raw")
    }
}

words! {
    /// How the host caches a disk.
    pub enum CacheMode {
        Default = "default", None = "none", WriteThrough = "writethrough", WriteBack = "writeback",
        DirectSync = "directsync", Unsafe = "unsafe",
    }
}

words! {
    /// What happens on an error of reading or writing.
    pub enum ErrorPolicy { Stop = "stop", Report = "report", Ignore = "ignore", Enospace = "enospace" }
}

words! {
    /// How QEMU reads and writes.
    pub enum IoMode { Native = "native", Threads = "threads", IoUring = "io_uring" }
}

words! {
    /// Whether freed blocks are given back.
    pub enum Discard { Unmap = "unmap", Ignore = "ignore" }
}

words! {
    /// Whether writes of zeroes are looked for.
    pub enum DetectZeroes { Off = "off", On = "on", Unmap = "unmap" }
}

/// `<driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct DiskDriver {
    /// `qemu`.
    #[xml(attr)]
    pub name: Option<String>,
    /// Format of the image.
    #[xml(attr = "type")]
    pub format: Option<String>,
    /// How it is cached.
    #[xml(attr)]
    pub cache: Option<CacheMode>,
    /// On errors of writing (and reading).
    #[xml(attr)]
    pub error_policy: Option<ErrorPolicy>,
    /// On errors of reading.
    #[xml(attr)]
    pub rerror_policy: Option<ErrorPolicy>,
    /// How it is read and written.
    #[xml(attr)]
    pub io: Option<IoMode>,
    /// virtio's notification by eventfd.
    #[xml(attr)]
    pub ioeventfd: Option<OnOff>,
    /// virtio's event index.
    #[xml(attr)]
    pub event_idx: Option<OnOff>,
    /// Copy what is read from the backing file.
    #[xml(attr)]
    pub copy_on_read: Option<OnOff>,
    /// Freed blocks.
    #[xml(attr)]
    pub discard: Option<Discard>,
    /// Which I/O thread serves it.
    #[xml(attr)]
    pub iothread: Option<u32>,
    /// Writes of zeroes.
    #[xml(attr)]
    pub detect_zeroes: Option<DetectZeroes>,
    /// qcow2: freed clusters keep their references.
    #[xml(attr)]
    pub discard_no_unref: Option<OnOff>,
    /// Number of virtio queues.
    #[xml(attr)]
    pub queues: Option<u32>,
    /// Length of a queue.
    #[xml(attr)]
    pub queue_size: Option<u32>,
    /// What every virtio device can have.
    #[xml(flatten)]
    pub virtio: VirtioOptions,
    /// What this struct does not know.
    #[xml(foreign, keeps = "metadata_cache iothreads")]
    pub foreign: Foreign,
}

words! {
    /// What happens at the start when the source is missing.
    pub enum StartupPolicy { Mandatory = "mandatory", Requisite = "requisite", Optional = "optional" }
}

/// `<source file='…'/>`: which attribute counts depends on the disk's kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct DiskSource {
    /// `type='network'`.
    #[xml(attr)]
    pub protocol: Option<String>,
    /// `type='network'`: the image's name there.
    #[xml(attr)]
    pub name: Option<String>,
    /// `type='file'`.
    #[xml(attr)]
    pub file: Option<String>,
    /// `type='block'`.
    #[xml(attr)]
    pub dev: Option<String>,
    /// `type='dir'`.
    #[xml(attr)]
    pub dir: Option<String>,
    /// `type='volume'`.
    #[xml(attr)]
    pub pool: Option<String>,
    /// `type='volume'`.
    #[xml(attr)]
    pub volume: Option<String>,
    /// `type='volume'`: `host` or `direct`.
    #[xml(attr)]
    pub mode: Option<String>,
    /// What happens when it is missing.
    #[xml(attr = "startupPolicy")]
    pub startup_policy: Option<StartupPolicy>,
    /// Number of the node in the running guest.
    #[xml(attr, live)]
    pub index: Option<u32>,
    /// Security labels of this source alone.
    #[xml(children = "seclabel")]
    pub seclabels: Vec<super::devices::SecLabel>,
    /// `type='network'`: who serves it.
    #[xml(children = "host")]
    pub hosts: Vec<SourceHost>,
    /// `<ssl>`, kept as it is.
    #[xml(kept = "ssl")]
    pub ssl: Foreign,
    /// `<cookies>`, kept as they are; they open doors as passwords do.
    #[xml(kept = "cookies", secret)]
    pub cookies: Foreign,
    /// What this struct does not know; among it encryption and slices.
    #[xml(
        foreign,
        keeps = "auth encryption slices reservations initiator address readahead timeout snapshot config dataStore knownHosts identity reconnect @query @tls @tlsHostname @fdgroup @namespace @managed @type @path"
    )]
    pub foreign: Foreign,
}

words! {
    /// By what a server is reached.
    pub enum Transport { Tcp = "tcp", Unix = "unix", Rdma = "rdma" }
}

/// `<host name='example.org' port='6000'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SourceHost {
    /// By what it is reached; TCP if not said.
    #[xml(attr)]
    pub transport: Option<Transport>,
    /// Its name or address.
    #[xml(attr)]
    pub name: Option<String>,
    /// Its port.
    #[xml(attr)]
    pub port: Option<u16>,
    /// Its socket's path (unix).
    #[xml(attr)]
    pub socket: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl Disk {
    /// How its own file is encrypted: `<encryption>`, the disk's or its source's.
    pub fn encryption_tree(&self) -> Option<Kept> {
        let of_source = || self.source.as_deref()?.encryption_tree();
        self.encryption.tree("encryption").or_else(of_source)
    }

    /// The same of each file that the document names, its own first.
    pub fn encryption_trees(&self) -> Vec<Option<Kept>> {
        let below = std::iter::successors(self.backing_store.as_deref(), |at| at.backing_store.as_deref());
        let below = below.filter_map(|at| Some(at.source.as_deref()?.encryption_tree()));
        std::iter::once(self.encryption_tree()).chain(below).collect()
    }

    /// Says how its own file is encrypted, where libvirt says it: in the source.
    pub fn set_encryption(&mut self, encryption: Option<&Kept>) {
        self.encryption = Foreign::default();
        if let Some(source) = self.source.as_deref_mut() {
            source.set_encryption(encryption);
        }
    }
}

impl DiskSource {
    /// How the file is encrypted, if it says so itself.
    pub fn encryption_tree(&self) -> Option<Kept> {
        self.foreign.tree("encryption")
    }

    /// Says how it is encrypted.
    pub fn set_encryption(&mut self, encryption: Option<&Kept>) {
        self.foreign.set_tree(&encryption.cloned().unwrap_or_else(|| Kept::new("encryption")));
    }
}

/// `<backingStore type='file'>`; without a type it says that there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct BackingStore {
    /// Where its bytes are.
    #[xml(attr = "type")]
    pub kind: Option<SourceKind>,
    /// Number of the node in the running guest.
    #[xml(attr, live)]
    pub index: Option<u32>,
    /// `<format type='qcow2'/>`.
    #[xml(child)]
    pub format: Option<ImageFormat>,
    /// `<source …/>`.
    #[xml(child)]
    pub source: Option<Box<DiskSource>>,
    /// The next one.
    #[xml(child = "backingStore")]
    pub backing_store: Option<Box<BackingStore>>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "@id")]
    pub foreign: Foreign,
}

/// `<format type='qcow2'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ImageFormat {
    /// The format.
    #[xml(attr = "type", required)]
    pub kind: String,
    /// What this struct does not know.
    #[xml(foreign, keeps = "metadata_cache")]
    pub foreign: Foreign,
}

/// `<blockio logical_block_size='512' physical_block_size='4096'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct BlockIo {
    /// In bytes.
    #[xml(attr)]
    pub logical_block_size: Option<u32>,
    /// In bytes.
    #[xml(attr)]
    pub physical_block_size: Option<u32>,
    /// In bytes.
    #[xml(attr)]
    pub discard_granularity: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// The bus a disk hangs on.
    pub enum DiskBus {
        Ide = "ide", Fdc = "fdc", Scsi = "scsi", Virtio = "virtio", Xen = "xen", Usb = "usb", Uml = "uml", Sata = "sata",
        Sd = "sd", Nvme = "nvme",
    }
}

words! {
    /// Whether a drive's tray is open.
    pub enum Tray { Closed = "closed", Open = "open" }
}

/// `<target dev='vda' bus='virtio'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct DiskTarget {
    /// Name: also the order on the bus. The guest may call it otherwise.
    #[xml(attr, required)]
    pub dev: String,
    /// The bus; guessed from the name if not said.
    #[xml(attr)]
    pub bus: Option<DiskBus>,
    /// The tray of a removable drive.
    #[xml(attr)]
    pub tray: Option<Tray>,
    /// USB: whether the guest sees it as removable.
    #[xml(attr)]
    pub removable: Option<OnOff>,
    /// Turns per minute; 1: no moving parts.
    #[xml(attr)]
    pub rotation_rate: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "@dpofua")]
    pub foreign: Foreign,
}

/// `<iotune>`: limits of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct IoTune {
    /// Bytes per second, both ways.
    #[xml(leaf)]
    pub total_bytes_sec: Option<u64>,
    /// Bytes per second read.
    #[xml(leaf)]
    pub read_bytes_sec: Option<u64>,
    /// Bytes per second written.
    #[xml(leaf)]
    pub write_bytes_sec: Option<u64>,
    /// Operations per second, both ways.
    #[xml(leaf)]
    pub total_iops_sec: Option<u64>,
    /// Operations per second read.
    #[xml(leaf)]
    pub read_iops_sec: Option<u64>,
    /// Operations per second written.
    #[xml(leaf)]
    pub write_iops_sec: Option<u64>,
    /// What this struct does not know; among it bursts.
    #[xml(
        foreign,
        keeps = "total_bytes_sec_max read_bytes_sec_max write_bytes_sec_max total_iops_sec_max read_iops_sec_max write_iops_sec_max size_iops_sec group_name total_bytes_sec_max_length read_bytes_sec_max_length write_bytes_sec_max_length total_iops_sec_max_length read_iops_sec_max_length write_iops_sec_max_length"
    )]
    pub foreign: Foreign,
}

impl IoTune {
    /// How many of its numbers stand before the group's name.
    pub const BEFORE_GROUP: usize = 13;
    /// Its numbers by libvirt's names, in libvirt's order.
    pub const LIMITS: [&str; 19] = [
        "total_bytes_sec",
        "read_bytes_sec",
        "write_bytes_sec",
        "total_iops_sec",
        "read_iops_sec",
        "write_iops_sec",
        "total_bytes_sec_max",
        "read_bytes_sec_max",
        "write_bytes_sec_max",
        "total_iops_sec_max",
        "read_iops_sec_max",
        "write_iops_sec_max",
        "size_iops_sec",
        "total_bytes_sec_max_length",
        "read_bytes_sec_max_length",
        "write_bytes_sec_max_length",
        "total_iops_sec_max_length",
        "read_iops_sec_max_length",
        "write_iops_sec_max_length",
    ];

    /// The limit of this name; 0: none.
    pub fn limit(&self, name: &str) -> u64 {
        match name {
            "total_bytes_sec" => self.total_bytes_sec.unwrap_or(0),
            "read_bytes_sec" => self.read_bytes_sec.unwrap_or(0),
            "write_bytes_sec" => self.write_bytes_sec.unwrap_or(0),
            "total_iops_sec" => self.total_iops_sec.unwrap_or(0),
            "read_iops_sec" => self.read_iops_sec.unwrap_or(0),
            "write_iops_sec" => self.write_iops_sec.unwrap_or(0),
            _ => self.foreign.tree(name).and_then(|kept| kept.text.parse().ok()).unwrap_or(0),
        }
    }

    /// Whether anything is limited.
    pub fn has_limits(&self) -> bool {
        Self::LIMITS.iter().any(|name| self.limit(name) > 0)
    }

    /// The group of disks that share these limits.
    pub fn group(&self) -> Option<String> {
        self.foreign.tree("group_name").map(|kept| kept.text).filter(|name| !name.is_empty())
    }
}

/// A namespace of an NVMe controller of the host's (`type='nvme'`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvmeNamespace {
    /// The controller.
    pub controller: PciAddress,
    /// Whether it is taken from its driver and given back to it.
    pub managed: bool,
    /// The namespace's number, from 1.
    pub number: u64,
}

impl Disk {
    /// Which namespace it is; none: it is no such disk, or its source does not say.
    pub fn nvme(&self) -> Option<NvmeNamespace> {
        let source = self.source.as_deref().filter(|_| self.kind == SourceKind::Nvme)?;
        let address = source.foreign.tree("address")?;
        let number = |name: &str| address.attribute(name).map_or(Some(0), number);
        let part = |name: &str| number(name).and_then(|number| u8::try_from(number).ok());
        let controller = PciAddress {
            domain: u16::try_from(number("domain")?).ok()?,
            ..PciAddress::new(part("bus")?, part("slot")?, part("function")?)
        };
        let number = source.foreign.attribute("namespace").and_then(self::number)?;
        let managed = source.foreign.attribute("managed") == Some("yes");
        Some(NvmeNamespace { controller, managed, number }).filter(|namespace| namespace.number > 0)
    }
}

/// A number as libvirt reads one: with `0x` before it, to the base of 16.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Domain;

    #[test]
    fn a_namespace_is_read_from_its_source() {
        let namespace = |source: &str| {
            let text = format!(
                "<domain type='qemu'><name>n</name><memory>1</memory><os><type>hvm</type></os><devices>\
                 <disk type='nvme'><source type='pci' {source}</source><target dev='vda'/></disk></devices></domain>"
            );
            Domain::parse(&text).unwrap().devices.disks.remove(0).nvme()
        };
        let whole = namespace(
            "managed='yes' namespace='2'><address domain='0x0000' bus='0x1f' slot='0x00' function='0'/>",
        );
        let controller = PciAddress::new(0x1f, 0, 0);
        assert_eq!(whole, Some(NvmeNamespace { controller, managed: true, number: 2 }));
        assert_eq!(namespace("namespace='0'><address bus='1'/>"), None);
        assert_eq!(namespace("namespace='1'>"), None);
        assert_eq!(namespace("namespace='1'><address bus='0x100'/>"), None);
    }
}
