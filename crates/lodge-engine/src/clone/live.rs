//! Clones of a guest that runs: who may be cloned so, and what is planned for it beside a clone's own plan.
//!
//! ```text
//! with memory   the clone goes on where the source is; its network links are down until it is another machine inside
//! --disks-only  the disks as they are at one moment; the clone boots, and is changed inside as one of a guest that is off
//! ```
//!
//! Either way the source's disks are frozen by a snapshot that goes again, with its files, before the clone is known.

use std::{fmt::Write as _, path::PathBuf};

use lodge_api::CloneSpec;
use lodge_domain::{Handle, XmlOptions};
use lodge_model::{
    DomainId, Kind,
    domain::{
        Domain,
        copy::Copied,
        interface::{Interface, InterfaceKind, Link, LinkState},
        lodge::{Origin, OriginKind},
        os::FirmwareFormat,
    },
    xml::escaped,
};
use serde::{Deserialize, Serialize};

use super::{
    place::{How, PlannedDisk},
    plan::Plan,
    source::Source,
};
use crate::{
    Engine,
    error::{EngineError, Result},
};

/// What the names of the snapshots begin with that freeze a source's disks.
pub(crate) const SNAPSHOT: &str = "lodge-clone-";

/// What is said of the inside of a clone with memory until it runs.
pub(crate) const LATER: &str =
    "its identity inside is its source's until it runs, and its interfaces' links are down until then";

/// A source that runs.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// Its memory is cloned too.
    pub with_memory: bool,
    /// Its agent can be asked to hold the file systems still.
    pub has_agent: bool,
}

/// What is done to a running source for a clone; saved with the clone's plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LivePlan {
    /// The source.
    pub guest: DomainId,
    /// The snapshot that freezes its disks.
    pub snapshot: String,
    /// What is asked of it: libvirt's `<domainsnapshot>`.
    pub request: String,
    /// The source's file systems stand still meanwhile.
    pub quiesce: bool,
    /// Its memory, where that is cloned.
    pub memory: Option<MemoryPlan>,
}

/// The memory's way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MemoryPlan {
    /// Where the snapshot puts it.
    pub taken: PathBuf,
    /// The clone's managed save.
    pub kept: PathBuf,
    /// The hardware that the clone was planned for: the memory is of no other.
    pub hardware: String,
    /// The interfaces, by their place, whose link is to be up once the clone is another machine.
    pub up: Vec<usize>,
    /// The links go up whatever became of it.
    pub force: bool,
}

impl Plan {
    /// The memory's way, of a clone that has one.
    pub fn memory(&self) -> Option<&MemoryPlan> {
        self.live.as_ref()?.memory.as_ref()
    }
}

impl Engine {
    /// A guest that runs.
    pub(super) async fn running_source(&self, handle: &Handle, spec: &CloneSpec) -> Result<Source> {
        let (snapshot, name) = (handle.snapshot(), handle.name().to_string());
        if !snapshot.persistent {
            let text = format!("domain `{name}` has no definition");
            return Err(EngineError::new(Kind::InvalidState, text)
                .with_hint("a clone of it can be made once it is defined (lodge define)"));
        }
        let left = handle.snapshots().names().find(|name| name.starts_with(SNAPSHOT)).map(str::to_owned);
        if let Some(left) = left {
            let text = format!("another clone of `{name}` is being made, or left its snapshot `{left}`");
            return Err(EngineError::new(Kind::Busy, text).with_hint(format!(
                "wait for it; if nothing is at work: lodge snapshot delete {name} {left}"
            )));
        }
        let shown = XmlOptions { inactive: false, migratable: true, security_info: true };
        let mut document = Domain::parse(&handle.xml(shown).await?)?;
        for card in &mut document.devices.interfaces {
            // Names that the host gave for this run.
            card.target = card.target.take().filter(|target| !target.dev.starts_with("vnet"));
        }
        let vmm = snapshot.vmm.as_ref();
        let has_agent = vmm.is_some_and(|vmm| vmm.agent_socket.is_some() && vmm.agent_connected);
        let with_memory = !spec.disks_only;
        if with_memory {
            refuse_memory(&name, &document, has_agent, spec)?;
        }
        super::source::refuse_variables_elsewhere(&name, &document)?;
        refuse_variables_in_use(&name, &document)?;
        let nvram = self.nvram_of(&name, &document);
        Ok(Source {
            origin: Origin { kind: OriginKind::Domain, name, version: None },
            document,
            nvram,
            guest: Some(handle.id()),
            bases: Vec::new(),
            live: Some(Live { with_memory, has_agent }),
        })
    }

