//! Disks: a chain of block nodes over descriptors, and the device the guest sees.
//!
//! Nodes are named as libvirt names them, `libvirt-N-storage` (the file) and `libvirt-N-format` (what is in it), the
//! last disk first. Every node's format and mode are said: QEMU never guesses what a guest could have written.

use lodge_model::Bytes;
use lodge_model::domain::Domain;
use lodge_model::domain::controller::ControllerKind;
use lodge_model::domain::disk::{
    CacheMode, DetectZeroes, Discard, Disk, DiskBus, DiskDevice, DiskDriver, IoTune, SourceKind,
};
use lodge_model::domain::os::BootSource;
use lodge_model::xml::{Kept, OnOff};

use super::alias::{disk_bus, drive_address};
use super::builder::{Builder, Family, alias};
use super::controller::{virtio_name, virtio_options};
use super::props::Props;
use super::{lun, served, vhost_user};
use crate::claims::{HostdevClaim, Link, LinkBytes};

/// The limits that several disks share.
pub(super) fn throttle_groups(b: &mut Builder<'_>) {
    const STEADY: [(&str, &str); 6] = [
        ("total_bytes_sec", "bps-total"),
        ("read_bytes_sec", "bps-read"),
        ("write_bytes_sec", "bps-write"),
        ("total_iops_sec", "iops-total"),
        ("read_iops_sec", "iops-read"),
        ("write_iops_sec", "iops-write"),
    ];
    for group in b.domain.throttle_groups.tree("throttlegroups").unwrap_or_default().children {
        b.at("/domain/throttlegroups");
        let kept = |name: &str| group.child(name)?.text.parse::<u64>().ok().filter(|limit| *limit > 0);
        let words = STEADY.iter().chain(&BURSTS);
        let limits = words.fold(Props::plain(), |props, (name, word)| props.maybe(word, kept(name)));
        let name = group.child("group_name").map(|name| name.text.clone()).unwrap_or_default();
        let object = Props::object("throttle-group", &format!("throttlegroup-{name}"));
        b.json("-object", &object.nested("limits", &limits));
    }
}

/// Every `<disk>`.
pub(super) fn disks(b: &mut Builder<'_>) {
    served::home(b);
    let disks = &b.domain.devices.disks;
    let numbers = node_numbers(b.domain, |disk| chain(b, disk).len());
    // Numbers count from 1; a running guest has some already.
    let first_node: Vec<usize> = numbers.iter().map(|number| number + b.first_node - 1).collect();
    for (at, disk) in disks.iter().enumerate() {
        b.at_device("disk", at);
        one(b, disk, first_node[at]);
    }
}

/// The number of each disk's topmost node, as its nodes' names have it; the nodes below count on. `length`: how many
/// files a disk's chain has.
pub fn node_numbers(domain: &Domain, length: impl Fn(&Disk) -> usize) -> Vec<usize> {
    let disks = &domain.devices.disks;
    let mut numbers = vec![0; disks.len()];
    let mut next = 1;
    for (at, disk) in disks.iter().enumerate().rev() {
        numbers[at] = next;
        // A drive without a medium has a number, too.
        next += length(disk).max(1);
    }
    numbers
}

fn chain<'a>(b: &Builder<'a>, disk: &Disk) -> &'a [Link] {
    b.claims.disks.get(&disk.target.dev).map_or(&[], Vec::as_slice)
}

fn one(b: &mut Builder<'_>, disk: &Disk, first_node: usize) {
    match disk.kind {
        SourceKind::VhostUser => return vhost_user::disk(b, disk),
        SourceKind::VhostVdpa | SourceKind::Dir => {
            return b.refuse(format!("disks of type '{}' are not supported", disk.kind));
        }
        SourceKind::File
        | SourceKind::Block
        | SourceKind::Network
        | SourceKind::Volume
        | SourceKind::Nvme => {}
    }
    let mut own = None;
    if disk.kind == SourceKind::Nvme {
        own = namespace(b, disk);
        if own.is_none() {
            return;
        }
    }
    let links = own.as_ref().map_or_else(|| chain(b, disk), std::slice::from_ref);
    let is_drive = matches!(disk.device, DiskDevice::Cdrom | DiskDevice::Floppy);
    if links.is_empty() && !(is_drive && disk.source.is_none()) {
        b.refuse(format!("the source of disk '{}' was not opened", disk.target.dev));
        return;
    }
    if disk.device == DiskDevice::Lun && !lun::is_scsi(b, disk, links) {
        return;
    }
    let top = (!links.is_empty()).then(|| nodes(b, disk, links, first_node));
    device(b, disk, top.as_deref());
    if top.is_some() {
        join_group(b, disk);
    }
}

