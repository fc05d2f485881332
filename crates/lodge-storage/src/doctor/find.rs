//! The findings of a look: what the graph shows, what lies about, and with `deep` what each image says of itself.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use lodge_sys::fs::TEMP_PREFIX;

use super::{DoctorOptions, Finding, FindingKind as Is};
use crate::{
    Format, Pools,
    chain::layers::reads,
    error::StorageError,
    graph::{Graph, Key, Node, need::Need, snapshots::SnapshotFiles},
    identity::Moves,
    limits,
    pool::error::PoolError,
    ports::Part,
    temp,
    vol::{kind::VolumeFormat, tool::Run},
};

impl Pools {
    /// Looks for what is wrong with the files of pools, images and guests.
    pub async fn doctor(&self, options: DoctorOptions) -> Result<Vec<Finding>, StorageError> {
        let storage = self.storage();
        storage.note_disks().await?;
        let graph = storage.graph(&[]).await?;
        let moves = storage.moves(&graph).await?;
        let snapshots = storage.snapshot_files().await?;
        let mut found = of_graph(&graph, &moves, &gone(&graph, &snapshots));
        found.extend(of_snapshots(&graph, &snapshots, &self.guest_names().await?));
        found.extend(self.leftovers().await?);
        for (base, top) in storage.cut_commits().await? {
            let why = format!(
                "the commit of `{}` into it was cut off; all disks above still show their bytes",
                top.display()
            );
            let finding = Finding::new(Is::CutCommit, &base, "", why, "finish the commit".to_owned());
            found.push(if top.exists() { finding.safe() } else { finding });
        }
        found.extend(self.room(&graph));
        if options.deep {
            found.extend(self.check_images(&graph).await);
        }
        found.sort_by(|one, other| (&one.path, &one.id).cmp(&(&other.path, &other.id)));
        found.dedup_by(|one, other| one.id == other.id);
        Ok(found)
    }

    /// Disks of guests that lie elsewhere or are other files now. What they are is noted on the way.
    pub async fn look_for_moves(&self) -> Result<Vec<Finding>, StorageError> {
        let storage = self.storage();
        storage.note_disks().await?;
        let graph = storage.graph(&[]).await?;
        Ok(storage.moves(&graph).await?.findings())
    }

    async fn guest_names(&self) -> Result<HashSet<String>, StorageError> {
        let Some(guests) = self.storage().guests() else { return Ok(HashSet::new()) };
        let list = move || Ok(guests.list().into_iter().map(|guest| guest.name.to_string()).collect());
        self.storage().blocking(Path::new("/"), limits::LOOK, list).await
    }

    /// Temporary files that nobody is at.
    async fn leftovers(&self) -> Result<Vec<Finding>, StorageError> {
        let storage = self.storage();
        let mut dirs = storage.pool_dirs();
        dirs.push(storage.images_dir().to_owned());
        let look = move || {
            let left = dirs.iter().flat_map(|dir| leftovers_in(dir));
            Ok(left.collect::<Vec<_>>())
        };
        let left = storage.blocking(&storage.pool_dir(), limits::LOOK, look).await?;
        let finding = |path: PathBuf| {
            let why = "an act that made it was cut off".to_owned();
            Finding::new(Is::Leftover, &path, "", why, "remove it".to_owned()).safe()
        };
        Ok(left.into_iter().map(finding).collect())
    }

    /// Pools whose disks may grow beyond them.
    fn room(&self, graph: &Graph) -> Vec<Finding> {
        let mut found = Vec::new();
        for pool in self.list().into_iter().filter(|pool| pool.is_active) {
            let Some(dir) = &pool.path else { continue };
            let mut growth: u64 = 0;
            for (_, node) in graph.nodes() {
                let Some(seen) = &node.seen else { continue };
                if seen.path.parent() == Some(dir) && may_grow(node) {
                    let capacity = seen.facts.capacity.unwrap_or(seen.length);
                    growth = growth.saturating_add(capacity.saturating_sub(seen.allocation));
                }
            }
            if growth > pool.available && pool.capacity > 0 {
                let why = format!(
                    "the disks of pool '{}' may grow by {growth} bytes, and {} are free; guests pause when it is full",
                    pool.name, pool.available
                );
                let repair = format!("free space, or see what grows: lodge storage usage {}", pool.name);
                found.push(Finding::new(Is::Overcommitted, dir, "", why, repair));
            }
        }
        found
    }

