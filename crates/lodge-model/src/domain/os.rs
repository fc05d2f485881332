//! `<os>`: machine, firmware, kernel, boot order; and `<sysinfo>`.

use super::disk::{DiskSource, SourceKind};
use crate::xml::words::{YesNo, words};
use crate::xml::{Foreign, Xml};

/// `<os>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Os {
    /// `firmware='efi'`: libvirt picks loader and NVRAM itself.
    #[xml(attr)]
    pub firmware: Option<Firmware>,
    /// `<type arch='x86_64' machine='pc-q35-3.1'>hvm</type>`.
    #[xml(child = "type")]
    pub kind: OsType,
    /// `<firmware><feature …/></firmware>`.
    #[xml(child = "firmware")]
    pub firmware_features: Option<Box<FirmwareFeatures>>,
    /// `<loader …>PATH</loader>`.
    #[xml(child)]
    pub loader: Option<Box<Loader>>,
    /// `<nvram …>PATH</nvram>`.
    #[xml(child)]
    pub nvram: Option<Box<Nvram>>,
    /// Direct boot: path of the kernel.
    #[xml(leaf)]
    pub kernel: Option<String>,
    /// Direct boot: path of the initial RAM disk.
    #[xml(leaf)]
    pub initrd: Option<String>,
    /// Direct boot: the kernel's command line.
    #[xml(leaf)]
    pub cmdline: Option<String>,
    /// Direct boot: path of the device tree.
    #[xml(leaf)]
    pub dtb: Option<String>,
    /// Direct boot: path of what is started before the kernel (UEFI's shim).
    #[xml(leaf)]
    pub shim: Option<String>,
    /// `<acpi>`, kept as it is.
    #[xml(kept = "acpi")]
    pub acpi: Foreign,
    /// `<boot dev='hd'/>`, in order of trial.
    #[xml(children = "boot")]
    pub boot: Vec<BootDevice>,
    /// `<bootmenu enable='yes' timeout='3000'/>`.
    #[xml(child = "bootmenu")]
    pub boot_menu: Option<BootMenu>,
    /// `<bios useserial='yes' rebootTimeout='0'/>`.
    #[xml(child)]
    pub bios: Option<Bios>,
    /// `<smbios mode='sysinfo'/>`.
    #[xml(child)]
    pub smbios: Option<Smbios>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "init initarg initenv initdir inituser initgroup varstore root")]
    pub foreign: Foreign,
}

/// `<type arch='x86_64' machine='pc-q35-3.1'>hvm</type>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct OsType {
    /// Processor architecture, `x86_64`.
    #[xml(attr)]
    pub arch: Option<String>,
    /// Machine type, `pc-q35-3.1`.
    #[xml(attr)]
    pub machine: Option<String>,
    /// `hvm` for full virtualization.
    #[xml(text)]
    pub text: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Firmware to be chosen automatically.
    pub enum Firmware { Bios = "bios", Efi = "efi" }
}

/// `<firmware>` inside `<os>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FirmwareFeatures {
    /// `<feature enabled='yes' name='secure-boot'/>`.
    #[xml(children = "feature")]
    pub features: Vec<FirmwareFeature>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// One wanted or unwanted firmware feature.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FirmwareFeature {
    /// Whether it must be there or must not.
    #[xml(attr)]
    pub enabled: YesNo,
    /// `secure-boot` or `enrolled-keys`.
    #[xml(attr)]
    pub name: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// How the firmware image is mapped.
    pub enum LoaderKind { Rom = "rom", Pflash = "pflash" }
}

words! {
    /// Format of a firmware or NVRAM image.
    pub enum FirmwareFormat { Raw = "raw", Qcow2 = "qcow2" }
}

