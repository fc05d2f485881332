//! `<devices>` and the small devices: watchdog, balloon, rng, panic, vsock, hub; and `<seclabel>`.

use super::address::Place;
use super::chardev::{CharDevice, CharKind, CharSource, Redirdev};
use super::controller::Controller;
use super::crypto::Crypto;
use super::disk::Disk;
use super::filesystem::Filesystem;
use super::graphics::{Audio, Graphics, Input, Sound, Video};
use super::hostdev::Hostdev;
use super::interface::Interface;
use super::iommu::Iommu;
use super::lease::Lease;
use super::memory_module::MemoryModule;
use super::redirfilter::Redirfilter;
use super::shmem::Shmem;
use super::smartcard::Smartcard;
use super::stores::{Nvram, Pstore};
use super::tpm::Tpm;
use super::virtio::VirtioDriver;
use crate::xml::words::{OnOff, YesNo, words};
use crate::xml::{Foreign, Xml};

/// `<devices>`, in libvirt's order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Devices {
    /// Path of the QEMU binary.
    #[xml(leaf)]
    pub emulator: Option<String>,
    /// Disks.
    #[xml(children = "disk")]
    pub disks: Vec<Disk>,
    /// Controllers.
    #[xml(children = "controller")]
    pub controllers: Vec<Controller>,
    /// Locks that a lock manager takes.
    #[xml(children = "lease")]
    pub leases: Vec<Lease>,
    /// Directories of the host's.
    #[xml(children = "filesystem")]
    pub filesystems: Vec<Filesystem>,
    /// Network interfaces.
    #[xml(children = "interface")]
    pub interfaces: Vec<Interface>,
    /// Smart cards.
    #[xml(children = "smartcard")]
    pub smartcards: Vec<Smartcard>,
    /// Serial ports.
    #[xml(children = "serial")]
    pub serials: Vec<CharDevice>,
    /// Parallel ports.
    #[xml(children = "parallel")]
    pub parallels: Vec<CharDevice>,
    /// Consoles; the first one stands for the first serial port.
    #[xml(children = "console")]
    pub consoles: Vec<CharDevice>,
    /// Channels.
    #[xml(children = "channel")]
    pub channels: Vec<CharDevice>,
    /// Input devices.
    #[xml(children = "input")]
    pub inputs: Vec<Input>,
    /// Trusted platform modules.
    #[xml(children = "tpm")]
    pub tpms: Vec<Tpm>,
    /// Screens' servers.
    #[xml(children = "graphics")]
    pub graphics: Vec<Graphics>,
    /// Sound cards.
    #[xml(children = "sound")]
    pub sounds: Vec<Sound>,
    /// Where sound goes.
    #[xml(children = "audio")]
    pub audios: Vec<Audio>,
    /// Video devices.
    #[xml(children = "video")]
    pub videos: Vec<Video>,
    /// Devices of the host's.
    #[xml(children = "hostdev")]
    pub hostdevs: Vec<Hostdev>,
    /// Redirected USB devices.
    #[xml(children = "redirdev")]
    pub redirdevs: Vec<Redirdev>,
    /// Which USB devices a viewer may send over.
    #[xml(child)]
    pub redirfilter: Redirfilter,
    /// USB hubs.
    #[xml(children = "hub")]
    pub hubs: Vec<Hub>,
    /// Watchdogs.
    #[xml(children = "watchdog")]
    pub watchdogs: Vec<Watchdog>,
    /// The memory balloon; `model='none'` says there is none.
    #[xml(child)]
    pub memballoon: Option<Box<Memballoon>>,
    /// Sources of randomness.
    #[xml(children = "rng")]
    pub rngs: Vec<Rng>,
    /// pSeries' own store.
    #[xml(child)]
    pub nvram: Option<Box<Nvram>>,
    /// Panic devices.
    #[xml(children = "panic")]
    pub panics: Vec<Panic>,
    /// Memory shared by name.
    #[xml(children = "shmem")]
    pub shmems: Vec<Shmem>,
    /// Modules of memory.
    #[xml(children = "memory")]
    pub memory_modules: Vec<MemoryModule>,
    /// Devices that encrypt.
    #[xml(children = "crypto")]
    pub cryptos: Vec<Crypto>,
    /// What translates devices' addresses.
    #[xml(child)]
    pub iommu: Option<Box<Iommu>>,
    /// The socket between guest and host.
    #[xml(child)]
    pub vsock: Option<Box<Vsock>>,
    /// Where a kernel that dies leaves its last words.
    #[xml(child)]
    pub pstore: Option<Box<Pstore>>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<hub type='usb'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Hub {
    /// Always `usb`.
    #[xml(attr = "type", required)]
    pub kind: HubKind,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Sorts of hub.
    pub enum HubKind { Usb = "usb" }
}

words! {
    /// Sorts of watchdog.
    pub enum WatchdogModel { I6300esb = "i6300esb", Ib700 = "ib700", Diag288 = "diag288", Itco = "itco" }
}

words! {
    /// What a watchdog does.
    pub enum WatchdogAction {
        Reset = "reset", Shutdown = "shutdown", Poweroff = "poweroff", Pause = "pause", Dump = "dump", None = "none",
        InjectNmi = "inject-nmi",
    }
}

/// `<watchdog model='itco' action='reset'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Watchdog {
    /// The sort.
    #[xml(attr, required)]
    pub model: WatchdogModel,
    /// What it does.
    #[xml(attr)]
    pub action: WatchdogAction,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Sorts of memory balloon.
    pub enum MemballoonModel {
        Virtio = "virtio", Xen = "xen", None = "none", VirtioTransitional = "virtio-transitional",
        VirtioNonTransitional = "virtio-non-transitional",
    }
}

