//! `virsh blockjob --info`: what a job is and how far.
//!
//! Read beside the owner: from the note and from QEMU.

use lodge_qemu::qmp::BlockJob as Figures;

use super::{BlockJobKind, BlockJobs};
use crate::control::Refusal;
use crate::control::tune::block::position;
use crate::error::DomainError;
use crate::handle::Handle;

/// A block job's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockJobInfo {
    /// What it does.
    pub kind: BlockJobKind,
    /// Its limit in bytes per second; 0: none.
    pub speed: u64,
    /// What is done of it, in bytes or what else QEMU counts.
    pub done: u64,
    /// What there is to do.
    pub all: u64,
    /// Whether its last step may be taken.
    pub ready: bool,
}

impl Handle {
    /// The block job of a disk (its target or file), if one is at work on it.
    pub async fn block_job(&self, disk: &str) -> Result<Option<BlockJobInfo>, DomainError> {
        if !self.snapshot().is_active() {
            return Err(Refusal::not_running().into());
        }
        let document = self.document()?;
        let at = position(&document, disk)
            .ok_or_else(|| Refusal::arg(format!("disk '{disk}' not found in domain")))?;
        let target = &document.devices.disks[at].target.dev;
        let Some(job) = BlockJobs::read(&self.directory()).of(target).cloned() else { return Ok(None) };
        let monitor = self.monitor().ok_or_else(Refusal::not_running)?;
        let jobs = monitor.block_jobs().await.map_err(Refusal::from)?;
        let figures = jobs.iter().find(|known| known.device == job.id);
        Ok(Some(told(job.kind, figures)))
    }
}

/// As libvirt tells it: a job that is not done never has all of it behind it, since clients poll for that.
fn told(kind: BlockJobKind, figures: Option<&Figures>) -> BlockJobInfo {
    let Some(figures) = figures else {
        return BlockJobInfo { kind, speed: 0, done: 0, all: 1, ready: false };
    };
    let (mut done, mut all) = (figures.offset, figures.len);
    if done == 0 && all == 0 {
        (done, all) = (u64::from(figures.ready), 1);
    } else if done == all && !figures.ready {
        done -= 1;
    }
    BlockJobInfo { kind, speed: figures.speed, done, all, ready: figures.ready }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_done_only_when_it_is_ready() {
        let told = |offset: u64, len: u64, ready: bool| {
            let figures = serde_json::json!({
                "device": "j", "type": "commit", "len": len, "offset": offset, "speed": 0, "ready": ready,
                "status": "running",
            });
            let info = told(BlockJobKind::ActiveCommit, Some(&serde_json::from_value(figures).unwrap()));
            (info.done, info.all)
        };
        assert_eq!(told(0, 0, false), (0, 1));
        assert_eq!(told(0, 0, true), (1, 1));
        assert_eq!(told(5, 5, false), (4, 5));
        assert_eq!(told(5, 5, true), (5, 5));
        assert_eq!(told(1, 5, false), (1, 5));
    }
}