/// `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Loader {
    /// Whether the guest must not write it.
    #[xml(attr)]
    pub readonly: Option<YesNo>,
    /// Whether it needs SMM.
    #[xml(attr)]
    pub secure: Option<YesNo>,
    /// How it is mapped.
    #[xml(attr = "type")]
    pub kind: Option<LoaderKind>,
    /// Whether it works without NVRAM.
    #[xml(attr)]
    pub stateless: Option<YesNo>,
    /// The image's format.
    #[xml(attr)]
    pub format: Option<FirmwareFormat>,
    /// The image's path.
    #[xml(text)]
    pub path: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<nvram template='…'>PATH</nvram>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Nvram {
    /// What a new NVRAM is copied from.
    #[xml(attr)]
    pub template: Option<String>,
    /// The template's format.
    #[xml(attr = "templateFormat")]
    pub template_format: Option<FirmwareFormat>,
    /// Where the guest's own copy is, if `<source>` says it; a file otherwise.
    #[xml(attr = "type")]
    pub kind: Option<SourceKind>,
    /// The image's format.
    #[xml(attr)]
    pub format: Option<FirmwareFormat>,
    /// The guest's own copy.
    #[xml(text)]
    pub path: Option<String>,
    /// The guest's own copy, where `kind` is said.
    #[xml(child)]
    pub source: Option<Box<DiskSource>>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl Nvram {
    /// The file of this host with the variables, whichever way it is said.
    pub fn file(&self) -> Option<&str> {
        let source = self.source.as_deref().and_then(|source| source.file.as_deref());
        source.or(self.path.as_deref())
    }
}

words! {
    /// What to boot from.
    pub enum BootSource { Fd = "fd", Cdrom = "cdrom", Hd = "hd", Network = "network" }
}

/// `<boot dev='hd'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct BootDevice {
    /// The sort of device.
    #[xml(attr, required)]
    pub dev: BootSource,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<bootmenu enable='yes' timeout='3000'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct BootMenu {
    /// Whether it is shown.
    #[xml(attr)]
    pub enable: Option<YesNo>,
    /// For how many milliseconds.
    #[xml(attr = "timeout")]
    pub timeout_ms: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<bios useserial='yes' rebootTimeout='0'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Bios {
    /// Whether its output goes to the serial port.
    #[xml(attr = "useserial")]
    pub use_serial: Option<YesNo>,
    /// Milliseconds until it tries again; -1 never.
    #[xml(attr = "rebootTimeout")]
    pub reboot_timeout_ms: Option<i32>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Where the guest's SMBIOS tables come from.
    pub enum SmbiosMode { Emulate = "emulate", Host = "host", Sysinfo = "sysinfo" }
}

/// `<smbios mode='sysinfo'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Smbios {
    /// Where they come from.
    #[xml(attr, required)]
    pub mode: SmbiosMode,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Sorts of `<sysinfo>`.
    pub enum SysinfoKind { Smbios = "smbios", Fwcfg = "fwcfg" }
}

/// `<sysinfo type='smbios'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Sysinfo {
    /// Which table.
    #[xml(attr = "type", required)]
    pub kind: SysinfoKind,
    /// SMBIOS type 0.
    #[xml(child)]
    pub bios: Option<SysinfoBlock>,
    /// SMBIOS type 1.
    #[xml(child)]
    pub system: Option<SysinfoBlock>,
    /// SMBIOS type 2.
    #[xml(children = "baseBoard")]
    pub base_boards: Vec<SysinfoBlock>,
    /// SMBIOS type 3.
    #[xml(child)]
    pub chassis: Option<SysinfoBlock>,
    /// SMBIOS type 11.
    #[xml(child = "oemStrings")]
    pub oem_strings: Option<SysinfoBlock>,
    /// Of fwcfg: entries with a file or a text.
    #[xml(children = "entry")]
    pub entries: Vec<SysinfoEntry>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl Sysinfo {
    /// Reads the text of one `<sysinfo>`.
    pub fn parse(xml: &str) -> Result<Option<Self>, crate::Faults> {
        let whole = format!(
            "<domain type='kvm'><name>x</name><memory>1</memory><os><type>hvm</type></os>{}</domain>",
            xml.trim()
        );
        Ok(super::Domain::parse(&whole)?.sysinfo.into_iter().next())
    }
}

/// A block of `<entry>`s.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SysinfoBlock {
    /// Its entries.
    #[xml(children = "entry")]
    pub entries: Vec<SysinfoEntry>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<entry name='manufacturer'>Example</entry>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SysinfoEntry {
    /// The entry's name; none in `<oemStrings>`.
    #[xml(attr)]
    pub name: Option<String>,
    /// A file with the value (fwcfg).
    #[xml(attr)]
    pub file: Option<String>,
    /// The value.
    #[xml(text)]
    pub value: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