    /// What is done to the source of `copied`. The clone's links are down, where it has the source's memory.
    pub(super) fn plan_live(
        &self,
        source: &Source,
        live: &Live,
        (spec, name): (&CloneSpec, &str),
        disks: &[PlannedDisk],
        copied: &mut Copied,
    ) -> Result<LivePlan> {
        let missing = || EngineError::new(Kind::Internal, "a running source is no guest");
        let guest = source.guest.ok_or_else(missing)?;
        if disks.iter().any(|disk| disk.how == How::Taken) {
            let text = format!("`{}` runs: its disks are copied, and none is taken as it is", source.said());
            return Err(EngineError::new(Kind::InvalidInput, text)
                .with_hint(format!("shut it down first (lodge shutdown {})", source.said())));
        }
        let snapshot = format!("{SNAPSHOT}{}", name.replace('/', "_"));
        let saves = self.store.root().managed_saves();
        let memory = live.with_memory.then(|| MemoryPlan {
            taken: saves.join(format!("{snapshot}.memory")),
            kept: saves.join(format!("{name}.save")),
            hardware: hardware(&source.document),
            up: unplug(&mut copied.document),
            force: spec.force,
        });
        for file in memory.iter().flat_map(|memory| [&memory.taken, &memory.kept]) {
            if file.symlink_metadata().is_ok() {
                let text = format!("the file `{}` is there already", file.display());
                return Err(EngineError::new(Kind::Exists, text).with_hint(
                    "it may be of an earlier domain of that name: remove it, or choose another name",
                ));
            }
        }
        let quiesce = memory.is_none() && live.has_agent;
        if memory.is_none() && !quiesce {
            copied.warnings.push(
                "the source has no agent that could hold its file systems still: the disks are as after a loss of power"
                    .to_owned(),
            );
        }
        let request = request(&snapshot, memory.as_ref(), &source.document, disks);
        Ok(LivePlan { guest, snapshot, request, quiesce, memory })
    }
}

/// QEMU keeps of a qcow2 what its file lacks for a while: a copy that is made meanwhile may be torn. Raw ones are whole at
/// any time, as firmware has to expect a loss of power.
fn refuse_variables_in_use(name: &str, document: &Domain) -> Result<()> {
    let format = document.os.nvram.as_deref().and_then(|nvram| nvram.format);
    if format != Some(FirmwareFormat::Qcow2) {
        return Ok(());
    }
    let text = format!("domain `{name}` runs, and its UEFI variables are a qcow2: they cannot be copied now");
    Err(EngineError::new(Kind::Unsupported, text)
        .with_hint(format!("shut it down first (lodge shutdown {name}), or give it variables that are raw")))
}

/// Refuses to clone a memory that could not be made another machine's.
fn refuse_memory(name: &str, document: &Domain, has_agent: bool, spec: &CloneSpec) -> Result<()> {
    if spec.keep_identity {
        let text =
            format!("domain `{name}` runs: a clone with its memory and its identity would be it twice");
        return Err(EngineError::new(Kind::InvalidInput, text)
            .with_hint("--disks-only makes a replacement of its disks, for when it is lost"));
    }
    if spec.start && spec.no_start {
        return Err(EngineError::new(Kind::InvalidInput, "a clone is to start and not to start"));
    }
    let has_card = document.devices.interfaces.iter().any(|card| card.kind == InterfaceKind::Hostdev);
    if has_card || !document.devices.hostdevs.is_empty() {
        let text = format!("domain `{name}` has devices of the host's: their state cannot be cloned");
        return Err(EngineError::new(Kind::Unsupported, text)
            .with_hint("--disks-only clones its disks; or detach them first"));
    }
    if document.genid.is_none() && !has_agent && !spec.force {
        let text = format!(
            "domain `{name}` has neither a VM generation id nor a guest agent that answers: a clone with its memory would \
             make the same random numbers and keys as it does, and nothing could tell it"
        );
        return Err(EngineError::new(Kind::Unsupported, text).with_hint(format!(
            "--disks-only clones its disks; or give it <genid/> (lodge edit {name}, at its next start), or install \
             qemu-guest-agent in it; --force clones it all the same"
        )));
    }
    Ok(())
}

/// Takes every link down; says which were up.
fn unplug(document: &mut Domain) -> Vec<usize> {
    let mut up = Vec::new();
    for (at, card) in document.devices.interfaces.iter_mut().enumerate() {
        if card.link.as_ref().is_none_or(|link| link.state == LinkState::Up) {
            up.push(at);
            card.link = Some(Link { state: LinkState::Down, ..Link::default() });
        }
    }
    up
}

