//! What one QEMU binary can do, found by asking it, once per binary.
//!
//! The question is a QEMU without a machine (`-M none`) and its monitor over a socket pair: a tenth of a second; beside it
//! one is asked for its displays, which no monitor tells. The answer
//! is kept on disk by path, inode, size and times of the binary, and the time of its modules' directory. Decisions ask methods here
//! (`has_device`, `machine`), never a version number where the thing itself can be seen.
//! Deliberately absent: the host's own side (is KVM any good? see lodge-host).

mod cache;
mod others;
mod probe;
mod processor;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::others::Others;
pub use self::probe::ProbeError;
pub(crate) use self::probe::Throwaway;
pub use self::processor::Processor;
use crate::Accelerator;
use crate::qmp::{CpuModel, Machine, VersionNumber};

/// Drivers of the block layer for disks that a server has.
pub const SERVED_DRIVERS: [&str; 10] =
    ["nbd", "http", "https", "ftp", "ftps", "ssh", "iscsi", "rbd", "nfs", "gluster"];

/// The answers of one binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The program.
    pub binary: PathBuf,
    /// Its version.
    pub version: VersionNumber,
    /// The packager's words about it.
    pub package: String,
    /// The machines it can be.
    pub machines: Vec<Machine>,
    /// The devices it has, modules included, by QEMU's type names.
    pub devices: BTreeSet<String>,
    /// Its objects that a command line can make: memory, sources of randomness, secrets.
    #[serde(default)]
    pub objects: BTreeSet<String>,
    /// Its character device back ends, without `chardev-`.
    pub chardevs: BTreeSet<String>,
    /// Its drivers for disks that a server has, of those in [`SERVED_DRIVERS`]. Debian has most in a package of their own.
    #[serde(default)]
    pub served_drivers: BTreeSet<String>,
    /// What it can show screens on beside VNC and SPICE, in QEMU's words. Debian has each in a package of its own.
    #[serde(default)]
    pub displays: BTreeSet<String>,
    /// Its processor models, as its TCG sees them.
    pub cpu_models: Vec<CpuModel>,
    /// It was built with KVM. Whether this host's KVM is usable is another question.
    pub kvm: bool,
    /// Groups of command-line options it knows, such as `sandbox`, `vnc`.
    pub options: BTreeSet<String>,
    /// Properties of the machine option.
    pub machine_properties: BTreeSet<String>,
}

impl Capabilities {
    /// Asks the QEMU at `binary`, or takes the answer kept in `cache_dir` if the binary has not changed since.
    pub async fn probe(binary: &Path, cache_dir: Option<&Path>) -> Result<Self, ProbeError> {
        let key = probe::key(binary, "all")?;
        if let Some(known) = cache_dir.and_then(|dir| cache::load(dir, &key)) {
            return Ok(known);
        }
        let emulated = probe::key(binary, processor::question(Accelerator::Tcg))?;
        let (found, processor) = probe::ask(binary).await?;
        cache::keep(cache_dir, &emulated, &processor);
        cache::keep(cache_dir, &key, &found);
        Ok(found)
    }

    /// Those of no QEMU at all: for a host that has none yet. A start then says what to install.
    pub fn none(binary: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            version: VersionNumber { major: 0, minor: 0, micro: 0 },
            package: String::new(),
            machines: Vec::new(),
            devices: BTreeSet::new(),
            objects: BTreeSet::new(),
            chardevs: BTreeSet::new(),
            served_drivers: BTreeSet::new(),
            displays: BTreeSet::new(),
            cpu_models: Vec::new(),
            kvm: false,
            options: BTreeSet::new(),
            machine_properties: BTreeSet::new(),
        }
    }

    /// The architecture of its guests, in libvirt's word: its program is named by it.
    pub fn arch(&self) -> &str {
        arch_of(&self.binary)
    }

    /// The name that a machine's memory has inside of a saved or migrated guest.
    pub fn ram_id(&self, machine: &str) -> &str {
        let known = self.machine(machine).and_then(|machine| machine.default_ram_id.as_deref());
        known.unwrap_or("pc.ram")
    }

    /// Whether there is a QEMU behind these.
    pub fn is_present(&self) -> bool {
        !self.machines.is_empty()
    }

    /// Whether the device exists in this QEMU.
    pub fn has_device(&self, name: &str) -> bool {
        self.devices.contains(name)
    }

    /// Whether the object exists.
    pub fn has_object(&self, name: &str) -> bool {
        self.objects.contains(name)
    }

    /// Whether the character back end exists.
    pub fn has_chardev(&self, name: &str) -> bool {
        self.chardevs.contains(name)
    }

    /// Whether it has the driver for a disk that a server has.
    pub fn has_served_driver(&self, name: &str) -> bool {
        self.served_drivers.contains(name)
    }

    /// Whether it can show screens on this.
    pub fn has_display(&self, name: &str) -> bool {
        self.displays.contains(name)
    }

    /// Whether it can serve SPICE.
    pub fn has_spice(&self) -> bool {
        self.has_chardev("spicevmc")
    }

    /// Whether it can serve VNC.
    pub fn has_vnc(&self) -> bool {
        self.options.contains("vnc")
    }

    /// Whether it can shut its own way to system calls it does not need.
    pub fn has_sandbox(&self) -> bool {
        self.options.contains("sandbox")
    }

    /// The machine of this name or alias.
    pub fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.name == name || machine.alias.as_deref() == Some(name))
    }

    /// The newest machine of an alias' family: what `q35` and `pc` mean in this QEMU.
    pub fn newest(&self, alias: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.alias.as_deref() == Some(alias))
    }

    /// The processor model of this name.
    pub fn cpu_model(&self, name: &str) -> Option<&CpuModel> {
        self.cpu_models.iter().find(|model| model.name == name)
    }
}

/// The Debian package that brings a device or back end to a QEMU without it, as far as one is known.
pub fn debian_package_of(device: &str) -> Option<&'static str> {
    let spice = ["qxl", "qxl-vga", "spicevmc", "spiceport", "usb-redir", "ccid-card-passthru"];
    let opengl = [
        "virtio-vga-gl",
        "virtio-gpu-gl",
        "virtio-gpu-gl-pci",
        "virtio-gpu-gl-device",
        "egl-headless",
        "dbus",
    ];
    match device {
        _ if spice.contains(&device) => Some("qemu-system-modules-spice"),
        _ if opengl.contains(&device) => Some("qemu-system-modules-opengl"),
        "sdl" => Some("qemu-system-gui"),
        "usb-host" => Some("qemu-system-x86"),
        _ if device != "nbd" && SERVED_DRIVERS.contains(&device) => Some("qemu-block-extra"),
        _ => None,
    }
}

/// The architecture of a program's guests, in libvirt's word.
fn arch_of(binary: &Path) -> &str {
    let name = binary.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name.strip_prefix("qemu-system-") {
        Some("i386") => "i686",
        Some("arm") => "armv7l",
        Some(arch) => arch,
        None => "x86_64",
    }
}
