//! The snapshot document: libvirt's `<domainsnapshot>`, and the tree that a domain's snapshots make.
//!
//! ```text
//!  a request ──▶ parse_request ─▶ complete ─▶ align ─▶ check ──▶ create
//!  a document kept or given back ──▶ parse_file, parse_redefinition
//!  all of a domain ──▶ tree::SnapshotTree: current, parents, children, which are to be listed
//! ```
//!
//! A snapshot holds the guest's whole document (and the definition's, where that differs), so that a revert brings the
//! machine back and not only its bytes. Element order is libvirt's output order (snapshot_conf.c). Pure: who keeps the
//! files is lodge-store, what is done to disks is lodge-domain.

mod align;
mod check;
mod disks;
mod fault;
pub mod tree;

use crate::domain::Domain;
use crate::xml::words::words;
use crate::xml::{Foreign, ParseOptions, WriteOptions, Xml};

pub use align::Defaults;
pub use check::{Plan, State};
pub use disks::{SnapshotDisk, SnapshotDisks, SnapshotDriver};
pub use fault::{SnapshotFault, SnapshotSort};

words! {
    /// Where a snapshot keeps a disk's or the memory's bytes.
    pub enum Location { No = "no", Internal = "internal", External = "external", Manual = "manual" }
}

words! {
    /// What the guest did when the snapshot was taken (virDomainSnapshotState).
    pub enum SnapshotState {
        NoState = "nostate", Running = "running", Blocked = "blocked", Paused = "paused", Shutdown = "shutdown",
        Shutoff = "shutoff", Crashed = "crashed", PmSuspended = "pmsuspended", DiskSnapshot = "disk-snapshot",
    }
}

