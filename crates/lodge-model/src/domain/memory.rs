//! `<memory>`, `<memoryBacking>`, `<resource>`, `<qemu:commandline>`.

use crate::Bytes;
use crate::xml::words::{OnOff, words};
use crate::xml::{Element, Foreign, ForeignItem, Node, Reader, Writer, Xml, attribute_key};

/// `<memory unit='KiB' dumpCore='off'>4194304</memory>`; read in any unit, written in KiB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// How much.
    pub size: Bytes,
    /// `<maxMemory slots='16'>`: slots for modules.
    pub slots: Option<u32>,
    /// Whether it stands in a core dump.
    pub dump_core: Option<OnOff>,
    /// What this struct does not know.
    pub foreign: Foreign,
}

impl From<Bytes> for Memory {
    fn from(size: Bytes) -> Self {
        Self { size, ..Self::default() }
    }
}

/// libvirt counts memory in this unit.
const KIB: &str = "KiB";

impl Element for Memory {
    fn read(node: Node<'_, '_>, _tag: &str, reader: &mut Reader<'_>) -> Option<Self> {
        let size = read_scaled(node, KIB, reader);
        let mut made = Self::default();
        for attribute in node.attributes() {
            match attribute_key(&attribute) {
                "unit" => {}
                "slots" => made.slots = reader.attribute(node, &attribute),
                "dumpCore" => made.dump_core = reader.attribute(node, &attribute),
                _ => reader.unknown_attribute(node, &attribute, Some(&mut made.foreign), false),
            }
        }
        // libvirt keeps KiB and rounds up.
        made.size = Bytes::from_kib(size?.kib());
        Some(made)
    }

    fn write_attributes(&self, writer: &mut Writer) {
        if let Some(slots) = &self.slots {
            writer.attribute("slots", slots);
        }
        if let Some(dump_core) = &self.dump_core {
            writer.attribute("dumpCore", dump_core);
        }
        writer.word_attribute("unit", KIB);
        writer.foreign_attributes(&self.foreign);
    }

    fn write_content(&self, writer: &mut Writer) {
        writer.text(&self.size.kib());
    }

    fn visit_foreign<'a>(&'a self, visit: &mut dyn FnMut(&'a ForeignItem)) {
        self.foreign.items().iter().for_each(visit);
    }
}

/// Reads a number with its `unit` attribute.
pub(crate) fn read_scaled(node: Node<'_, '_>, unit: &str, reader: &mut Reader<'_>) -> Option<Bytes> {
    let Some(number) = reader.text::<u64>(node) else {
        reader.fault_unless_any(node, "a number is missing");
        return None;
    };
    let unit = node.attribute("unit").unwrap_or(unit);
    Bytes::scaled(number, unit).map_err(|error| reader.fault(node, error.to_string())).ok()
}

/// `<memoryBacking>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct MemoryBacking {
    /// `<hugepages/>`.
    #[xml(child)]
    pub hugepages: Option<Hugepages>,
    /// Pages are not merged with other guests'.
    #[xml(flag = "nosharepages")]
    pub no_share_pages: bool,
    /// Pages are locked into memory.
    #[xml(flag)]
    pub locked: bool,
    /// `<source type='memfd'/>`.
    #[xml(child)]
    pub source: Option<MemorySource>,
    /// `<access mode='shared'/>`.
    #[xml(child)]
    pub access: Option<MemoryAccess>,
    /// `<allocation mode='immediate' threads='8'/>`.
    #[xml(child)]
    pub allocation: Option<MemoryAllocation>,
    /// Contents may be thrown away at the end.
    #[xml(flag)]
    pub discard: bool,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<hugepages>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Hugepages {
    /// `<page size='2048' unit='KiB' nodeset='0'/>`.
    #[xml(children = "page")]
    pub pages: Vec<HugePage>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<page size='2048' unit='KiB'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct HugePage {
    /// Counted in `unit`.
    #[xml(attr, required)]
    pub size: u64,
    /// The unit; KiB after completion.
    #[xml(attr)]
    pub unit: Option<String>,
    /// Which guest cells.
    #[xml(attr)]
    pub nodeset: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// What backs memory.
    pub enum MemorySourceKind { File = "file", Anonymous = "anonymous", Memfd = "memfd" }
}

/// `<source type='memfd'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct MemorySource {
    /// What backs it.
    #[xml(attr = "type", required)]
    pub kind: MemorySourceKind,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Who sees the memory.
    pub enum MemoryAccessMode { Shared = "shared", Private = "private" }
}

/// `<access mode='shared'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct MemoryAccess {
    /// Who sees it.
    #[xml(attr, required)]
    pub mode: MemoryAccessMode,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// When memory is taken.
    pub enum MemoryAllocationMode { Immediate = "immediate", OnDemand = "ondemand" }
}

/// `<allocation mode='immediate' threads='8'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct MemoryAllocation {
    /// When it is taken.
    #[xml(attr)]
    pub mode: Option<MemoryAllocationMode>,
    /// By how many threads.
    #[xml(attr)]
    pub threads: Option<u32>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<resource>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Resource {
    /// Path of the cgroup.
    #[xml(leaf)]
    pub partition: Option<String>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "fibrechannel")]
    pub foreign: Foreign,
}

/// `<qemu:commandline>`: words passed through to QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct QemuCommandline {
    /// `<qemu:arg value='…'/>`.
    #[xml(children = "qemu:arg")]
    pub args: Vec<QemuArg>,
    /// `<qemu:env name='…' value='…'/>`.
    #[xml(children = "qemu:env")]
    pub env: Vec<QemuEnv>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<qemu:arg value='-newarg'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct QemuArg {
    /// The word.
    #[xml(attr, required)]
    pub value: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<qemu:env name='QEMU_ENV' value='VAL'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct QemuEnv {
    /// The variable.
    #[xml(attr, required)]
    pub name: String,
    /// Its value.
    #[xml(attr)]
    pub value: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<genid>…</genid>`: changes whenever the guest may run twice; empty: made at the definition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct Genid {
    /// A UUID.
    #[xml(text)]
    pub uuid: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}
