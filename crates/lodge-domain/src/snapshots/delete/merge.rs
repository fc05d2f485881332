//! Content goes down into the file below: by `qemu-img` while the guest is off, by QEMU itself while it runs.
//!
//! ```text
//!  mark (the snapshot is half there: nobody goes back to it) ─▶ merge ─▶ …
//! ```
//!
//! Whether a file was merged is never remembered: where the guest's disk stands tells it. So a deletion that was cut off
//! can be asked for again at any time, also after the guest wrote on into the file below. What was merged stays merged:
//! the guest sees the same bytes either way.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use lodge_model::Kind;
use lodge_store::saga::{Failure, Step};
use serde::{Deserialize, Serialize};

use super::super::images;
use super::Deleting;
use crate::block_job::commit::{CommitOptions, commit_now};
use crate::block_job::layers::{layers, paths};
use crate::block_job::{follow, position};
use crate::control::{Refusal, Running};
use crate::ports::LockedFile;

/// A file whose content goes into the one it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::snapshots) struct Merge {
    pub target: String,
    pub top: PathBuf,
    pub base: PathBuf,
    pub base_format: String,
    /// How that is encrypted, as a text.
    #[serde(default)]
    pub base_encryption: Option<String>,
    /// Images that stand on `top` and shall stand on `base`.
    pub above: Vec<PathBuf>,
    /// It is to be done yet; else an earlier try did it.
    #[serde(default = "is_due")]
    pub due: bool,
}

fn is_due() -> bool {
    true
}

impl Merge {
    /// Whether it is to be done yet, by the files that the guest's disk stands on, its own first. `None`: the disk
    /// stands on other files than the snapshot tells.
    pub fn is_due_on(&self, chain: &[PathBuf]) -> Option<bool> {
        if let Some(at) = chain.iter().position(|path| *path == self.top) {
            return (chain.get(at + 1) == Some(&self.base)).then_some(true);
        }
        let at = chain.iter().position(|path| *path == self.base)?;
        let is_next = match at.checked_sub(1) {
            None => self.above.is_empty(),
            Some(above) => self.above.contains(&chain[above]),
        };
        is_next.then_some(false)
    }

    /// The same of a guest that is off, of which only its own file is known.
    pub fn is_due_below(&self, own: Option<&Path>) -> Option<bool> {
        match own {
            _ if !self.above.is_empty() => Some(true),
            Some(own) if own == self.top => Some(true),
            Some(own) if own == self.base => Some(false),
            _ => None,
        }
    }
}

/// Notes in the snapshot's document that it is half gone. It stays so noted until it is deleted.
pub(super) struct Mark;

#[async_trait]
impl Step<Deleting> for Mark {
    fn name(&self) -> &'static str {
        "mark"
    }

    async fn run(&self, deleting: &mut Deleting) -> Result<(), Failure> {
        deleting.plan.marks.write_all(&deleting.shared).await
    }

    async fn undo(&self, _deleting: &mut Deleting) -> Result<(), Failure> {
        Ok(())
    }
}

/// Merges.
pub(super) struct MergeFiles;

#[async_trait]
impl Step<Deleting> for MergeFiles {
    fn name(&self) -> &'static str {
        "merge"
    }

    async fn run(&self, deleting: &mut Deleting) -> Result<(), Failure> {
        let merges = deleting.plan.merges.clone();
        for merge in &merges {
            match &mut deleting.running {
                Some(guest) => {
                    if merge.due {
                        let merged = while_running(guest, merge, &mut deleting.has_merged).await;
                        merged.map_err(|refusal| Failure::new(refusal.kind(), refusal.text))?;
                    }
                    move_others(guest, merge, &deleting.plan.keys).await?;
                }
                None if merge.due => {
                    deleting.has_merged = true;
                    while_off(deleting, merge).await?;
                }
                None => {}
            }
        }
        Ok(())
    }

    async fn undo(&self, _deleting: &mut Deleting) -> Result<(), Failure> {
        Ok(())
    }
}

