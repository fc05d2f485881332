//! The block jobs of a running guest, as they are noted in its directory.
//!
//! The file is the truth, also for the owner: there is no second list that could differ. It goes with the run.

use std::io;
use std::path::{Path, PathBuf};

use super::BlockJob;
use crate::record::replace;

/// Name of the file in a guest's directory.
const FILE: &str = "block-jobs.json";

/// What is noted.
#[derive(Debug, Default)]
pub(crate) struct BlockJobs {
    path: PathBuf,
    jobs: Vec<BlockJob>,
}

impl BlockJobs {
    /// Reads the note in a guest's directory; none where there is none.
    pub fn read(dir: &Path) -> Self {
        let path = dir.join(FILE);
        let jobs = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::error!(path = %path.display(), %error, "the note of block jobs cannot be read");
                Vec::new()
            }),
            Err(_) => Vec::new(),
        };
        Self { path, jobs }
    }

    /// All of them.
    pub fn all(&self) -> &[BlockJob] {
        &self.jobs
    }

    /// The one of this disk.
    pub fn of(&self, target: &str) -> Option<&BlockJob> {
        self.jobs.iter().find(|job| job.target == target)
    }

    /// The one of QEMU's name.
    pub fn named(&self, id: &str) -> Option<&BlockJob> {
        self.jobs.iter().find(|job| job.id == id)
    }

    /// Notes a job, in place of what was noted of it.
    pub fn put(mut self, job: BlockJob) -> io::Result<()> {
        self.jobs.retain(|known| known.id != job.id);
        self.jobs.push(job);
        self.write()
    }

    /// Forgets a job.
    pub fn forget(mut self, id: &str) -> io::Result<()> {
        self.jobs.retain(|known| known.id != id);
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        if self.jobs.is_empty() {
            return match std::fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let bytes = serde_json::to_vec_pretty(&self.jobs).map_err(io::Error::other)?;
        replace(&self.path, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BlockJobKind, Stage};
    use super::*;

    #[test]
    fn what_is_noted_is_found_by_disk_and_by_name_and_goes_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let job = |target: &str, stage| BlockJob {
            id: format!("pull-{target}-libvirt-1-format"),
            target: target.to_owned(),
            kind: BlockJobKind::Pull,
            stage,
            delete: false,
            opened: Vec::new(),
            into: None,
            copy: Vec::new(),
            expected: Vec::new(),
            held: false,
            failure: None,
        };
        let read = || BlockJobs::read(dir.path());
        read().put(job("vda", Stage::Running)).unwrap();
        read().put(job("vdb", Stage::Running)).unwrap();
        read().put(job("vda", Stage::Ready)).unwrap();
        assert_eq!(read().all().len(), 2);
        assert_eq!(read().of("vda").unwrap().stage, Stage::Ready);
        assert_eq!(read().named("pull-vdb-libvirt-1-format").unwrap().target, "vdb");
        read().forget("pull-vda-libvirt-1-format").unwrap();
        read().forget("pull-vdb-libvirt-1-format").unwrap();
        assert!(!dir.path().join(FILE).exists());
    }
}
