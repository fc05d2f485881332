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
    graph::{Graph, Key, ask::is_of, need::Need},
    image::real,
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
    /// Says of each file whether it may be deleted with `domain`.
    pub async fn judge_removal(
        &self,
        domain: DomainId,
        paths: &[PathBuf],
    ) -> Result<Vec<Removal>, StorageError> {
        let graph = self.graph(paths).await?;
        let name = self.guest_name(domain).await?;
        let judge = Judge { domain, name, pools: self.pool_dirs(), paths: paths.to_vec() };
        let mut judged =
            self.blocking(&self.pool_dir(), limits::CHANGE, move || Ok(judge.all(&graph))).await?;
        for removal in judged.iter_mut().filter(|removal| removal.keep.is_none()) {
            removal.keep = self.foreign_hold(domain, &removal.path).await?;
        }
        Ok(judged)
    }

    /// Deletes a volume of `domain`. What must stay is an error; a file that is gone is fine.
    pub async fn delete_volume(&self, domain: DomainId, path: &Path) -> Result<(), StorageError> {
        // Taken first and judged after, so that no guest starts on it in between.
        let working = self.work_on("a removal", &[(path.to_owned(), true)]).await;
        let judged = self.judge_removal(domain, &[path.to_owned()]).await?;
        if let Some(why) = judged.into_iter().find_map(|removal| removal.keep) {
            return Err(StorageError::Kept { path: path.to_owned(), why });
        }
        let _working = working?;
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

    /// Whether a program that is none of ours has the file; of what a guest of ours has nobody needs to ask.
    async fn foreign_hold(&self, domain: DomainId, path: &Path) -> Result<Option<String>, StorageError> {
        if self.claims().all().iter().any(|held| held.domain == domain && held.path == path) {
            return Ok(None);
        }
        Ok(self.locker(path).await?.map(|need| need.to_string()))
    }
}

struct Judge {
    domain: DomainId,
    name: Option<std::sync::Arc<str>>,
    pools: Vec<PathBuf>,
    paths: Vec<PathBuf>,
}

impl Judge {
    fn all(&self, graph: &Graph) -> Vec<Removal> {
        let going: HashSet<Key> = self.paths.iter().map(|path| graph.key(path)).collect();
        let judge = |path: &PathBuf| Removal { path: path.clone(), keep: self.keep(graph, &going, path) };
        self.paths.iter().map(judge).collect()
    }

    fn keep(&self, graph: &Graph, going: &HashSet<Key>, path: &Path) -> Option<String> {
        let needs = graph.needs(path).into_iter().filter(|need| match need {
            // Clones that go in the same act do not hold their base back.
            Need::Backing { path } => !going.contains(&graph.key(path)),
            // The act that asks.
            Need::Act { what, .. } => &**what != "a removal",
            need => !is_of(need, self.domain, self.name.as_deref()),
        });
        let mut reasons: Vec<_> = needs.map(|need| (weight(&need), said(&need))).collect();
        reasons.sort();
        reasons.into_iter().next().map(|(_, why)| why).or_else(|| self.place(path))
    }

    fn place(&self, path: &Path) -> Option<String> {
        let is_file = path.symlink_metadata().map(|metadata| metadata.is_file());
        match is_file {
            Ok(true) => {}
            Ok(false) => return Some("it is not a plain file".to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => return Some(format!("it cannot be looked at: {error}")),
        }
        // As libvirt: only volumes of a pool go with their domain.
        let is_in_pool = self.pools.iter().any(|pool| real(path).parent() == Some(&real(pool)));
        (!is_in_pool).then(|| "it is not in a pool".to_owned())
    }
}

/// The weightiest is said: who has it now, what it is, who else names it.
fn weight(need: &Need) -> u8 {
    match need {
        Need::Running { .. } | Need::Act { .. } | Need::Locked { .. } => 0,
        Need::Backing { .. } => 1,
        Need::Image { .. } | Need::Template => 2,
        Need::Snapshot { .. } => 3,
        Need::Defined { .. } => 4,
    }
}

fn said(need: &Need) -> String {
    match need {
        Need::Running { guest, .. } => format!("domain `{guest}` uses it now"),
        Need::Backing { path } => format!("`{}` stands on it", path.display()),
        Need::Image { name } => format!("it is the image `{name}`"),
        Need::Snapshot { guest, snapshot, .. } => {
            format!("snapshot `{snapshot}` of domain `{guest}` is kept in it")
        }
        Need::Defined { guest, .. } => format!("domain `{guest}` has it too"),
        need @ (Need::Act { .. } | Need::Template | Need::Locked { .. }) => need.to_string(),
    }
}
