//! Mending one finding.

use std::path::Path;

use lodge_sys::fs::remove_durable;

use super::{DoctorOptions, Finding, FindingKind};
use crate::{
    AfterCommit, ChainError, Commit, Format, Pools, chain::layers::reads, error::StorageError, limits, temp,
    vol::tool::Run,
};

impl Pools {
    /// Mends the finding of this id, or with `dry_run` only looks for it. `None`: there is no such finding (any more).
    pub async fn repair(&self, id: &str, dry_run: bool) -> Result<Option<Finding>, ChainError> {
        let deep = id.starts_with(FindingKind::LeakedClusters.as_str());
        let found = self.doctor(DoctorOptions { deep }).await?;
        let Some(finding) = found.into_iter().find(|finding| finding.id == id) else { return Ok(None) };
        if dry_run || !finding.is_safe {
            return Ok(Some(finding));
        }
        match finding.kind {
            FindingKind::Leftover => self.remove_leftover(&finding.path).await?,
            FindingKind::CutCommit => self.finish_commit(&finding.path).await?,
            FindingKind::LeakedClusters => self.return_clusters(&finding.path).await?,
            FindingKind::Orphan
            | FindingKind::BackingMissing
            | FindingKind::Circle
            | FindingKind::WrongFormat
            | FindingKind::Overcommitted
            | FindingKind::Damaged
            | FindingKind::FileMissing
            | FindingKind::Moved
            | FindingKind::Replaced
            | FindingKind::TwoWriters
            | FindingKind::SnapshotMissing
            | FindingKind::SnapshotOfNobody => {}
        }
        tracing::info!(id, path = %finding.path.display(), "finding repaired");
        Ok(Some(finding))
    }

    async fn remove_leftover(&self, path: &Path) -> Result<(), StorageError> {
        let owned = path.to_owned();
        let remove = move || {
            if temp::is_held(&owned) {
                return Err(StorageError::AtWork { path: owned, what: "the act that made it".to_owned() });
            }
            remove_durable(&owned).map(drop).map_err(|source| StorageError::Delete { path: owned, source })
        };
        self.storage().blocking(path, limits::CHANGE, remove).await
    }

    async fn finish_commit(&self, base: &Path) -> Result<(), ChainError> {
        let cut = self.storage().cut_commits().await?;
        let Some((base, top)) = cut.into_iter().find(|(known, _)| known == base) else { return Ok(()) };
        let wish = Commit { top, base: Some(base), after: AfterCommit::Keep, behalf: None };
        self.storage().commit(&wish).await.map(drop)
    }

    async fn return_clusters(&self, path: &Path) -> Result<(), ChainError> {
        let _working = self.storage().work_on("a repair", &[(path.to_owned(), true)]).await?;
        self.storage().refuse_locked(path).await?;
        let run =
            Run::new("qemu-img").args(["check", "-q", "-r", "leaks", "-f", "qcow2"]).args([path.as_os_str()]);
        let layers = self.storage().layers(path, Format::Qcow2).await?;
        reads(run.writes(path), &layers[1..]).run().await?;
        self.storage().sync(path).await
    }
}
