//! Merging the upper files of a chain into a lower one.
//!
//! ```text
//!   web1.s2 ─▶ web1.s1 ─▶ web1.qcow2 ─▶ base        commit web1.s1 into web1.qcow2
//!   web1.s2 ──────────────▶ web1.qcow2 ─▶ base      what stood on web1.s1 stands on web1.qcow2
//! ```
//!
//! Safe at every moment: what is written into the lower file is what the upper ones show in its place already, so all
//! disks above show the same bytes before, during and after. Headers are turned to the lower file only when its bytes are
//! on disk, and files go only after that. What would notice is refused: another disk, image, template or snapshot on the
//! lower files, and snapshots inside the upper ones. An interrupted commit is noted; the same commit again finishes it.

use std::path::{Path, PathBuf};

use lodge_model::DomainId;
use lodge_sys::fs::remove_durable;

use super::{
    error::ChainError,
    layers::{Layer, reads},
    rebase::{place_of, unique},
};
use crate::{
    Storage,
    error::StorageError,
    format::Format,
    graph::{Graph, ask::is_of, need::Need},
    limits,
    ports::Part,
    vol::tool::Run,
};

/// Before the path of a file that a commit is at, in the table of small values.
const NOTE: &str = "chain.commit/";

/// What becomes of the upper file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCommit {
    /// It stays as it is.
    Keep,
    /// It becomes an empty file on the lower one, under its name.
    Empty,
    /// What stood on it stands on the lower file, and it goes, as do those between.
    Delete,
}

/// A guest's own act, such as the deletion of a snapshot: what the guest itself knows of is no reason against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behalf {
    /// The guest.
    pub guest: DomainId,
    /// Snapshots of it that go with the act; others of it count.
    pub snapshots: Vec<String>,
}

/// A wish to commit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The upper file, a qcow2.
    pub top: PathBuf,
    /// The lower file; none: the one the upper file stands on.
    pub base: Option<PathBuf>,
    /// What becomes of the upper file.
    pub after: AfterCommit,
    /// For whom.
    pub behalf: Option<Behalf>,
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Committed {
    /// The lower file.
    pub base: PathBuf,
    /// Its format.
    pub format: Format,
    /// Files that were turned to the lower one.
    pub turned: Vec<PathBuf>,
    /// Files that are gone.
    pub removed: Vec<PathBuf>,
}

impl Storage {
    /// Merges the upper files of a chain into a lower one.
    pub async fn commit(&self, wish: &Commit) -> Result<Committed, ChainError> {
        let layers = self.layers(&wish.top, Format::Qcow2).await?;
        let at = match &wish.base {
            None if layers.len() == 1 => return Err(ChainError::StandsAlone { path: wish.top.clone() }),
            None => 1,
            Some(base) => place_of(&layers, base)
                .filter(|at| *at > 0)
                .ok_or_else(|| ChainError::NotBelow { top: wish.top.clone(), base: base.clone() })?,
        };
        let (range, base) = (&layers[..at], &layers[at]);
        for layer in range {
            layer.refuse_snapshots()?;
        }
        if range[0].virtual_bytes < base.virtual_bytes {
            return Err(ChainError::Smaller {
                top: range[0].path.clone(),
                top_bytes: range[0].virtual_bytes,
                base: base.path.clone(),
                base_bytes: base.virtual_bytes,
            });
        }
        let name = match &wish.behalf {
            Some(behalf) => self.guest_name(behalf.guest).await?,
            None => None,
        };
        let graph = self.graph(std::slice::from_ref(&wish.top)).await?;
        let turned = match wish.after {
            AfterCommit::Delete => overlays_of(&graph, &range[0].path),
            AfterCommit::Keep | AfterCommit::Empty => Vec::new(),
        };
        let mut files: Vec<_> = layers[..=at].iter().map(|layer| (layer.path.clone(), true)).collect();
        files.extend(layers[at + 1..].iter().map(|layer| (layer.path.clone(), false)));
        files.extend(turned.iter().map(|path| (path.clone(), true)));
        let _working = self.work_on("a commit", &unique(files)).await?;
        for (path, _) in layers[..=at].iter().map(|layer| (&layer.path, true)) {
            self.refuse_locked(path).await?;
        }
        // Asked again now that nobody gets the files any more.
        let graph = self.graph(std::slice::from_ref(&wish.top)).await?;
        refuse_needed(&graph, wish, name.as_deref(), &layers[..=at])?;
        self.merge(range, base, &layers[at + 1..]).await?;
        let mut done =
            Committed { base: base.path.clone(), format: base.format, turned, removed: Vec::new() };
        match wish.after {
            AfterCommit::Keep => {}
            AfterCommit::Empty => self.empty(&range[0], base).await?,
            AfterCommit::Delete => {
                for overlay in &done.turned {
                    self.point(overlay, &base.path, base.format).await?;
                }
                for layer in range {
                    done.removed.extend(self.remove_merged(&layer.path).await?);
                }
            }
        }
        self.unnote(&base.path).await?;
        tracing::info!(top = %wish.top.display(), base = %base.path.display(), "chain committed");
        Ok(done)
    }

