//! `<qemu:capabilities>`, `<qemu:override>`, `<qemu:deprecation>`: QEMU's own namespace, beside `<qemu:commandline>`.

use crate::xml::words::words;
use crate::xml::{Foreign, Xml};

/// `<qemu:capabilities>`: what libvirt is to take QEMU to be able, whatever it found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct QemuCapabilities {
    /// `<qemu:add capability='…'/>`.
    #[xml(children = "qemu:add")]
    pub added: Vec<QemuCapability>,
    /// `<qemu:del capability='…'/>`.
    #[xml(children = "qemu:del")]
    pub removed: Vec<QemuCapability>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// One of libvirt's names of what a QEMU is able.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct QemuCapability {
    /// The name.
    #[xml(attr, required)]
    pub capability: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<qemu:override>`: properties of devices that are set otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct QemuOverride {
    /// `<qemu:device alias='…'>`.
    #[xml(children = "qemu:device")]
    pub devices: Vec<QemuDevice>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<qemu:device alias='ua-disk'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct QemuDevice {
    /// Which device.
    #[xml(attr, required)]
    pub alias: String,
    /// `<qemu:frontend>`.
    #[xml(child = "qemu:frontend")]
    pub frontend: Option<QemuFrontend>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// What the guest sees of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct QemuFrontend {
    /// `<qemu:property name='…' type='…' value='…'/>`.
    #[xml(children = "qemu:property")]
    pub properties: Vec<QemuProperty>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// What a property's value is.
    pub enum QemuPropertyKind { String = "string", Signed = "signed", Unsigned = "unsigned", Bool = "bool", Remove = "remove" }
}

/// `<qemu:property name='x-prop' type='unsigned' value='3'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct QemuProperty {
    /// The property.
    #[xml(attr, required)]
    pub name: String,
    /// What its value is; `remove`: it is not set at all.
    #[xml(attr = "type", required)]
    pub kind: QemuPropertyKind,
    /// Its value.
    #[xml(attr)]
    pub value: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// What QEMU does about what is deprecated.
    pub enum Deprecation { None = "none", Omit = "omit", Reject = "reject", Crash = "crash" }
}

/// `<qemu:deprecation behavior='omit'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct QemuDeprecation {
    /// What it does.
    #[xml(attr)]
    pub behavior: Option<Deprecation>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