/// Limits that disks share are QEMU's own, at the device: a group is there while a disk is in it, so disks come and
/// go. It takes any name, where an object's has letters only.
fn join_group(b: &mut Builder<'_>, disk: &Disk) {
    let Some(tune) = disk.iotune.as_deref().filter(|tune| tune.has_limits()) else { return };
    let Some(group) = tune.group() else { return };
    let id = alias(&disk.place);
    // The part of a virtio device that has the disk is below what is plugged.
    let part = match disk_bus(disk) {
        DiskBus::Virtio => format!("/machine/peripheral/{id}/virtio-backend"),
        _ => id.to_owned(),
    };
    let mut arguments = throttle(tune);
    arguments.insert("group".to_owned(), group.into());
    arguments.insert("id".to_owned(), part.into());
    b.command("block_set_io_throttle", arguments.into());
}

/// Limits as the arguments of `block_set_io_throttle`.
pub fn throttle(tune: &IoTune) -> serde_json::Map<String, serde_json::Value> {
    let mut arguments = serde_json::Map::new();
    for (name, word) in IoTune::LIMITS.iter().zip(THROTTLE_WORDS) {
        let number = tune.limit(name);
        // A length without its burst is refused by QEMU, and 0 means "one second" there.
        if !word.ends_with("_length") || number > 0 {
            arguments.insert(word.to_owned(), number.into());
        }
    }
    arguments
}

/// QEMU's words of [`IoTune::LIMITS`].
const THROTTLE_WORDS: [&str; 19] = [
    "bps",
    "bps_rd",
    "bps_wr",
    "iops",
    "iops_rd",
    "iops_wr",
    "bps_max",
    "bps_rd_max",
    "bps_wr_max",
    "iops_max",
    "iops_rd_max",
    "iops_wr_max",
    "iops_size",
    "bps_max_length",
    "bps_rd_max_length",
    "bps_wr_max_length",
    "iops_max_length",
    "iops_rd_max_length",
    "iops_wr_max_length",
];

/// A namespace of a controller that VFIO has for this guest; refuses if it does not.
fn namespace(b: &mut Builder<'_>, disk: &Disk) -> Option<Link> {
    let Some(namespace) = disk.nvme() else {
        b.refuse("<source> needs a namespace and the <address> of its controller");
        return None;
    };
    let controller = super::hostdev::pci_text(&namespace.controller);
    if b.claims.hostdevs.get(alias(&disk.place)) != Some(&HostdevClaim::Ready) {
        b.refuse(format!("the host's NVMe controller {controller} was not given to VFIO"));
        return None;
    }
    // It reads and writes the guest's memory by itself.
    b.lock_memory();
    let bytes = LinkBytes::Namespace { controller, number: namespace.number };
    Some(Link::new(bytes, disk.format(), disk.readonly))
}

