//! Deleting volumes, and saying beforehand what would be deleted and what not.
//!
//! Judged by one function for both, so that `--dry-run` cannot say something else than what happens.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use lodge_model::DomainId;
use lodge_sys::fs::remove_durable;

use crate::{
    Storage,
    error::StorageError,
    image::{backing_users, real},
    limits,
};

/// What would happen to a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Removal {
    /// The file.
    pub path: PathBuf,
    /// Why it stays; none: it would be deleted.
    pub keep: Option<String>,
}

impl Storage {
    /// Says of each file whether it may be deleted with `domain`. `others`: the disks of other
    /// domains' definitions, each with the domain's name.
    pub async fn judge_removal(
        &self,
        domain: DomainId,
        paths: &[PathBuf],
        others: &[(String, PathBuf)],
    ) -> Result<Vec<Removal>, StorageError> {
        let images = self.images().await?.into_iter().map(|image| (image.name, real(&image.path))).collect();
        let held: Vec<_> =
            paths.iter().map(|path| self.claims().holder_of_path(path, domain).map(str::to_owned)).collect();
        let judge = Judge { pools: self.pool_dirs(), images, others: others.to_owned() };
        let paths = paths.to_owned();
        self.blocking(&self.pool_dir(), limits::CHANGE, move || judge.all(&paths, &held)).await
    }

    /// Deletes a volume of `domain`. What must stay is an error; a file that is gone is fine.
    pub async fn delete_volume(
        &self,
        domain: DomainId,
        path: &Path,
        others: &[(String, PathBuf)],
    ) -> Result<(), StorageError> {
        let judged = self.judge_removal(domain, &[path.to_owned()], others).await?;
        if let Some(why) = judged.into_iter().find_map(|removal| removal.keep) {
            return Err(StorageError::Kept { path: path.to_owned(), why });
        }
        let path = path.to_owned();
        self.blocking(&path.clone(), limits::CHANGE, move || match remove_durable(&path) {
            Ok(gone) => {
                if gone {
                    tracing::info!(path = %path.display(), "volume deleted");
                }
                Ok(())
            }
            Err(source) => Err(StorageError::Delete { path, source }),
        })
        .await
    }
}

struct Judge {
    pools: Vec<PathBuf>,
    images: Vec<(String, PathBuf)>,
    others: Vec<(String, PathBuf)>,
}

impl Judge {
    fn all(&self, paths: &[PathBuf], held: &[Option<String>]) -> Result<Vec<Removal>, StorageError> {
        let bases: HashSet<_> = paths.iter().map(|path| real(path)).collect();
        let users = backing_users(&self.pools, &bases)?;
        let going: HashSet<_> = bases.iter().cloned().collect();
        let judge = |(path, holder): (&PathBuf, &Option<String>)| {
            // Clones that go in the same act do not hold their base back.
            let clone = users.iter().find(|(user, base)| *base == real(path) && !going.contains(&real(user)));
            let keep = match (holder, clone) {
                (Some(holder), _) => Some(format!("domain `{holder}` uses it now")),
                (None, Some((clone, _))) => Some(format!("`{}` stands on it", clone.display())),
                (None, None) => self.keep(path),
            };
            Removal { path: path.clone(), keep }
        };
        Ok(paths.iter().zip(held).map(judge).collect())
    }

    fn keep(&self, path: &Path) -> Option<String> {
        let is_file = path.symlink_metadata().map(|metadata| metadata.is_file());
        match is_file {
            Ok(true) => {}
            Ok(false) => return Some("it is not a plain file".to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => return Some(format!("it cannot be looked at: {error}")),
        }
        let real_path = real(path);
        if let Some((name, _)) = self.images.iter().find(|(_, image)| *image == real_path) {
            return Some(format!("it is the image `{name}`"));
        }
        // As libvirt: only volumes of a pool go with their domain.
        if !self.pools.iter().any(|pool| real_path.parent() == Some(&real(pool))) {
            return Some("it is not in a pool".to_owned());
        }
        let other = self.others.iter().find(|(_, theirs)| real(theirs) == real_path);
        other.map(|(name, _)| format!("domain `{name}` has it too"))
    }
}