async fn while_off(deleting: &Deleting, merge: &Merge) -> Result<(), Failure> {
    if deleting.plan.live {
        // Its QEMU may have changed over before it ended: that is looked at when the deletion is asked for again.
        return Err(Failure::new(Kind::InvalidState, "the guest has ended meanwhile"));
    }
    // Done by an earlier try: the top is gone last.
    if !merge.top.exists() {
        return Ok(());
    }
    let volumes = &deleting.shared.ports.volumes;
    let keys = &deleting.plan.keys;
    let merged = volumes.commit_image(deleting.id, &merge.top, &merge.base, keys).await;
    merged.map_err(|error| images::failure(&error))?;
    for above in &merge.above {
        let moved = volumes.rebase_image(above, &merge.top, &merge.base, &merge.base_format, keys).await;
        moved.map_err(|error| images::failure(&error))?;
    }
    Ok(())
}

/// What of other branches stands on the file that was merged stands on the one below it. QEMU has none of these.
async fn move_others(guest: &Running, merge: &Merge, keys: &[LockedFile]) -> Result<(), Failure> {
    let disk = position(guest, &merge.target).and_then(|at| layers(&guest.document.devices.disks[at]));
    let own =
        disk.map(|layers| paths(&layers)).map_err(|refusal| Failure::new(refusal.kind(), refusal.text))?;
    for above in merge.above.iter().filter(|above| !own.contains(above)) {
        let volumes = &guest.shared.ports.volumes;
        let moved = volumes.rebase_image(above, &merge.top, &merge.base, &merge.base_format, keys).await;
        moved.map_err(|error| images::failure(&error))?;
    }
    Ok(())
}

/// QEMU commits, and the disk changes over if it is the guest's own file.
async fn while_running(guest: &mut Running, merge: &Merge, has_begun: &mut bool) -> Result<(), Refusal> {
    // A daemon that died here has left its job, at whatever stage. How it ended, the disk tells.
    if let Err(refusal) = follow::end_noted(guest, &merge.target).await {
        *has_begun = true;
        tracing::info!(domain = %guest.entry.name(), why = refusal.text, "an earlier daemon's block job did not end well");
    }
    let disk = &guest.document.devices.disks[position(guest, &merge.target)?];
    let chain = paths(&layers(disk)?);
    match merge.is_due_on(&chain) {
        Some(true) => {}
        Some(false) => return Ok(()),
        None => return Err(stands_elsewhere()),
    }
    let is_own = chain.first() == Some(&merge.top);
    let options = CommitOptions {
        base: Some(merge.base.display().to_string()),
        top: (!is_own).then(|| merge.top.display().to_string()),
        active: is_own,
        ..CommitOptions::default()
    };
    commit_now(guest, &merge.target, &options, has_begun).await
}

/// libvirt's words.
pub(super) fn stands_elsewhere() -> Refusal {
    Refusal::new(crate::control::Sort::Failed, "VM disk source and snapshot disk source are not the same")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(above: &[&str]) -> Merge {
        Merge {
            target: "vda".to_owned(),
            top: "/top".into(),
            base: "/base".into(),
            base_format: "qcow2".to_owned(),
            base_encryption: None,
            above: above.iter().map(PathBuf::from).collect(),
            due: true,
        }
    }

    #[test]
    fn the_disk_tells_whether_a_file_was_merged() {
        let of = |above: &[&str], chain: &[&str]| {
            merge(above).is_due_on(&chain.iter().map(PathBuf::from).collect::<Vec<_>>())
        };
        assert_eq!(of(&[], &["/top", "/base", "/x"]), Some(true));
        assert_eq!(of(&[], &["/base", "/x"]), Some(false));
        assert_eq!(of(&["/a"], &["/a", "/top", "/base"]), Some(true));
        assert_eq!(of(&["/a"], &["/a", "/base"]), Some(false));
        // What the guest was reverted to, or was given by hand.
        assert_eq!(of(&[], &["/other", "/base"]), None);
        assert_eq!(of(&["/a"], &["/other", "/base"]), None);
        assert_eq!(of(&["/a"], &["/base"]), None);
        assert_eq!(of(&[], &["/top", "/x", "/base"]), None);
    }

    #[test]
    fn a_guest_that_is_off_tells_it_by_its_own_file() {
        let of = |own: &str| merge(&[]).is_due_below(Some(Path::new(own)));
        assert_eq!((of("/top"), of("/base"), of("/x")), (Some(true), Some(false), None));
        assert_eq!(merge(&["/a"]).is_due_below(Some(Path::new("/a"))), Some(true));
    }
}