/// The chain's nodes, deepest first; returns the name of the topmost.
fn nodes(b: &mut Builder<'_>, disk: &Disk, links: &[Link], first_node: usize) -> String {
    let own = disk.driver.as_deref().cloned().unwrap_or_default();
    let driver = &DiskDriver { cache: cache_of(disk), ..own };
    let cache = cache(driver.cache);
    let encryption = disk.encryption_trees();
    for (depth, link) in links.iter().enumerate().rev() {
        let number = first_node + depth;
        let is_top = depth == 0;
        let storage = format!("libvirt-{number}-storage");
        let encryption = encryption.get(depth).and_then(Option::as_ref);
        let passphrase = encryption.and_then(|it| passphrase(b, (&disk.target.dev, depth), it, link, number));
        let Some((file, read_only)) = bytes(b, link, driver, &storage) else { continue };
        // What lies below is written for block jobs only. QEMU then takes a descriptor for that from the same set.
        let mode = if is_top { read_only } else { ("auto-read-only", true) };
        b.json("-blockdev", &of_layer(file, &storage, mode, &cache));
        let mut format = Props::plain()
            .with("node-name", format!("libvirt-{number}-format"))
            .with("read-only", link.read_only);
        // Below the top as well: after a block job the guest may go on there.
        let discard = discard(driver, link, is_top);
        format = format.maybe("discard", discard.map(Discard::as_str));
        if is_top {
            format = format
                .maybe("detect-zeroes", detect_zeroes(driver, discard))
                .maybe("discard-no-unref", driver.discard_no_unref.map(OnOff::is_on));
        }
        if is_top {
            format = window(b, disk, driver, &link.format, format);
        }
        if !cache.is_empty() {
            format = format.nested("cache", &cache);
        }
        let passphrase = passphrase.as_deref();
        // An encrypted raw disk is a LUKS container; a qcow2 has LUKS inside.
        let word = if passphrase.is_some() && link.format == "raw" { "luks" } else { link.format.as_str() };
        format = format.with("driver", word).with("file", storage);
        match passphrase {
            Some(secret) if word == "luks" => format.set("key-secret", secret),
            Some(secret) => {
                let luks = Props::plain().with("format", "luks").with("key-secret", secret);
                format = format.nested("encrypt", &luks);
            }
            None => {}
        }
        if depth + 1 < links.len() {
            format.set("backing", format!("libvirt-{}-format", number + 1));
        } else if !matches!(word, "raw" | "luks") {
            // Otherwise QEMU would open what the image names.
            format.set("backing", serde_json::Value::Null);
        }
        b.json("-blockdev", &format);
    }
    filters(b, disk, format!("libvirt-{first_node}-format"))
}

/// The node of a layer's file, with what all have.
fn of_layer(file: Props, name: &str, mode: (&str, bool), cache: &Props) -> Props {
    let file = file.with("node-name", name).with(mode.0, mode.1).with("discard", "unmap");
    if cache.is_empty() { file } else { file.nested("cache", cache) }
}

/// The options of the file of a layer below a disk's own ([`nodes`]), which QEMU has open as `filename` through `word`
/// (`file`, `host_device`); `is_written`: as the disk's own is, for as long as it is open, and not only while somebody
/// writes.
pub fn reopened_file(
    disk: &Disk,
    word: &str,
    filename: &str,
    name: &str,
    is_written: bool,
) -> serde_json::Value {
    let none = DiskDriver::default();
    let driver = disk.driver.as_deref().unwrap_or(&none);
    let mode = if is_written { ("read-only", false) } else { ("auto-read-only", true) };
    of_layer(opened(word, driver, filename), name, mode, &cache(driver.cache)).value()
}

/// The node of a file or device that QEMU opens by this name.
fn opened(word: &str, driver: &DiskDriver, filename: &str) -> Props {
    Props::driver(word)
        .with("filename", filename)
        .maybe("aio", driver.io.map(lodge_model::domain::disk::IoMode::as_str))
}

/// What becomes of blocks that the guest trims. Where the document does not say, they go back to the host from what
/// takes no more than is in it.
fn discard(driver: &DiskDriver, link: &Link, is_top: bool) -> Option<Discard> {
    let is_written = !(is_top && link.read_only);
    driver.discard.or((is_written && link.is_thin()).then_some(Discard::Unmap))
}

/// QEMU refuses to unmap zeroes of what it is not to unmap; libvirt's reference has them written then.
fn detect_zeroes(driver: &DiskDriver, discard: Option<Discard>) -> Option<&'static str> {
    match driver.detect_zeroes? {
        DetectZeroes::Unmap if discard != Some(Discard::Unmap) => Some(DetectZeroes::On.as_str()),
        wanted => Some(wanted.as_str()),
    }
}

