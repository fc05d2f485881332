//! Who stands on a file that a guest is about to write: the question of every start and of every disk that is plugged in.
//!
//! [`Storage::who_needs`](crate::Storage::who_needs) knows that too, but looks at every file of every pool for it. Here
//! only what somebody names is followed: the disks of other guests, the files of their snapshots, templates. What nobody
//! names stands in nobody's way. What was seen of those files is kept, and they are looked at again when the kernel tells
//! of a change; so a start asks for one directory per pool, not for one file per guest. Where nothing would be told
//! (network file systems, devices, files of several names) it is a `stat` per file, and a header is read again when its
//! file has changed only.
//!
//! ```text
//!  what is named ──▶ looks.rs: a thread per mount; what may have changed ──▶ seen ──▶ judge.rs, pure: who reaches the file?
//!                      │  └─ dirs.rs: what the kernel tells of directories               └─ somebody: looked at once more
//!                      └─ one that does not answer: judged by what was last seen, and asked by nobody until it answers
//! ```
//!
//! A guest's own disks and snapshots are no reason: a snapshot's overlay stands on what was the disk before. Deliberately
//! absent: files that two guests name as their disk (the second writer is refused when the first has it), and backing
//! files that a document names and no header does: a start goes by headers.

mod dirs;
mod judge;
mod looks;

use std::{
    collections::HashSet,
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use lodge_model::DomainId;

use self::judge::{Hit, Named, judge};
pub(crate) use self::looks::Standing;
use super::snapshots::SnapshotFiles;
use crate::{
    Storage, claim::Examined, error::StorageError, file::FileId, limits, pool::backend::mount::table::entries,
};

/// Who stands on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stander {
    /// A guest's disk.
    Disk {
        /// The guest.
        guest: Arc<str>,
        /// The disk's target.
        target: String,
        /// Its own file.
        file: PathBuf,
    },
    /// A snapshot of a guest.
    Snapshot {
        /// The guest.
        guest: Arc<str>,
        /// The snapshot's name.
        snapshot: Arc<str>,
        /// Its file that stands there; none: it is kept in the very file.
        file: Option<PathBuf>,
    },
    /// A template.
    Template {
        /// Its file.
        file: PathBuf,
    },
}

impl Stander {
    /// What to do so that the file may be written.
    pub fn next_step(&self) -> String {
        match self {
            Self::Disk { guest, file, .. } => format!(
                "let that disk stand alone first, while '{guest}' is off (lodge chain flatten {}), give this guest another \
                 disk, or mark its disk `<readonly/>`",
                file.display()
            ),
            Self::Snapshot { guest, snapshot, .. } => format!(
                "delete the snapshot first (lodge snapshot-delete {guest} {snapshot}), or give this guest another disk"
            ),
            Self::Template { file } => format!(
                "let the template stand alone first (lodge chain flatten {}), or give this guest another disk",
                file.display()
            ),
        }
    }
}

impl fmt::Display for Stander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { guest, target, file } => {
                write!(f, "`{}`, disk {target} of domain '{guest}', stands on it", file.display())
            }
            Self::Snapshot { guest, snapshot, file: None } => {
                write!(f, "snapshot '{snapshot}' of domain '{guest}' is kept in it")
            }
            Self::Snapshot { guest, snapshot, file: Some(file) } => {
                write!(f, "`{}`, of snapshot '{snapshot}' of domain '{guest}', stands on it", file.display())
            }
            Self::Template { file } => write!(f, "the template `{}` stands on it", file.display()),
        }
    }
}

impl Storage {
    /// Refuses to let `domain` (called `name`) write to a file that somebody else stands on.
    pub(crate) async fn refuse_stood_on(
        &self,
        domain: DomainId,
        name: &str,
        examined: &[Examined],
    ) -> Result<(), StorageError> {
        let tops: Arc<[(FileId, PathBuf)]> = examined.iter().filter_map(Examined::written).collect();
        if tops.is_empty() {
            return Ok(());
        }
        let named = Arc::new(self.named_by_others(domain, name).await?);
        let Some(hit) = self.stander(&named, &tops).await? else { return Ok(()) };
        // Nobody is refused by what is not looked at now.
        self.sight().standing().doubt(&hit.via);
        match self.stander(&named, &tops).await? {
            Some(Hit { path, by, .. }) => Err(StorageError::StoodOn { path, by: Box::new(by) }),
            None => Ok(()),
        }
    }

    async fn stander(
        &self,
        named: &Arc<Named>,
        tops: &Arc<[(FileId, PathBuf)]>,
    ) -> Result<Option<Hit>, StorageError> {
        self.see(named).await;
        let (standing, named, tops) = (self.sight().standing().clone(), Arc::clone(named), Arc::clone(tops));
        let look = move || Ok(judge(&named, &standing.table().seen, &tops));
        self.blocking(Path::new("/"), limits::LOOK, look).await
    }

    /// Looks at all that is named, so that the first start finds it seen.
    pub async fn see_what_stands(&self) -> Result<(), StorageError> {
        let named = self.named_by_others(DomainId::random(), "").await?;
        self.see(&named).await;
        Ok(())
    }

    async fn named_by_others(&self, domain: DomainId, name: &str) -> Result<Named, StorageError> {
        let mut named = Named { written: self.claims().written_by_others(domain), ..Named::default() };
        if let Some(guests) = self.guests() {
            let list = move || {
                let mut all = guests.named();
                all.retain(|guest| guest.id != domain);
                Ok(all)
            };
            named.guests = self.blocking(Path::new("/"), limits::LOOK, list).await?;
        }
        named.mounts = self.blocking(Path::new("/proc"), limits::LOOK, || Ok(mounts())).await?;
        named.templates = self.templates().await?;
        let snapshots = self.snapshot_files().await?;
        if !snapshots.is_empty() {
            // What a guest left that is gone is nobody's.
            let there: HashSet<&str> = named.guests.iter().map(|guest| &*guest.name).collect();
            let counts =
                |snapshot: &Arc<SnapshotFiles>| *snapshot.guest != *name && there.contains(&*snapshot.guest);
            named.snapshots = snapshots.into_iter().filter(counts).collect();
        }
        Ok(named)
    }
}

/// Where file systems are mounted, as the kernel has it. None where it does not tell.
fn mounts() -> HashSet<PathBuf> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    entries(&text).map(|entry| entry.target).collect()
}
