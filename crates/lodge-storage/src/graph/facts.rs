//! What a file's header says, read once per state of the file.

use std::{collections::HashMap, fs::File, io, sync::Arc};

use crate::{
    file::FileId,
    qcow2::Backing,
    vol::{facts::Stamp, kind::VolumeFormat, probe::probe},
};

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// What the bytes look like.
    pub format: VolumeFormat,
    /// The disk's size, where the format tells.
    pub capacity: Option<u64>,
    /// What it stands on, in the header's words.
    pub backing: Option<Backing>,
    /// Snapshots are kept inside.
    pub has_snapshots: bool,
}

impl Facts {
    /// Of a file that cannot be read.
    pub fn unknown() -> Self {
        Self { format: VolumeFormat::Raw, capacity: None, backing: None, has_snapshots: false }
    }

    /// Reads them from an open file of `length` bytes.
    pub fn read(file: &File, length: u64) -> io::Result<Self> {
        let looks = probe(file, length)?;
        let has_snapshots = looks.qcow2.as_ref().is_some_and(|header| header.has_snapshots);
        let backing = looks.qcow2.and_then(|header| header.backing);
        Ok(Self { format: looks.format, capacity: looks.capacity, backing, has_snapshots })
    }
}

/// Facts by file, each with the state they were read in.
#[derive(Debug, Default)]
pub(crate) struct Known {
    files: HashMap<FileId, (Stamp, Arc<Facts>)>,
}

impl Known {
    pub fn of(&self, id: FileId, stamp: Stamp) -> Option<Arc<Facts>> {
        let (known, facts) = self.files.get(&id)?;
        (*known == stamp).then(|| Arc::clone(facts))
    }

    pub fn note(&mut self, id: FileId, stamp: Stamp, facts: Arc<Facts>) {
        self.files.insert(id, (stamp, facts));
    }

    /// Forgets files that were not seen for long, so that the table has an end.
    pub fn keep_only(&mut self, count: usize, is_there: impl Fn(&FileId) -> bool) {
        if self.files.len() > count.saturating_mul(2).max(1024) {
            self.files.retain(|id, _| is_there(id));
        }
    }
}