    async fn check_images(&self, graph: &Graph) -> Vec<Finding> {
        let mut found = Vec::new();
        let images = graph.nodes().filter_map(|(_, node)| node.seen.as_ref());
        let mut images: Vec<_> = images
            .filter(|seen| seen.facts.format == VolumeFormat::Qcow2)
            .filter(|seen| seen.in_pool)
            .map(|seen| seen.path.clone())
            .collect();
        images.sort();
        for path in images {
            // What somebody has changes under the look.
            let Ok(_working) = self.storage().work_on("a check", &[(path.clone(), false)]).await else {
                continue;
            };
            if self.storage().locker(&path).await.ok().flatten().is_some() {
                continue;
            }
            // What it stands on is opened too. A chain that does not open is told by the graph.
            let Ok(layers) = self.storage().layers(&path, Format::Qcow2).await else { continue };
            let run = Run::new("qemu-img").args(["check", "-q", "-f", "qcow2"]).args([path.as_os_str()]);
            match reads(run, &layers).run().await {
                Err(PoolError::Tool { ending, .. }) if ending == "exit status 3" => {
                    let why = "it has clusters that nothing uses, left by an act that was cut off".to_owned();
                    let repair = "give them back (qemu-img check -r leaks)".to_owned();
                    found.push(Finding::new(Is::LeakedClusters, &path, "", why, repair).safe());
                }
                Err(PoolError::Tool { ending, words, .. }) if ending == "exit status 2" => {
                    let why =
                        format!("it is damaged: {}", words.lines().next().unwrap_or("qemu-img check fails"));
                    let repair = format!("copy the file, then: qemu-img check -r all {}", path.display());
                    found.push(Finding::new(Is::Damaged, &path, "", why, repair));
                }
                Err(error) => tracing::warn!(path = %path.display(), %error, "image not checked"),
                Ok(()) => {}
            }
        }
        found
    }
}

fn may_grow(node: &Node) -> bool {
    node.needs.iter().any(|need| matches!(need, Need::Running { .. } | Need::Defined { writes: true, .. }))
}

fn leftovers_in(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let is_left = |entry: &fs::DirEntry| {
        entry.file_name().as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && !temp::is_held(&entry.path())
    };
    entries.flatten().filter(is_left).map(|entry| entry.path()).collect()
}

/// Files that somebody needs and that are not there.
fn gone<'a>(graph: &'a Graph, snapshots: &'a [std::sync::Arc<SnapshotFiles>]) -> Vec<&'a Path> {
    let named = graph.nodes().filter_map(|(key, node)| match key {
        Key::Gone(path) if !node.needs.is_empty() => Some(path.as_path()),
        _ => None,
    });
    let kept = snapshots.iter().flat_map(|snapshot| &snapshot.files);
    let kept = kept.map(|(path, _)| path.as_path()).filter(|path| matches!(graph.key(path), Key::Gone(_)));
    named.chain(kept).collect()
}

fn of_graph(graph: &Graph, moves: &Moves, gone: &[&Path]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (key, node) in graph.nodes() {
        found.extend(orphan(node, gone).filter(|orphan| !moves.leads_to(&orphan.path)));
        found.extend(wrong_format(node));
        found.extend(writers(node));
        found.extend(missing(key, node, moves));
        if in_circle(graph, key) {
            let why = "the files it stands on lead back to it".to_owned();
            let repair = "put a good copy back; no disk of the circle can be read".to_owned();
            found.extend(path_of(node).map(|path| Finding::new(Is::Circle, path, "", why, repair)));
        }
    }
    found.extend(moves.findings());
    found
}

fn path_of(node: &Node) -> Option<&Path> {
    node.paths.first().map(PathBuf::as_path)
}

fn orphan(node: &Node, gone: &[&Path]) -> Option<Finding> {
    let seen = node.seen.as_ref().filter(|seen| seen.in_pool && node.needs.is_empty())?;
    // A library of installation discs is nobody's and everybody's.
    if seen.facts.format == VolumeFormat::Iso {
        return None;
    }
    // A layer or a base that was moved by hand: nothing but its name tells.
    let namesake = gone.iter().find(|gone| gone.file_name() == seen.path.file_name());
    if let Some(gone) = namesake {
        let why = format!(
            "nobody names it; it is called as `{}`, which is needed and not there: it may have been moved from there",
            gone.display()
        );
        let repair = format!("if it was: mv -n {} {}", seen.path.display(), gone.display());
        return Some(Finding::new(Is::Orphan, &seen.path, "", why, repair));
    }
    let why = "no guest, image, snapshot or other disk needs it".to_owned();
    let repair = format!("if it is nobody's: lodge vol-delete {}", seen.path.display());
    Some(Finding::new(Is::Orphan, &seen.path, "", why, repair))
}