impl SnapshotState {
    /// The guest's memory belongs to it.
    pub const fn is_online(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// A snapshot: libvirt's `<domainsnapshot>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct DomainSnapshot {
    /// Its name, one of the domain's.
    #[xml(leaf)]
    pub name: Option<String>,
    /// A text for people.
    #[xml(leaf)]
    pub description: Option<String>,
    /// What the guest did.
    #[xml(leaf)]
    pub state: Option<SnapshotState>,
    /// The snapshot that was current when it was taken.
    #[xml(child)]
    pub parent: Option<SnapshotParent>,
    /// When it was taken, in seconds since 1970.
    #[xml(leaf = "creationTime")]
    pub creation_time: Option<i64>,
    /// Where the guest's memory is.
    #[xml(child)]
    pub memory: Option<SnapshotMemory>,
    /// Where each disk's state is.
    #[xml(child)]
    pub disks: Option<SnapshotDisks>,
    /// The files the guest writes since a revert to it, if it has children on its own.
    #[xml(child = "revertDisks")]
    pub revert_disks: Option<SnapshotDisks>,
    /// The guest's document.
    #[xml(child)]
    pub domain: Option<Box<Domain>>,
    /// The definition, where the running guest had another.
    #[xml(child = "inactiveDomain")]
    pub inactive_domain: Option<Box<Domain>>,
    /// `<cookie>`, kept as it is: what libvirt wants to know of QEMU at a revert.
    #[xml(kept = "cookie")]
    pub cookie: Foreign,
    /// In files only: whether it is the current one.
    #[xml(leaf)]
    pub active: Option<u8>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<parent><name>…</name></parent>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SnapshotParent {
    /// The parent's name.
    #[xml(leaf)]
    pub name: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<memory snapshot='external' file='/…'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SnapshotMemory {
    /// Where it is.
    #[xml(attr)]
    pub snapshot: Option<Location>,
    /// The file, if it is external.
    #[xml(attr)]
    pub file: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl DomainSnapshot {
    /// Reads what somebody wants taken. What only a taken snapshot has (state, parent, documents) is not looked at.
    /// `offline`: there is no memory to be taken.
    pub fn parse_request(text: &str, offline: bool, strict: bool) -> Result<Self, SnapshotFault> {
        let text = fault::without_documents(text)?;
        let mut snapshot = Self::read(&text, strict)?;
        (snapshot.state, snapshot.parent, snapshot.active) = (None, None, None);
        (snapshot.creation_time, snapshot.revert_disks, snapshot.cookie) = (None, None, Foreign::default());
        snapshot.check_parts(offline, false)?;
        Ok(snapshot)
    }

    /// Reads a snapshot that is given back as it was (`--redefine`).
    pub fn parse_redefinition(text: &str, strict: bool) -> Result<Self, SnapshotFault> {
        let mut snapshot = Self::read_kept(text, strict)?;
        snapshot.active = None;
        Ok(snapshot)
    }

    /// Reads a file of libvirt's or ours; the second: whether it is the current one.
    pub fn parse_file(text: &str) -> Result<(Self, bool), SnapshotFault> {
        let mut snapshot = Self::read_kept(text, false)?;
        let active = snapshot.active.take();
        active
            .map(|active| (snapshot, active != 0))
            .ok_or_else(|| SnapshotFault::new(SnapshotSort::Internal, "Could not find 'active' element"))
    }

    fn read(text: &str, strict: bool) -> Result<Self, SnapshotFault> {
        crate::xml::parse(text, "domainsnapshot", ParseOptions { strict }).map_err(SnapshotFault::Document)
    }

    fn read_kept(text: &str, strict: bool) -> Result<Self, SnapshotFault> {
        let xml = |text: &str| SnapshotFault::new(SnapshotSort::Xml, text);
        let text = fault::without_bare_domain(text)?;
        let mut snapshot = Self::read(&text, strict)?;
        if snapshot.name.is_none() {
            return Err(xml("a redefined snapshot must have a name"));
        }
        if snapshot.creation_time.is_none() {
            let text = "missing creationTime from existing snapshot";
            return Err(SnapshotFault::new(SnapshotSort::Internal, text));
        }
        let offline = match snapshot.state {
            None => return Err(xml("missing state from existing snapshot")),
            Some(SnapshotState::NoState) => {
                let text = "Invalid state 'nostate' in domain snapshot XML";
                return Err(SnapshotFault::new(SnapshotSort::ConfigUnsupported, text));
            }
            Some(state) => matches!(state, SnapshotState::Shutoff | SnapshotState::DiskSnapshot),
        };
        snapshot.check_parts(offline, true)?;
        Ok(snapshot)
    }

    /// Gives it a time, and a name if it has none: the time's.
    pub fn complete(&mut self, now_unix_s: i64) {
        self.creation_time = Some(now_unix_s);
        if self.name.as_deref().is_none_or(str::is_empty) {
            self.name = Some(now_unix_s.to_string());
        }
    }

    /// Writes it as clients see it.
    pub fn to_xml(&self, security_info: bool) -> String {
        let shown = Self { active: None, ..self.clone() };
        let options = WriteOptions { inactive: true, security_info, migratable: false };
        crate::xml::write(&shown, "domainsnapshot", options)
    }

    /// Writes it as it is kept.
    pub fn to_file(&self, current: bool) -> String {
        let kept = Self { active: Some(u8::from(current)), ..self.clone() };
        crate::xml::write(&kept, "domainsnapshot", WriteOptions::STORED)
    }

    /// Its name; every snapshot has one once it is complete.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// Its parent's name.
    pub fn parent(&self) -> Option<&str> {
        self.parent.as_ref().map(|parent| parent.name.as_str())
    }

    /// Sets its parent.
    pub fn set_parent(&mut self, name: Option<&str>) {
        self.parent = name.map(|name| SnapshotParent { name: name.to_owned(), ..SnapshotParent::default() });
    }

    /// What the guest did; unknown counts as nothing known.
    pub fn state(&self) -> SnapshotState {
        self.state.unwrap_or_default()
    }

    /// Where the memory is.
    pub fn memory(&self) -> Location {
        self.memory.as_ref().and_then(|memory| memory.snapshot).unwrap_or_default()
    }

    /// The file of the memory, if it is external.
    pub fn memory_file(&self) -> Option<&str> {
        self.memory.as_ref().and_then(|memory| memory.file.as_deref())
    }

    /// What the guest does, and where its memory goes.
    pub fn set_state(&mut self, state: SnapshotState, memory: Location) {
        self.state = Some(state);
        self.set_memory(memory);
    }

    pub(crate) fn set_memory(&mut self, location: Location) {
        self.memory.get_or_insert_default().snapshot = Some(location);
    }

    /// Its disks, as far as they are told.
    pub fn disks(&self) -> &[SnapshotDisk] {
        self.disks.as_ref().map_or(&[], |disks| &disks.disks)
    }

    /// Whether any part of it lies outside the images it was taken of.
    pub fn is_external(&self) -> bool {
        self.memory() == Location::External
            || self.disks().iter().any(|disk| disk.snapshot == Some(Location::External))
    }

    /// The definition it holds: the guest's own where the running guest had no other.
    pub fn definition(&self) -> Option<&Domain> {
        self.inactive_domain.as_deref().or(self.domain.as_deref())
    }
}

#[cfg(test)]
mod tests;