/// `<memballoon model='virtio'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Memballoon {
    /// The sort.
    #[xml(attr, required)]
    pub model: MemballoonModel,
    /// Whether it gives way before the guest runs out of memory.
    #[xml(attr)]
    pub autodeflate: Option<OnOff>,
    /// Whether the guest tells which pages are free.
    #[xml(attr = "freePageReporting")]
    pub free_page_reporting: Option<OnOff>,
    /// `<stats period='5'/>`.
    #[xml(child)]
    pub stats: Option<BalloonStats>,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// `<driver iommu='on'/>`.
    #[xml(child)]
    pub driver: Option<Box<VirtioDriver>>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<stats period='5'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct BalloonStats {
    /// In seconds; 0: never.
    #[xml(attr = "period", required)]
    pub period_s: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Sorts of random number device.
    pub enum RngModel { Virtio = "virtio", VirtioTransitional = "virtio-transitional", VirtioNonTransitional = "virtio-non-transitional" }
}

/// `<rng model='virtio'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Rng {
    /// The sort.
    #[xml(attr, required)]
    pub model: RngModel,
    /// `<rate bytes='1024' period='1000'/>`.
    #[xml(child)]
    pub rate: Option<RngRate>,
    /// `<backend model='random'>/dev/urandom</backend>`.
    #[xml(child, required)]
    pub backend: RngBackend,
    /// `<driver iommu='on'/>`.
    #[xml(child)]
    pub driver: Option<Box<VirtioDriver>>,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<rate bytes='1024' period='1000'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct RngRate {
    /// Bytes of a period; 0: there is no limit.
    #[xml(attr)]
    pub bytes: u32,
    /// In milliseconds.
    #[xml(attr = "period")]
    pub period_ms: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Where randomness comes from.
    pub enum RngSource { Random = "random", Egd = "egd", Builtin = "builtin" }
}

/// `<backend model='random'>/dev/urandom</backend>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct RngBackend {
    /// Where it comes from.
    #[xml(attr, required)]
    pub model: RngSource,
    /// egd: what its stream is.
    #[xml(attr = "type")]
    pub kind: Option<CharKind>,
    /// random: the device.
    #[xml(text)]
    pub path: Option<String>,
    /// egd: the stream.
    #[xml(children = "source")]
    pub sources: Vec<CharSource>,
    /// egd over tcp: `<protocol type='raw'/>`.
    #[xml(child)]
    pub protocol: Option<super::chardev::Protocol>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Sorts of panic device.
    pub enum PanicModel { Isa = "isa", Pseries = "pseries", Hyperv = "hyperv", S390 = "s390", Pvpanic = "pvpanic" }
}

/// `<panic model='isa'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Panic {
    /// The sort.
    #[xml(attr)]
    pub model: Option<PanicModel>,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<vsock model='virtio'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Vsock {
    /// `virtio`.
    #[xml(attr)]
    pub model: Option<RngModel>,
    /// `<cid auto='no' address='3'/>`.
    #[xml(child)]
    pub cid: Option<Cid>,
    /// Alias and address.
    #[xml(flatten)]
    pub place: Place,
    /// `<driver iommu='on'/>`.
    #[xml(child)]
    pub driver: Option<Box<VirtioDriver>>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<cid auto='yes' address='3'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Cid {
    /// Whether it is chosen at the start.
    #[xml(attr)]
    pub auto: Option<YesNo>,
    /// The guest's number, from 3.
    #[xml(attr)]
    pub address: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<seclabel type='dynamic' model='apparmor' relabel='yes'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SecLabel {
    /// `dynamic`, `static`, `none`.
    #[xml(attr = "type")]
    pub kind: Option<String>,
    /// `selinux`, `apparmor`, `dac`.
    #[xml(attr)]
    pub model: Option<String>,
    /// Whether files are labelled.
    #[xml(attr)]
    pub relabel: Option<YesNo>,
    /// The label.
    #[xml(leaf)]
    pub label: Option<String>,
    /// The images' label.
    #[xml(leaf = "imagelabel", live)]
    pub image_label: Option<String>,
    /// What a dynamic label starts from.
    #[xml(leaf = "baselabel")]
    pub base_label: Option<String>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "@labelskip")]
    pub foreign: Foreign,
}

impl Devices {
    /// Serial and parallel ports, channels, and the consoles that are no serial port by another name.
    pub fn ports(&self) -> impl Iterator<Item = &CharDevice> {
        let consoles = self.consoles.iter().filter(|console| !console.is_serial_console());
        self.serials.iter().chain(&self.parallels).chain(&self.channels).chain(consoles)
    }

    /// Reads the text of one device, as it is given to be plugged in: its element's name, and a list of devices that
    /// holds it alone. `Ok(None)`: no device is called so.
    pub fn parse_one(xml: &str) -> Result<Option<(String, Self)>, crate::Faults> {
        let text = xml.trim();
        let Some(root) = crate::xml::root_name(text)? else { return Ok(None) };
        // What stands before the element (a declaration, comments) cannot stand inside of another document.
        let start = text.find(&format!("<{root}")).unwrap_or(0);
        let whole = format!(
            "<domain type='kvm'><name>x</name><memory>1</memory><os><type>hvm</type></os><devices>{}</devices></domain>",
            &text[start..]
        );
        let devices = *super::Domain::parse(&whole)?.devices;
        if devices.foreign.elements().next().is_some()
            || devices == Self::default()
            || devices.emulator.is_some()
        {
            return Ok(None);
        }
        Ok(Some((root, devices)))
    }
}
