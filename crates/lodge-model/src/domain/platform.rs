//! What [`super::Domain::complete`] must know about the host's QEMU. Plain data: `lodge-qemu` fills it in.

use super::graphics::VideoKind;

/// A machine type of QEMU's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// QEMU's name, `pc-q35-10.0`.
    pub name: String,
    /// Its short name, `q35`; replaced by the name at the definition.
    pub alias: Option<String>,
    /// Whether it is what QEMU takes when nothing is said.
    pub is_default: bool,
    /// The processor model it has when none is named.
    pub cpu: Option<String>,
}

/// A UEFI image with its template of variables, as QEMU's firmware descriptors tell it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Firmware {
    /// Path of the code.
    pub code: String,
    /// Path of the template of variables.
    pub vars: String,
    /// What it has: `secure-boot`, `enrolled-keys`, `requires-smm` …
    pub features: Vec<String>,
    /// Which machine types it is for, as `pc-q35-*`; none: any.
    pub machines: Vec<String>,
}

impl Firmware {
    /// Whether it is for this machine type.
    pub fn fits(&self, machine: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => machine.starts_with(start),
            None => machine == pattern,
        };
        self.machines.is_empty() || self.machines.iter().any(fits)
    }

    /// Whether it has a feature.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|have| have == feature)
    }
}

/// What the host's QEMU offers to a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Architecture of a document that says none.
    pub arch: String,
    /// The QEMU binary of a document that names none.
    pub emulator: String,
    /// Its machine types.
    pub machines: Vec<Machine>,
    /// Video device of a document that has a screen but no `<video>`.
    pub video: VideoKind,
    /// Processor model of a document that names none; `None`: it stays without one.
    pub cpu_model: Option<String>,
    /// UEFI images, the preferred one first.
    pub firmwares: Vec<Firmware>,
    /// Where guests' UEFI variables are kept.
    pub nvram_dir: String,
    /// Which sorts of `<launchSecurity>` host and QEMU have.
    pub launch_security: Vec<String>,
    /// The same of the QEMUs for other architectures.
    pub others: Vec<Platform>,
}

impl Default for Platform {
    /// A QEMU 10.0 for x86-64, as Debian 13 has it: for tests and where no QEMU is found yet.
    fn default() -> Self {
        let machine = |name: &str, alias: &str, is_default| Machine {
            name: name.to_owned(),
            alias: Some(alias.to_owned()),
            is_default,
            cpu: Some("qemu64".to_owned()),
        };
        Self {
            arch: "x86_64".to_owned(),
            emulator: "/usr/bin/qemu-system-x86_64".to_owned(),
            machines: vec![machine("pc-i440fx-10.0", "pc", true), machine("pc-q35-10.0", "q35", false)],
            video: VideoKind::Cirrus,
            cpu_model: Some("qemu64".to_owned()),
            firmwares: Vec::new(),
            nvram_dir: "/var/lib/libvirt/qemu/nvram".to_owned(),
            launch_security: Vec::new(),
            others: Vec::new(),
        }
    }
}

impl Platform {
    /// That of an architecture, or of the QEMU that is named; the host's own where no QEMU is for it.
    pub fn of(&self, arch: Option<&str>, emulator: Option<&str>) -> &Self {
        if emulator == Some(self.emulator.as_str()) {
            return self;
        }
        self.others.iter().find(|other| Some(other.arch.as_str()) == arch).unwrap_or(self)
    }

    /// QEMU's own name of machine type `name`; the same text if QEMU knows no such short name.
    pub fn canonical_machine<'a>(&'a self, name: &'a str) -> &'a str {
        let aliased = self.machines.iter().find(|machine| machine.alias.as_deref() == Some(name));
        aliased.map_or(name, |machine| machine.name.as_str())
    }

    /// The machine type taken when nothing is said.
    pub fn default_machine(&self) -> Option<&str> {
        // QEMU names a board of history for these, or none (virQEMUCapsGetPreferredMachine).
        if matches!(self.arch.as_str(), "aarch64" | "armv7l" | "riscv64" | "riscv32") {
            return Some(self.canonical_machine("virt"));
        }
        self.machines.iter().find(|machine| machine.is_default).map(|machine| machine.name.as_str())
    }
}