fn wrong_format(node: &Node) -> Option<Finding> {
    let seen = node.seen.as_ref()?;
    let said = node.declared.iter().find(|said| {
        let is_read = seen.facts.format != VolumeFormat::Raw || seen.in_pool;
        is_read && said.as_str() != "raw" && said.as_str() != seen.facts.format.as_str()
    });
    if let Some(said) = said {
        let why = format!("it is said to be {said}, and it looks like {}", seen.facts.format);
        let repair = "correct the format in the guest's definition, or put the disk back".to_owned();
        return Some(Finding::new(Is::WrongFormat, &seen.path, said, why, repair));
    }
    let other = node
        .declared
        .iter()
        .find(|said| *said != "raw")
        .filter(|_| node.declared.iter().any(|said| said == "raw"))?;
    let why = format!("some say it is raw, others {other}");
    let repair =
        "correct the one that is wrong; a raw disk that is read as another format is lost".to_owned();
    Some(Finding::new(Is::WrongFormat, &seen.path, "two", why, repair))
}

fn writers(node: &Node) -> Option<Finding> {
    let mut writers = Vec::new();
    for need in &node.needs {
        if let Need::Defined { guest, part: Part::Disk(_), writes: true, shareable: false, .. } = need
            && !writers.contains(&guest)
        {
            writers.push(guest);
        }
    }
    let (one, other) = (writers.first()?, writers.get(1)?);
    let why = format!("domains '{one}' and '{other}' both write to it; only one of them can run");
    let repair = format!("give '{other}' a disk of its own: lodge edit {other}");
    Some(Finding::new(Is::TwoWriters, path_of(node)?, "", why, repair))
}

fn missing(key: &Key, node: &Node, moves: &Moves) -> Vec<Finding> {
    let Key::Gone(path) = key else { return Vec::new() };
    let mut found = Vec::new();
    for need in &node.needs {
        match need {
            Need::Backing { path: overlay } => {
                let why = format!("it stands on `{}`, which is not there", path.display());
                let repair = match moves.of_path(path) {
                    Some(place) => format!(
                        "it is at `{}` now: qemu-img rebase -u -F FORMAT -b {0} {}",
                        place.display(),
                        overlay.display()
                    ),
                    None => format!("put `{}` back", path.display()),
                };
                found.push(Finding::new(Is::BackingMissing, overlay, "", why, repair));
            }
            // A moved disk is told as that. An empty name in a pool may be made by the next start.
            Need::Defined { guest, part: Part::Disk(_), .. } if moves.of_path(path).is_none() => {
                let why = format!("domain '{guest}' has it as a disk, and it is not there");
                let repair = format!("put it back, or correct the definition: lodge edit {guest}");
                found.push(Finding::new(Is::FileMissing, path, guest, why, repair));
            }
            Need::Defined { guest, part: part @ (Part::Kernel | Part::Initrd | Part::Loader), .. } => {
                let why = format!("domain '{guest}' has it as its {part}, and it is not there");
                let repair = format!("put it back, or correct the definition: lodge edit {guest}");
                found.push(Finding::new(Is::FileMissing, path, guest, why, repair));
            }
            _ => {}
        }
    }
    found
}

fn in_circle(graph: &Graph, from: &Key) -> bool {
    let below = |key: &Key| graph.get(key).and_then(|node| node.stands_on.as_ref()).map(|edge| &edge.key);
    let mut at = below(from);
    for _ in 0..limits::CHAIN_FILES {
        match at {
            None => return false,
            Some(key) if key == from => return true,
            Some(key) => at = below(key),
        }
    }
    false
}

fn of_snapshots(
    graph: &Graph,
    snapshots: &[std::sync::Arc<SnapshotFiles>],
    guests: &HashSet<String>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for snapshot in snapshots {
        let (guest, name) = (&snapshot.guest, &snapshot.name);
        if !guests.contains(&**guest) {
            let why = format!("it describes snapshot '{name}' of domain '{guest}', which is not defined");
            let repair = "define the guest again, or remove the file".to_owned();
            found.push(Finding::new(Is::SnapshotOfNobody, &snapshot.metadata, "", why, repair));
            continue;
        }
        for (path, _) in &snapshot.files {
            if matches!(graph.key(path), Key::Gone(_)) {
                let why = format!("snapshot '{name}' of domain '{guest}' is kept in it, and it is not there");
                let repair = format!(
                    "put it back, or forget the snapshot: lodge snapshot-delete {guest} {name} --metadata"
                );
                found.push(Finding::new(Is::SnapshotMissing, path, name, why, repair));
            }
        }
    }
    found
}
