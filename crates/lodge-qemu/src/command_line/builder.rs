//! What all parts of the command line write into.

use lodge_model::domain::Domain;
use lodge_model::domain::address::{Address, Place};
use lodge_model::domain::os::BootSource;
use lodge_model::domain::qemu::QemuPropertyKind;
use serde_json::Value;

use super::props::Props;
use super::{Argument, CommandLine, MonitorCommand, Refusals, Refused, Warning};
use crate::capabilities::{Capabilities, debian_package_of};
use crate::claims::{Accelerator, Claims, FdNumber};

/// The element of what every guest gets.
pub(crate) const OWN: &str = "lodge";

/// The families of machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// A PC with PCI Express (`pc-q35-…`).
    Q35,
    /// A PC with plain PCI (`pc-i440fx-…`).
    I440fx,
    /// A PC with ISA alone (`isapc`).
    Isa,
    /// `microvm`: a PC's processor, and nothing old.
    Micro,
    /// ARM's `virt`, with PCI Express.
    ArmVirt,
    /// RISC-V's `virt`, with PCI Express.
    RiscvVirt,
}

impl Family {
    /// That of a machine; `None`: it is of none that is known here.
    pub(super) fn of(arch: &str, machine: &str) -> Option<Self> {
        let is_virt = machine == "virt" || machine.starts_with("virt-");
        match (arch, machine) {
            ("x86_64" | "i686", "isapc") => Some(Self::Isa),
            ("x86_64" | "i686", "microvm") => Some(Self::Micro),
            ("x86_64" | "i686", _) if machine.contains("q35") => Some(Self::Q35),
            ("x86_64" | "i686", _) if machine == "pc" || machine.starts_with("pc-") => Some(Self::I440fx),
            ("aarch64" | "armv7l", _) if is_virt => Some(Self::ArmVirt),
            ("riscv64" | "riscv32", _) if is_virt => Some(Self::RiscvVirt),
            _ => None,
        }
    }

    /// Whether it is a PC.
    pub(super) fn is_pc(self) -> bool {
        !self.is_virt()
    }

    /// Whether it is one of those that are named `virt`.
    pub(super) fn is_virt(self) -> bool {
        matches!(self, Self::ArmVirt | Self::RiscvVirt)
    }

    /// Whether it has PCI.
    pub(super) fn has_pci(self) -> bool {
        !matches!(self, Self::Isa | Self::Micro)
    }
}