/// What may be plugged into a running guest and out of it, and a memory must find again, in a text to compare. What every
/// guest has by itself is left out: documents name it or not.
pub(super) fn hardware(document: &Domain) -> String {
    let devices = &document.devices;
    let disks: Vec<&str> = devices.disks.iter().map(|disk| disk.target.dev.as_str()).collect();
    let cards: Vec<_> = devices.interfaces.iter().map(Interface::mac).collect();
    format!(
        "memory {:?} processors {:?} disks {disks:?} cards {cards:?} channels {} generators {}",
        document.memory.size,
        document.vcpu.as_ref().map(|vcpu| vcpu.count),
        devices.channels.len(),
        devices.rngs.len(),
    )
}

/// libvirt's document of the snapshot: a new file above each disk that is copied, and nothing of the others.
fn request(snapshot: &str, memory: Option<&MemoryPlan>, source: &Domain, disks: &[PlannedDisk]) -> String {
    let mut text = format!(
        "<domainsnapshot><name>{}</name><description>Lodge is making a clone; this goes by itself</description>",
        escaped(snapshot)
    );
    // A String takes all.
    let _ = match memory {
        Some(memory) => {
            write!(
                text,
                "<memory snapshot='external' file='{}'/>",
                escaped(&memory.taken.display().to_string())
            )
        }
        None => write!(text, "<memory snapshot='no'/>"),
    };
    text.push_str("<disks>");
    for disk in &source.devices.disks {
        let target = escaped(&disk.target.dev);
        let _ = match disks.iter().find(|own| own.target == disk.target.dev) {
            None => write!(text, "<disk name='{target}' snapshot='no'/>"),
            Some(own) => {
                let above = escaped(&format!("{}.{snapshot}", own.from.display()));
                write!(
                    text,
                    "<disk name='{target}' snapshot='external' type='file'><driver type='qcow2'/>\
                     <source file='{above}'>{}</source></disk>",
                    // What the guest writes meanwhile is as secret as the rest.
                    own.encryption.as_deref().unwrap_or_default()
                )
            }
        };
    }
    text.push_str("</disks></domainsnapshot>");
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod tests {
    use super::*;

    const DOCUMENT: &str = "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os><devices>
        <disk type='file' device='disk'><source file='/p/a&amp;b.img'/><target dev='vda' bus='virtio'/></disk>
        <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
        <interface type='user'><mac address='52:54:00:00:00:01'/></interface>
        <interface type='user'><mac address='52:54:00:00:00:02'/><link state='down'/></interface></devices></domain>";

    #[test]
    fn only_disks_that_are_copied_are_frozen() {
        let document = Domain::parse(DOCUMENT).unwrap();
        let disk = PlannedDisk {
            target: "vda".into(),
            from: "/p/a&b.img".into(),
            from_format: lodge_storage::Format::Raw,
            to: "/p/c.img".into(),
            format: lodge_storage::Format::Raw,
            how: How::Layer,
            size: None,
            is_encrypted: false,
            encryption: None,
            to_read: Vec::new(),
            backing_store: None,
        };
        let text = request("lodge-clone-b", None, &document, &[disk]);
        assert!(text.contains("<memory snapshot='no'/>"), "{text}");
        assert!(text.contains("<source file='/p/a&amp;b.img.lodge-clone-b'></source>"), "{text}");
        assert!(text.contains("<disk name='sda' snapshot='no'/>"), "{text}");
    }

    #[test]
    fn variables_that_may_be_torn_are_refused() {
        let with = |format: &str| {
            let nvram = format!("<type>hvm</type><nvram format='{format}'>/v</nvram>");
            let text = DOCUMENT.replace("<type>hvm</type>", &nvram);
            refuse_variables_in_use("a", &Domain::parse(&text).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(with("raw"), Ok(()));
        assert!(with("qcow2").unwrap_err().contains("UEFI variables are a qcow2"));
    }

    #[test]
    fn links_that_were_up_are_remembered() {
        let mut document = Domain::parse(DOCUMENT).unwrap();
        let before = hardware(&document);
        assert_eq!(unplug(&mut document), [0]);
        assert!(
            document
                .devices
                .interfaces
                .iter()
                .all(|card| { card.link.as_ref().is_some_and(|link| link.state == LinkState::Down) })
        );
        assert_eq!(hardware(&document), before);
        document.devices.interfaces.pop();
        assert_ne!(hardware(&document), before);
    }
}
