//! Undefining a domain with some of its disks: `virsh undefine --storage vda,…`.

use std::path::PathBuf;

use lodge_api::{UndefineOptions, UndefineReport, UndefinedFile};
use lodge_domain::Handle;
use lodge_model::Kind;
use lodge_storage::Removal;

use crate::{
    Engine,
    error::{EngineError, Result},
};

/// A disk that was named, and what is to become of it.
struct Named {
    target: String,
    path: PathBuf,
    size_bytes: u64,
    keep: Option<String>,
}

impl Engine {
    /// Undefines a domain and deletes the disks that `wanted` names, by target or path, parted by commas. As virsh:
    /// the definition goes first, then the disks, one after the other.
    pub(crate) async fn undefine_with(
        &self,
        handle: &Handle,
        wanted: &str,
        options: UndefineOptions,
    ) -> Result<UndefineReport> {
        if handle.snapshot().is_active() && !options.dry_run {
            let text = "Storage volume deletion is supported only on stopped domains";
            return Err(EngineError::new(Kind::InvalidState, text).with_hint("destroy it first"));
        }
        let named = self.named_disks(handle, wanted).await?;
        let rest = UndefineOptions { storage: None, remove_all_storage: false, ..options };
        let is_dry = rest.dry_run;
        let mut report = Box::pin(self.undefine(handle, rest)).await?;
        for disk in named {
            report.files.push(self.delete_named(handle, disk, is_dry).await);
        }
        Ok(report)
    }

    async fn named_disks(&self, handle: &Handle, wanted: &str) -> Result<Vec<Named>> {
        let document = handle.definition()?.unwrap_or_default();
        let place = |pool: &str, volume: &str| self.pools.path_of(pool, volume);
        let disks = lodge_storage::DiskUse::of(&document, &place)?;
        let mut found = Vec::new();
        for word in wanted.split(',').filter(|word| !word.is_empty()) {
            let disk = disks.iter().find(|disk| {
                disk.target == word || disk.path.as_ref().is_some_and(|path| path.as_os_str() == word)
            });
            let with_file = disk.and_then(|disk| Some((disk.target.clone(), disk.path.clone()?)));
            found.push(with_file.ok_or_else(|| {
                let text = format!("Volume '{word}' was not found in domain's definition.");
                EngineError::new(Kind::InvalidInput, text)
            })?);
        }
        let paths: Vec<_> = found.iter().map(|(_, path)| path.clone()).collect();
        let judged = self.storage.judge_removal(handle.id(), &paths).await?;
        let named = |((target, path), Removal { keep, .. }): ((String, PathBuf), Removal)| {
            let size_bytes = path.symlink_metadata().map(|metadata| metadata.len()).unwrap_or_default();
            Named { target, path, size_bytes, keep }
        };
        Ok(found.into_iter().zip(judged).map(named).collect())
    }

    async fn delete_named(&self, handle: &Handle, disk: Named, is_dry: bool) -> UndefinedFile {
        let Named { target, path, size_bytes, mut keep } = disk;
        if keep.is_none() && !is_dry {
            let gone = self.storage.delete_volume(handle.id(), &path).await;
            keep = gone.err().map(|error| error.to_string());
            self.pools.noticed(&path).await;
        }
        UndefinedFile {
            path: path.display().to_string(),
            what: format!("disk {target}"),
            size_bytes,
            removed: keep.is_none(),
            kept_because: keep,
        }
    }
}