    /// Commits that were cut off: the lower file, and the upper one it was to take in.
    pub async fn cut_commits(&self) -> Result<Vec<(PathBuf, PathBuf)>, StorageError> {
        let failed = |source| StorageError::Registry { act: "list the commits under way", source };
        let notes = self.db().values(NOTE).await.map_err(failed)?;
        let note = |(key, value): (String, Vec<u8>)| {
            let base = PathBuf::from(key.strip_prefix(NOTE)?);
            Some((base, PathBuf::from(String::from_utf8(value).ok()?)))
        };
        Ok(notes.into_iter().filter_map(note).collect())
    }

    /// Forgets that a commit into `base` was cut off.
    pub(crate) async fn unnote(&self, base: &Path) -> Result<(), StorageError> {
        let failed = |source| StorageError::Registry { act: "forget the commit", source };
        self.db().remove_value(&note_of(base)).await.map(drop).map_err(failed)
    }

    async fn merge(&self, range: &[Layer], base: &Layer, below: &[Layer]) -> Result<(), ChainError> {
        let failed = |source| StorageError::Registry { act: "note the commit", source };
        let top = &range[0];
        let note = top.path.display().to_string().into_bytes();
        self.db().set_value(&note_of(&base.path), note).await.map_err(failed)?;
        // Not emptied (`-d`): until the lower file is on disk, the upper one has the bytes.
        let run = Run::new("qemu-img").args(["commit", "-q", "-d", "-f", "qcow2"]);
        let run = if range.len() == 1 { run } else { run.args([Path::new("-b"), base.named.as_path()]) };
        let run = reads(run.args([&top.named]).writes(&top.named), &range[1..]);
        reads(run.writes(&base.named), below).run().await?;
        self.sync(&base.path).await
    }

    /// A new empty file on the lower one takes the upper one's place.
    async fn empty(&self, top: &Layer, base: &Layer) -> Result<(), ChainError> {
        let temp = self.file_beside(&top.path, false).await?;
        let mut words = vec!["compat=1.1".to_owned()];
        if let Some(header) = &top.header {
            words = vec![format!("compat={}", if header.version == 2 { "0.10" } else { "1.1" })];
            words.push(format!("cluster_size={}", header.cluster_bytes));
            words.extend(header.has_lazy_refcounts.then(|| "lazy_refcounts=on".to_owned()));
            words.extend(header.has_extended_l2.then(|| "extended_l2=on".to_owned()));
        }
        let run =
            Run::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-u", "-F", base.format.as_str()]);
        let run = run.args(["-o".to_owned(), words.join(",")]);
        let run = run
            .args([Path::new("-b"), base.path.as_path(), temp.path()])
            .args([top.virtual_bytes.to_string()]);
        run.writes(temp.path()).said_as(temp.path(), &top.path).run().await?;
        self.put_in_place(temp, &top.path).await
    }

    /// A file of the range goes, unless somebody needs it all the same.
    async fn remove_merged(&self, path: &Path) -> Result<Option<PathBuf>, ChainError> {
        let needs = self.graph(&[path.to_owned()]).await?.needs(path);
        if let Some(need) = needs.iter().find(|need| !matches!(need, Need::Act { .. })) {
            tracing::info!(path = %path.display(), %need, "merged file stays");
            return Ok(None);
        }
        let owned = path.to_owned();
        self.blocking(path, limits::CHANGE, move || {
            let failed = |source| StorageError::Delete { path: owned.clone(), source };
            remove_durable(&owned).map(|_| Some(owned.clone())).map_err(failed)
        })
        .await
        .map_err(ChainError::from)
    }
}

fn note_of(base: &Path) -> String {
    format!("{NOTE}{}", base.display())
}

/// The files that stand on `path`.
pub(crate) fn overlays_of(graph: &Graph, path: &Path) -> Vec<PathBuf> {
    let overlay = |need: Need| match need {
        Need::Backing { path } => Some(path),
        _ => None,
    };
    graph.needs(path).into_iter().filter_map(overlay).collect()
}

/// Whoever would see other bytes, or lose its file, is told and stays whole.
fn refuse_needed(
    graph: &Graph,
    wish: &Commit,
    name: Option<&str>,
    layers: &[Layer],
) -> Result<(), ChainError> {
    let goes = |need: &Need| match (need, &wish.behalf) {
        (Need::Snapshot { guest, snapshot, .. }, Some(behalf)) => {
            Some(&**guest) == name && behalf.snapshots.iter().any(|gone| **gone == **snapshot)
        }
        (need @ Need::Defined { .. }, Some(behalf)) => is_of(need, behalf.guest, None),
        _ => false,
    };
    for (depth, layer) in layers.iter().enumerate() {
        // What stands on the upper file goes on seeing what it saw; the file itself may be wanted.
        if depth == 0 && wish.after != AfterCommit::Delete {
            continue;
        }
        for need in graph.needs(&layer.path) {
            let is_fine = match &need {
                // A document that vouches for a lower file gets to it through the upper ones.
                Need::Act { .. } | Need::Defined { part: Part::Backing(_), .. } => true,
                // What is kept inside the lower file has its own clusters; only the file as it stands changes.
                Need::Snapshot { inside: true, .. } => depth + 1 == layers.len() || goes(&need),
                Need::Backing { path } => depth == 0 || graph.key(path) == graph.key(&layers[depth - 1].path),
                need => goes(need),
            };
            if !is_fine {
                return Err(ChainError::Needed { path: layer.path.clone(), need });
            }
        }
    }
    Ok(())
}
