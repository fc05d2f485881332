//! Putting a snapshot's disks in line with the guest's: one for each, with a place for its state.

use std::collections::HashMap;
use std::path::Path;

use super::{DomainSnapshot, Location, SnapshotDisk, SnapshotDisks, SnapshotFault, SnapshotSort};
use crate::domain::Domain;
use crate::domain::disk::{Disk, SourceKind};

/// What a disk gets of which nothing is said.
#[derive(Clone, Copy)]
pub struct Defaults<'a> {
    /// Where its state goes.
    pub location: Location,
    /// Every disk that can must be in the same place: an internal snapshot takes all.
    pub uniform: bool,
    /// Whether a path is a plain file: only beside one a name can be made up.
    pub is_file: &'a dyn Fn(&Path) -> bool,
}

impl std::fmt::Debug for Defaults<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Defaults").field("location", &self.location).finish_non_exhaustive()
    }
}

impl DomainSnapshot {
    /// Names every disk of `domain`, in its order, with the defaults of the disk and then of `defaults`.
    pub fn align(&mut self, domain: &Domain, defaults: Defaults<'_>) -> Result<(), SnapshotFault> {
        let own = &domain.devices.disks;
        let asked = self.disks.take().map(|disks| disks.disks).unwrap_or_default();
        if asked.len() > own.len() {
            return Err(unsupported("too many disk snapshot requests for domain".to_owned()));
        }
        if own.is_empty() {
            return Ok(());
        }
        let must_match = defaults.uniform && defaults.location == Location::Internal;
        let mut by_target: HashMap<String, SnapshotDisk> = HashMap::new();
        for mut disk in asked {
            let said = disk.name().to_owned();
            let found = own.iter().find(|own| own.target.dev == said || own.path() == Some(said.as_str()));
            let found = found.ok_or_else(|| unsupported(format!("no disk named '{said}'")))?;
            let target = found.target.dev.clone();
            if by_target.contains_key(&target) {
                return Err(unsupported(format!("disk '{said}' specified twice")));
            }
            align_asked(&mut disk, found, defaults.location, must_match)?;
            disk.name = Some(target.clone());
            by_target.insert(target, disk);
        }
        let aligned = own.iter().map(|own| {
            by_target.remove(&own.target.dev).unwrap_or_else(|| {
                let location = match own.source {
                    None => Location::No,
                    Some(_) => policy(own).unwrap_or(defaults.location),
                };
                SnapshotDisk::new(&own.target.dev, location)
            })
        });
        let mut disks: Vec<_> = aligned.collect();
        name_files(&mut disks, own, self.name(), defaults.is_file)?;
        self.disks = Some(SnapshotDisks { disks, ..SnapshotDisks::default() });
        Ok(())
    }
}

fn align_asked(
    disk: &mut SnapshotDisk,
    own: &Disk,
    default: Location,
    must_match: bool,
) -> Result<(), SnapshotFault> {
    let policy = policy(own);
    match disk.snapshot {
        None => {
            let usable = policy.filter(|policy| !must_match || *policy == Location::No);
            disk.snapshot = Some(usable.unwrap_or(default));
        }
        Some(said) if must_match && said != default => {
            if !(said == Location::No && policy == Some(Location::No)) {
                return Err(unsupported(format!(
                    "disk '{}' must use snapshot mode '{default}'",
                    disk.name()
                )));
            }
        }
        Some(_) => {}
    }
    match disk.path() {
        Some(path) if disk.snapshot != Some(Location::External) => Err(unsupported(format!(
            "file '{path}' for disk '{}' requires use of external snapshot mode",
            disk.name()
        ))),
        _ => Ok(()),
    }
}

/// What the guest's document wants of the disk: what is read-only is left out unless it says otherwise.
fn policy(own: &Disk) -> Option<Location> {
    let said = own.snapshot.as_deref().and_then(|word| word.parse().ok());
    said.or(own.readonly.then_some(Location::No))
}

/// Makes up the files' names: beside the disk's own, with the snapshot's name as ending.
fn name_files(
    disks: &mut [SnapshotDisk],
    own: &[Disk],
    snapshot: &str,
    is_file: &dyn Fn(&Path) -> bool,
) -> Result<(), SnapshotFault> {
    for at in 0..disks.len() {
        let disk = &disks[at];
        if disk.location() != Location::External {
            continue;
        }
        if disk.path().is_none() {
            let path = made_up(disk, &own[at], snapshot, is_file)?;
            if let Some(other) = disks[..at].iter().find(|other| other.path() == Some(path.as_str())) {
                return Err(unsupported(format!(
                    "cannot generate external snapshot name for disk '{}': collision with disk '{}'",
                    disk.name(),
                    other.name()
                )));
            }
            disks[at].set_path(path);
        }
        if disks[at].format().is_none() {
            disks[at].set_format("qcow2");
        }
    }
    Ok(())
}

fn made_up(
    disk: &SnapshotDisk,
    own: &Disk,
    snapshot: &str,
    is_file: &dyn Fn(&Path) -> bool,
) -> Result<String, SnapshotFault> {
    let name = disk.name();
    let kind = disk.kind.unwrap_or(SourceKind::File);
    if kind != SourceKind::File {
        let text = format!("cannot generate external snapshot name for disk '{name}' on a '{kind}' device");
        return Err(unsupported(text));
    }
    let Some(path) = own.path() else {
        return Err(unsupported(format!(
            "cannot generate external snapshot name for disk '{name}' without source"
        )));
    };
    if !is_file(Path::new(path)) {
        return Err(unsupported(format!(
            "source for disk '{name}' is not a regular file; refusing to generate external snapshot name"
        )));
    }
    let stem = match path.rsplit_once('.') {
        Some((stem, ending)) if !ending.contains('/') => stem,
        _ => path,
    };
    Ok(format!("{stem}.{snapshot}"))
}

fn unsupported(text: String) -> SnapshotFault {
    SnapshotFault::new(SnapshotSort::ConfigUnsupported, text)
}