/// The node of an image's bytes, without what every node has; how it is written to if it is a chain's first.
pub(super) fn bytes(
    b: &mut Builder<'_>,
    link: &Link,
    driver: &DiskDriver,
    name: &str,
) -> Option<(Props, (&'static str, bool))> {
    let (word, fd) = match &link.bytes {
        LinkBytes::File(fd) => ("file", *fd),
        LinkBytes::Device(fd) => ("host_device", *fd),
        LinkBytes::Namespace { controller, number } => {
            let node = Props::driver("nvme").with("device", controller.as_str()).with("namespace", *number);
            return Some((node, ("read-only", link.read_only)));
        }
        LinkBytes::Served(served) => {
            let node = served::node(b, served, name, link.read_only)?;
            return Some((node, ("auto-read-only", true)));
        }
    };
    if matches!(driver.cache, Some(CacheMode::None | CacheMode::DirectSync)) {
        b.direct(fd);
    }
    let path = b.fdset(fd, if link.read_only { "rdonly" } else { "rdwr" });
    Some((opened(word, driver, &path), ("read-only", link.read_only)))
}

/// Which part of a raw file the disk is, and how much of a qcow2's tables is kept in memory.
fn window(b: &mut Builder<'_>, disk: &Disk, driver: &DiskDriver, word: &str, mut format: Props) -> Props {
    let slices = disk.source.as_deref().and_then(|source| source.foreign.tree("slices"));
    if let Some(slice) = slices.as_ref().and_then(|slices| slices.child("slice")) {
        let number = |name| slice.attribute(name).and_then(|text| text.parse::<u64>().ok());
        match (number("offset"), number("size")) {
            (Some(offset), Some(size)) if word == "raw" => {
                format = format.with("offset", offset).with("size", size);
            }
            (Some(_), Some(_)) => {
                b.refuse(format!("a slice of a {word} image is not supported; of a raw one it is"));
            }
            _ => b.refuse("a <slice> needs `offset` and `size`"),
        }
    }
    let tables = driver.foreign.tree("metadata_cache");
    if let Some(most) = tables.as_ref().and_then(|tables| tables.child("max_size")) {
        let unit = most.attribute("unit").unwrap_or("bytes");
        match most.text.parse().ok().and_then(|size| Bytes::scaled(size, unit).ok()) {
            Some(size) if word == "qcow2" => format = format.with("cache-size", size.0),
            Some(_) => b.refuse("only a qcow2 image has such a cache (<metadata_cache>)"),
            None => b.refuse(format!("<max_size>: `{}` is no amount of memory", most.text)),
        }
    }
    format
}

/// The object with the passphrase of an encrypted file of a disk; its name. `place`: the disk's target, and the file's
/// place in its chain.
fn passphrase(
    b: &mut Builder<'_>,
    place: (&str, usize),
    encryption: &Kept,
    link: &Link,
    number: usize,
) -> Option<String> {
    let target = place.0;
    if encryption.attribute("format") != Some("luks") {
        b.refuse(format!("disk '{target}': only encryption format='luks' is supported"));
        return None;
    }
    if !matches!(&*link.format, "raw" | "qcow2") {
        b.refuse(format!("disk '{target}': only raw and qcow2 can be encrypted"));
        return None;
    }
    let Some(fd) = b.claims.passphrases.get(&(target.to_owned(), place.1)) else {
        b.refuse(format!("the passphrase of the encrypted disk '{target}' was not given"));
        return None;
    };
    let name = format!("libvirt-{number}-format-encryption-secret0");
    b.json("-object", &Props::object("secret", &name).with("file", format!("/proc/self/fd/{fd}")));
    Some(name)
}

/// How the host caches it. What other guests write at the same time is not cached by a host that may not be theirs
/// (qemuDomainPrepareDiskCachemode).
fn cache_of(disk: &Disk) -> Option<CacheMode> {
    let said = disk.driver.as_deref().and_then(|driver| driver.cache);
    let said = said.filter(|mode| *mode != CacheMode::Default);
    said.or_else(|| (disk.shareable && !disk.readonly).then_some(CacheMode::None))
}

fn cache(mode: Option<CacheMode>) -> Props {
    let (direct, no_flush) = match mode {
        None | Some(CacheMode::Default) => return Props::plain(),
        Some(CacheMode::None | CacheMode::DirectSync) => (true, false),
        Some(CacheMode::WriteBack | CacheMode::WriteThrough) => (false, false),
        Some(CacheMode::Unsafe) => (false, true),
    };
    Props::plain().with("direct", direct).with("no-flush", no_flush)
}

/// What stands between the chain and the device: copy-on-read, limits.
fn filters(b: &mut Builder<'_>, disk: &Disk, mut top: String) -> String {
    let target = &disk.target.dev;
    if disk.driver.as_deref().and_then(|driver| driver.copy_on_read) == Some(OnOff::On) {
        let name = format!("libvirt-CoR-{target}");
        let node = Props::driver("copy-on-read").with("node-name", name.as_str()).with("file", top);
        b.json("-blockdev", &node);
        top = name;
    }
    for (at, filter) in
        disk.throttle_filters.tree("throttlefilters").unwrap_or_default().children.iter().enumerate()
    {
        let group = filter.attribute("group").unwrap_or_default();
        let name = format!("libvirt-throttlefilter-{target}-{}", at + 1);
        let node = Props::driver("throttle")
            .with("node-name", name.as_str())
            .with("throttle-group", format!("throttlegroup-{group}"))
            .with("file", top);
        b.json("-blockdev", &node);
        top = name;
    }
    let own = disk.iotune.as_deref().filter(|tune| tune.group().is_none());
    if let Some(limits) = own.map(limits).filter(|limits| !limits.is_empty()) {
        let group = format!("throttle-{target}");
        b.json("-object", &Props::object("throttle-group", &group).nested("limits", &limits));
        let name = format!("libvirt-throttle-{target}");
        let node = Props::driver("throttle")
            .with("node-name", name.as_str())
            .with("throttle-group", group)
            .with("file", top);
        b.json("-blockdev", &node);
        top = name;
    }
    top
}

/// QEMU's and libvirt's words of the limits that are kept as trees.
const BURSTS: [(&str, &str); 13] = [
    ("total_bytes_sec_max", "bps-total-max"),
    ("read_bytes_sec_max", "bps-read-max"),
    ("write_bytes_sec_max", "bps-write-max"),
    ("total_iops_sec_max", "iops-total-max"),
    ("read_iops_sec_max", "iops-read-max"),
    ("write_iops_sec_max", "iops-write-max"),
    ("size_iops_sec", "iops-size"),
    ("total_bytes_sec_max_length", "bps-total-max-length"),
    ("read_bytes_sec_max_length", "bps-read-max-length"),
    ("write_bytes_sec_max_length", "bps-write-max-length"),
    ("total_iops_sec_max_length", "iops-total-max-length"),
    ("read_iops_sec_max_length", "iops-read-max-length"),
    ("write_iops_sec_max_length", "iops-write-max-length"),
];

fn limits(tune: &IoTune) -> Props {
    let kept = |name: &str| tune.foreign.tree(name)?.text.parse::<u64>().ok().filter(|limit| *limit > 0);
    let steady = Props::plain()
        .maybe("bps-total", tune.total_bytes_sec.filter(|limit| *limit > 0))
        .maybe("bps-read", tune.read_bytes_sec.filter(|limit| *limit > 0))
        .maybe("bps-write", tune.write_bytes_sec.filter(|limit| *limit > 0))
        .maybe("iops-total", tune.total_iops_sec.filter(|limit| *limit > 0))
        .maybe("iops-read", tune.read_iops_sec.filter(|limit| *limit > 0))
        .maybe("iops-write", tune.write_iops_sec.filter(|limit| *limit > 0));
    BURSTS.iter().fold(steady, |props, (name, word)| props.maybe(word, kept(name)))
}

/// Whether it is an old SCSI controller: its units, of which none has parts, are targets to QEMU.
pub(super) fn is_old_scsi(b: &Builder<'_>, controller: u32) -> bool {
    let mut controllers = b.domain.devices.controllers.iter();
    let own = controllers
        .find(|known| known.kind == ControllerKind::Scsi && known.index.unwrap_or(0) == controller);
    own.is_some_and(|own| own.model.as_deref().is_none_or(|model| model == "lsilogic"))
}

fn device(b: &mut Builder<'_>, disk: &Disk, top: Option<&str>) {
    let is_cdrom = disk.device == DiskDevice::Cdrom;
    let id = alias(&disk.place);
    let drive = drive_address(disk);
    let (name, props) = match (disk_bus(disk), disk.device) {
        (DiskBus::Virtio, DiskDevice::Disk) => {
            let name = virtio_name("virtio-blk-pci", disk.model.as_deref());
            let props = virtio(disk, Props::driver(&name));
            let props = b.pci(props, &disk.place);
            (name, props)
        }
        (DiskBus::Scsi, DiskDevice::Disk | DiskDevice::Cdrom | DiskDevice::Lun) => {
            let name = match disk.device {
                DiskDevice::Lun => "scsi-block",
                _ if is_cdrom => "scsi-cd",
                _ => "scsi-hd",
            };
            let props = Props::driver(name).with("bus", format!("scsi{}.{}", drive.controller, drive.bus));
            let props = if is_old_scsi(b, drive.controller) {
                if drive.target != 0 {
                    b.refuse("target must be 0 for controller model 'lsilogic'");
                }
                props.with("scsi-id", drive.unit)
            } else {
                props.with("channel", 0).with("scsi-id", drive.target).with("lun", drive.unit)
            };
            // A device handed through says itself who it is.
            let own = || disk.serial.clone().unwrap_or_else(|| format!("drive-{id}"));
            let device_id = (disk.device != DiskDevice::Lun).then(own);
            let props = props.maybe("device_id", device_id);
            (name.to_owned(), props)
        }
        (DiskBus::Ide, DiskDevice::Disk | DiskDevice::Cdrom) => {
            match b.family {
                Family::I440fx | Family::Isa => {}
                Family::Q35 => return b.refuse_hinted("machine q35 has no IDE", "use bus='sata'"),
                _ => return b.refuse_hinted("this machine has no IDE", "use bus='virtio'"),
            }
            if drive.bus > 1 || drive.unit > 1 {
                return b.refuse(format!(
                    "an IDE controller has the buses 0 and 1 with the units 0 and 1; it has no {}:{}",
                    drive.bus, drive.unit
                ));
            }
            let name = if is_cdrom { "ide-cd" } else { "ide-hd" };
            let props =
                Props::driver(name).with("bus", format!("ide.{}", drive.bus)).with("unit", drive.unit);
            (name.to_owned(), props)
        }
        (DiskBus::Sata, DiskDevice::Disk | DiskDevice::Cdrom) => {
            let name = if is_cdrom { "ide-cd" } else { "ide-hd" };
            if drive.unit > 5 {
                return b.refuse(format!(
                    "a SATA controller has six ports, from 0; it has no port {}",
                    drive.unit
                ));
            }
            let is_own = drive.controller == 0 && b.family == Family::Q35;
            let stem = if is_own { "ide".to_owned() } else { format!("sata{}", drive.controller) };
            (name.to_owned(), Props::driver(name).with("bus", format!("{stem}.{}", drive.unit)))
        }
        (DiskBus::Usb, DiskDevice::Disk | DiskDevice::Cdrom) => {
            let props = b.usb(Props::driver("usb-storage"), &disk.place);
            let removable = disk.target.removable.unwrap_or(OnOff::Off).is_on();
            ("usb-storage".to_owned(), props.with("removable", removable))
        }
        (DiskBus::Fdc, DiskDevice::Floppy) => {
            ("floppy".to_owned(), Props::driver("floppy").with("unit", drive.unit))
        }
        (bus, device) => return b.refuse(format!("a {device} on bus '{bus}' is not supported")),
    };
    let props = common(b, disk, props.maybe("drive", top).with("id", id), top.is_some());
    b.device(&name, &props);
}

fn virtio(disk: &Disk, props: Props) -> Props {
    let Some(driver) = disk.driver.as_deref() else { return props };
    let props = match driver.foreign.tree("iothreads") {
        Some(threads) => props.with("iothread-vq-mapping", mapping(&threads)),
        None => props,
    };
    let props = props
        .maybe("iothread", driver.iothread.map(|number| format!("iothread{number}")))
        .maybe("ioeventfd", driver.ioeventfd.map(OnOff::is_on))
        .maybe("event_idx", driver.event_idx.map(OnOff::is_on))
        .maybe("num-queues", driver.queues)
        .maybe("queue-size", driver.queue_size);
    virtio_options(props, Some(&driver.virtio))
}

/// Cylinders, heads and sectors, for systems that still count in them.
fn geometry(b: &mut Builder<'_>, disk: &Disk, props: Props) -> Props {
    let Some(tree) = disk.geometry.tree("geometry") else { return props };
    let number = |name| tree.attribute(name).and_then(|text| text.parse::<u32>().ok());
    let (Some(cyls), Some(heads), Some(secs)) = (number("cyls"), number("heads"), number("secs")) else {
        b.refuse("<geometry> needs `cyls`, `heads` and `secs`");
        return props;
    };
    let translation = tree.attribute("trans").filter(|_| disk_bus(disk) == DiskBus::Ide);
    props.with("cyls", cyls).with("heads", heads).with("secs", secs).maybe("bios-chs-trans", translation)
}

/// Which I/O thread serves which queue.
pub(super) fn mapping(threads: &Kept) -> Vec<serde_json::Value> {
    let one = |thread: &Kept| {
        let mut entry = serde_json::json!({ "iothread": format!("iothread{}", thread.attribute("id").unwrap_or_default()) });
        let queues: Vec<u32> =
            thread.all("queue").filter_map(|queue| queue.attribute("id")?.parse().ok()).collect();
        if !queues.is_empty() {
            entry["vqs"] = queues.into();
        }
        entry
    };
    threads.all("iothread").map(one).collect()
}

/// What any disk can have, in libvirt's order: boot, blocks, cache, errors, identity.
fn common(b: &mut Builder<'_>, disk: &Disk, props: Props, has_medium: bool) -> Props {
    let source = match disk.device {
        DiskDevice::Cdrom => BootSource::Cdrom,
        DiskDevice::Floppy => BootSource::Fd,
        DiskDevice::Disk | DiskDevice::Lun => BootSource::Hd,
    };
    let boot_index = b.boot_index(&disk.place, source);
    let is_floppy = disk.device == DiskDevice::Floppy;
    let is_usb = disk_bus(disk) == DiskBus::Usb;
    let write_cache = match cache_of(disk) {
        _ if !has_medium || is_floppy => None,
        None | Some(CacheMode::Default) => None,
        Some(CacheMode::WriteThrough | CacheMode::DirectSync) => Some("off"),
        Some(CacheMode::None | CacheMode::WriteBack | CacheMode::Unsafe) => Some("on"),
    };
    let mut props = geometry(b, disk, props.maybe("bootindex", boot_index));
    if let Some(block) = disk.block_io.as_deref() {
        props = props
            .maybe("logical_block_size", block.logical_block_size)
            .maybe("physical_block_size", block.physical_block_size)
            .maybe("discard_granularity", block.discard_granularity);
    }
    props = props.maybe("write-cache", write_cache).maybe("share-rw", disk.shareable.then_some(true));
    if let Some(driver) = disk.driver.as_deref() {
        let write =
            driver.error_policy.map(lodge_model::domain::disk::ErrorPolicy::as_str).filter(|_| !is_usb);
        let read =
            driver.rerror_policy.map(lodge_model::domain::disk::ErrorPolicy::as_str).filter(|_| !is_usb);
        // libvirt: `enospace` is for writes; reads then take their usual way.
        let read = read.or(write).filter(|policy| *policy != "enospace");
        props = props.maybe("werror", write.map(|word| if word == "enospace" { "enospc" } else { word }));
        props = props.maybe("rerror", read);
    }
    let wwn = disk.wwn.as_deref().map(|wwn| {
        u64::from_str_radix(wwn.strip_prefix("0x").unwrap_or(wwn), 16).unwrap_or_else(|_| {
            b.refuse(format!("wwn '{wwn}' is not 16 hexadecimal digits"));
            0
        })
    });
    if disk.vendor.is_some() && disk_bus(disk) != DiskBus::Scsi {
        b.refuse("<vendor> is for disks on SCSI");
    }
    // What SCSI calls the product is the model of a disk of ATA's.
    let is_ata = matches!(disk_bus(disk), DiskBus::Ide | DiskBus::Sata);
    props
        .maybe("wwn", wwn)
        .maybe("rotation_rate", disk.target.rotation_rate)
        .maybe("vendor", disk.vendor.as_deref())
        .maybe(if is_ata { "model" } else { "product" }, disk.product.as_deref())
        .maybe("serial", disk.serial.as_deref())
}