pub(super) struct Builder<'a> {
    pub(super) domain: &'a Domain,
    pub(super) capabilities: &'a Capabilities,
    pub(super) claims: &'a Claims,
    pub(super) family: Family,
    /// The element under work.
    pub(super) element: String,
    line: CommandLine,
    refused: Vec<Refused>,
    fdsets: u32,
    /// The number of the first disk's first node.
    pub(super) first_node: usize,
    /// Which boot source the next fitting device takes, and at which index.
    boot: Vec<(BootSource, u32)>,
    /// The devices whose overrides are done.
    overrides_done: Vec<String>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(domain: &'a Domain, capabilities: &'a Capabilities, claims: &'a Claims) -> Self {
        let machine = domain.os.kind.machine.as_deref().unwrap_or_default();
        let arch = domain.os.kind.arch.as_deref().unwrap_or("x86_64");
        let boot = domain.os.boot.iter().zip(1..).map(|(boot, index)| (boot.dev, index)).collect();
        Self {
            domain,
            capabilities,
            claims,
            family: Family::of(arch, machine).unwrap_or(Family::I440fx),
            element: OWN.to_owned(),
            line: CommandLine::default(),
            refused: Vec::new(),
            fdsets: 0,
            first_node: 1,
            boot,
            overrides_done: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Result<CommandLine, Refusals> {
        if self.refused.is_empty() { Ok(self.line) } else { Err(Refusals(self.refused)) }
    }

    /// Disks' nodes get these numbers: others are in use.
    pub(super) fn nodes_from(&mut self, first: usize) {
        self.first_node = first;
    }

    /// Names the element that the following belongs to.
    pub(super) fn at(&mut self, element: impl Into<String>) {
        self.element = element.into();
    }

    /// Names the `at`-th device (from 0) of a sort.
    pub(super) fn at_device(&mut self, name: &str, at: usize) {
        self.element = format!("/domain/devices/{name}[{}]", at + 1);
    }

    pub(super) fn arg(&mut self, option: &str, value: impl Into<String>) {
        let argument =
            Argument { option: option.to_owned(), value: Some(value.into()), element: self.element.clone() };
        self.line.arguments.push(argument);
    }

    pub(super) fn flag(&mut self, option: &str) {
        let argument = Argument { option: option.to_owned(), value: None, element: self.element.clone() };
        self.line.arguments.push(argument);
    }

    pub(super) fn json(&mut self, option: &str, props: &Props) {
        self.arg(option, props.to_json());
    }

    pub(super) fn env(&mut self, name: &str, value: &str) {
        self.line.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn command(&mut self, command: &'static str, arguments: Value) {
        self.line.commands.push(MonitorCommand { command, arguments, element: self.element.clone() });
    }

    /// Notes that QEMU will lock the guest's memory.
    pub(super) fn lock_memory(&mut self) {
        self.line.locks_memory = true;
    }

    /// Notes that QEMU passes on commands that only who has the right to may send.
    pub(super) fn pass_raw_commands(&mut self) {
        self.line.passes_raw_commands = true;
    }

    /// Notes that the descriptor must bypass the host's cache.
    pub(super) fn direct(&mut self, fd: FdNumber) {
        self.line.direct.push((fd, self.element.clone()));
    }

    pub(super) fn warn(&mut self, message: impl Into<String>) {
        self.line.warnings.push(Warning { element: self.element.clone(), message: message.into() });
    }

    pub(super) fn refuse(&mut self, reason: impl Into<String>) {
        self.refuse_with(reason, None);
    }

    pub(super) fn refuse_hinted(&mut self, reason: impl Into<String>, hint: impl Into<String>) {
        self.refuse_with(reason, Some(hint.into()));
    }

    fn refuse_with(&mut self, reason: impl Into<String>, hint: Option<String>) {
        self.refused.push(Refused { element: self.element.clone(), reason: reason.into(), hint });
    }

    /// Whether this QEMU has the device; refuses if not.
    pub(super) fn needs(&mut self, device: &str) -> bool {
        // QEMU knows this one by another name, too.
        let known = if device == "ahci" { "ich9-ahci" } else { device };
        if self.capabilities.has_device(known) {
            return true;
        }
        let reason = format!("this QEMU ({}) has no `{device}`", self.capabilities.version);
        match debian_package_of(device) {
            Some(package) => self.refuse_hinted(reason, format!("install the Debian package {package}")),
            None => self.refuse(reason),
        }
        false
    }

    /// Writes a `-device`, if this QEMU has it.
    pub(super) fn device(&mut self, name: &str, props: &Props) {
        let name = props.text("driver").unwrap_or(name).to_owned();
        if self.needs(&name) {
            let props = self.overridden(props);
            self.json("-device", &props);
        }
    }

    /// The properties with what `<qemu:override>` says of the device.
    fn overridden(&mut self, props: &Props) -> Props {
        let mut props = props.clone();
        let devices = self.domain.qemu_override.iter().flat_map(|all| &all.devices);
        let id = props.text("id").map(str::to_owned);
        for device in devices.filter(|device| id.as_deref() == Some(device.alias.as_str())) {
            self.overrides_done.push(device.alias.clone());
            for property in device.frontend.iter().flat_map(|frontend| &frontend.properties) {
                let text = property.value.as_deref().unwrap_or_default();
                let value = match property.kind {
                    QemuPropertyKind::Remove => {
                        props.remove(&property.name);
                        continue;
                    }
                    QemuPropertyKind::String => Some(Value::from(text)),
                    QemuPropertyKind::Signed => text.parse::<i64>().ok().map(Value::from),
                    QemuPropertyKind::Unsigned => text.parse::<u64>().ok().map(Value::from),
                    QemuPropertyKind::Bool => match text {
                        "true" | "yes" => Some(Value::from(true)),
                        "false" | "no" => Some(Value::from(false)),
                        _ => None,
                    },
                };
                match value {
                    Some(value) => props.replace(&property.name, value),
                    None => self.refuse(format!(
                        "<qemu:override>: `{text}` is no value of type '{}' for {}",
                        property.kind, property.name
                    )),
                }
            }
        }
        props
    }

    /// Refuses what `<qemu:override>` says of devices that are not there.
    pub(super) fn unused_overrides(&mut self) {
        let devices = self.domain.qemu_override.iter().flat_map(|all| &all.devices);
        let unused = devices.filter(|device| !self.overrides_done.contains(&device.alias));
        let unused: Vec<String> = unused.map(|device| device.alias.clone()).collect();
        self.at("/domain/qemu:override");
        for alias in unused {
            self.refuse(format!("no device has the alias '{alias}'"));
        }
    }

    /// The name of the machine's memory.
    pub(super) fn ram_id(&self) -> String {
        let machine = self.domain.os.kind.machine.as_deref().unwrap_or("pc");
        self.capabilities.ram_id(machine).to_owned()
    }

    pub(super) fn is_kvm(&self) -> bool {
        self.claims.accelerator == Accelerator::Kvm
    }

    /// Puts a descriptor into a set of its own; returns the path that opens it.
    pub(super) fn fdset(&mut self, fd: FdNumber, mode: &str) -> String {
        self.fdsets += 1;
        let set = self.fdsets;
        self.arg("-add-fd", format!("set={set},fd={fd},opaque={mode}"));
        format!("/dev/fdset/{set}")
    }

    /// The device's own boot order, or that of the first fitting `<boot dev>`.
    pub(super) fn boot_index(&mut self, place: &Place, source: BootSource) -> Option<u32> {
        if let Some(boot) = &place.boot {
            return Some(boot.order);
        }
        let at = self.boot.iter().position(|(waiting, _)| *waiting == source)?;
        Some(self.boot.remove(at).1)
    }

    /// QEMU's name of PCI bus `index`.
    pub(super) fn pci_bus(&self, index: u8) -> String {
        match (index, self.family) {
            (0, Family::I440fx) => "pci.0".to_owned(),
            (0, _) => "pcie.0".to_owned(),
            _ => format!("pci.{index}"),
        }
    }

    /// Bus and address of a device on PCI. Without one in the document QEMU finds a place.
    pub(super) fn pci(&mut self, props: Props, place: &Place) -> Props {
        let props = match &place.address {
            Some(Address::Pci(address)) => {
                if address.domain != 0 {
                    self.refuse("a PCI domain other than 0 is not supported");
                }
                let function =
                    if address.function == 0 { String::new() } else { format!(".{:#x}", address.function) };
                let shared = address.multifunction.is_some_and(lodge_model::xml::OnOff::is_on);
                props
                    .with("bus", self.pci_bus(address.bus))
                    .maybe("multifunction", shared.then_some(true))
                    .with("addr", format!("{:#x}{function}", address.slot))
            }
            Some(Address::VirtioMmio(_)) => return self.on_mmio(props),
            None if !self.family.has_pci() => return self.without_bus(props),
            None => props,
            Some(_) => {
                self.refuse("this device needs an address of type 'pci'");
                props
            }
        };
        let props = props.maybe("acpi-index", place.acpi.as_ref().map(|acpi| acpi.index));
        match place.rom.as_deref() {
            None => props,
            Some(rom) if rom.enabled.is_some_and(|yes| !yes.is_yes()) => props.with("romfile", ""),
            Some(rom) => props
                .maybe("rombar", rom.bar.map(|bar| u32::from(bar.is_on())))
                .maybe("romfile", rom.file.clone()),
        }
    }

    /// A virtio device that is no PCI one: QEMU calls it otherwise, and finds a place for it.
    fn on_mmio(&mut self, mut props: Props) -> Props {
        let driver = props.text("driver").unwrap_or_default().to_owned();
        match driver
            .strip_suffix("-pci")
            .filter(|stem| stem.starts_with("virtio-") || stem.starts_with("vhost-"))
        {
            Some(stem) => props.replace("driver", format!("{stem}-device").into()),
            None => self.refuse(format!("`{driver}` cannot have an address of type 'virtio-mmio'")),
        }
        props
    }

    /// A device of a machine without PCI: virtio where the machine has places for it.
    fn without_bus(&mut self, props: Props) -> Props {
        let driver = props.text("driver").unwrap_or_default().to_owned();
        match self.family {
            Family::Micro if driver.starts_with("virtio-") => self.on_mmio(props),
            _ => {
                self.refuse(format!("this machine has no PCI, which `{driver}` needs"));
                props
            }
        }
    }

    /// Bus and port of a device on USB.
    pub(super) fn usb(&mut self, props: Props, place: &Place) -> Props {
        match &place.address {
            Some(Address::Usb(address)) => {
                let bus = if address.bus == 0 { "usb.0".to_owned() } else { format!("usb{}.0", address.bus) };
                props.with("bus", bus).maybe("port", address.port.clone())
            }
            None => props.with("bus", "usb.0"),
            Some(_) => {
                self.refuse("this device needs an address of type 'usb'");
                props
            }
        }
    }
}

/// The device's alias; [`assign_aliases`](super::assign_aliases) has given one to each.
pub(crate) fn alias(place: &Place) -> &str {
    place.alias.as_ref().map_or("", |alias| alias.name.as_str())
}
