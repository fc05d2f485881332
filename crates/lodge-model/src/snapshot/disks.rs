//! `<disks>` of a snapshot.

use super::Location;
use crate::domain::disk::{DiskSource, SourceKind};
use crate::xml::{Foreign, Xml};

/// `<disks>`, `<revertDisks>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SnapshotDisks {
    /// One per disk of the guest, once aligned.
    #[xml(children = "disk")]
    pub disks: Vec<SnapshotDisk>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<disk name='vda' snapshot='external' type='file'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SnapshotDisk {
    /// The disk's target; in requests also its path.
    #[xml(attr)]
    pub name: Option<String>,
    /// Where its state is.
    #[xml(attr)]
    pub snapshot: Option<Location>,
    /// What the new file is, if it is external.
    #[xml(attr = "type")]
    pub kind: Option<SourceKind>,
    /// A delete that merges into it has begun and not ended.
    #[xml(flag = "snapshotDeleteInProgress")]
    pub delete_in_progress: bool,
    /// The new file's format.
    #[xml(child)]
    pub driver: Option<SnapshotDriver>,
    /// The new file, which the guest writes from then on.
    #[xml(child)]
    pub source: Option<Box<DiskSource>>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<driver type='qcow2'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct SnapshotDriver {
    /// The format.
    #[xml(attr = "type")]
    pub format: Option<String>,
    /// What this struct does not know.
    #[xml(foreign, keeps = "metadata_cache")]
    pub foreign: Foreign,
}

impl SnapshotDisk {
    /// A disk without anything of its own.
    pub fn new(name: &str, snapshot: Location) -> Self {
        Self { name: Some(name.to_owned()), snapshot: Some(snapshot), ..Self::default() }
    }

    /// An external one.
    pub fn external(name: &str, path: &str, format: &str) -> Self {
        let mut disk = Self::new(name, Location::External);
        disk.set_path(path.to_owned());
        disk.driver = Some(SnapshotDriver { format: Some(format.to_owned()), ..SnapshotDriver::default() });
        disk
    }

    /// The disk's target.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// Where its state is.
    pub fn location(&self) -> Location {
        self.snapshot.unwrap_or_default()
    }

    /// The new file.
    pub fn path(&self) -> Option<&str> {
        let source = self.source.as_deref()?;
        match self.kind.unwrap_or(SourceKind::File) {
            SourceKind::File => source.file.as_deref(),
            SourceKind::Block => source.dev.as_deref(),
            _ => None,
        }
    }

    /// The new file's format.
    pub fn format(&self) -> Option<&str> {
        self.driver.as_ref().and_then(|driver| driver.format.as_deref())
    }

    pub(super) fn set_path(&mut self, path: String) {
        self.kind = Some(SourceKind::File);
        self.source.get_or_insert_default().file = Some(path);
    }

    pub(super) fn set_format(&mut self, format: &str) {
        self.kind.get_or_insert(SourceKind::File);
        self.driver.get_or_insert_default().format = Some(format.to_owned());
    }
}
