//! Where a copy's disks lie, and how each is made.

use std::path::{Path, PathBuf};

use lodge_api::{CloneMode, CloneSpec};
use lodge_model::{
    Bytes, Kind,
    domain::{
        Domain,
        copy::NewDisk,
        disk::{BackingStore, Disk, DiskSource, ImageFormat, SourceKind},
    },
    xml::Kept,
};
use lodge_storage::{DiskUse, Format};
use serde::{Deserialize, Serialize};

use super::document::{Fate, fate, own};
use crate::{
    Engine,
    error::{EngineError, Result},
};

/// Names of files that are tried.
const TRIES: u32 = 10_000;

/// How a copy's disk comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    /// It stands on the source's, which nobody writes.
    Linked,
    /// The source's file is copied, and stands on what that stands on.
    Layer,
    /// All of it is copied, and it stands alone.
    Alone,
    /// It is there already.
    Taken,
}

/// A disk to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedDisk {
    /// Its target in the guest.
    pub target: String,
    /// The source's file.
    pub from: PathBuf,
    /// The source's format.
    #[serde(with = "format_word")]
    pub from_format: Format,
    /// Its own file.
    pub to: PathBuf,
    /// Its own format.
    #[serde(with = "format_word")]
    pub format: Format,
    /// How it comes to be.
    pub how: How,
    /// Its size, where it is to be another than the source's.
    pub size: Option<Bytes>,
    /// Nobody can look into it without a secret: it, or what it stands on, is encrypted.
    pub is_encrypted: bool,
    /// Its own `<encryption>` as a text, which is its source's: both are opened with one secret.
    #[serde(default)]
    pub encryption: Option<String>,
    /// That of each of the source's files, the guest's own first, where they are read to make it.
    #[serde(default)]
    pub to_read: Vec<Option<String>>,
    /// What it stands on, where the document has to say how that is opened.
    #[serde(skip)]
    pub backing_store: Option<Box<BackingStore>>,
}

impl PlannedDisk {
    /// What the copy's document says of it, by its target.
    pub fn of_document(&self) -> (String, NewDisk) {
        let own = NewDisk {
            path: self.to.display().to_string(),
            format: self.format.as_str().to_owned(),
            backing_store: self.backing_store.clone(),
            // What stands alone may be encrypted where only what lay below was.
            encryption: self.encryption.as_deref().filter(|_| self.how == How::Alone).and_then(Kept::parse),
        };
        (self.target.clone(), own)
    }
}

/// A disk of the source's that the copy gets one of its own of.
#[derive(Debug, Clone)]
pub(crate) struct SourceDisk {
    pub target: String,
    pub path: PathBuf,
    pub format: Format,
    /// Which of its files are encrypted, and how, the guest's own first.
    pub encryption: Vec<Option<Kept>>,
    /// What the document says that it stands on.
    pub backing_store: Option<Box<BackingStore>>,
    /// It stands on another file.
    pub has_backing: bool,
    /// Where copies of it go.
    pub directory: PathBuf,
}

impl SourceDisk {
    /// Nobody can look into it without a secret.
    pub fn is_encrypted(&self) -> bool {
        self.encryption.iter().any(Option::is_some)
    }

    /// Its own file's `<encryption>` as a text.
    pub fn own_encryption(&self) -> Option<String> {
        self.encryption.first().and_then(Option::as_ref).map(Kept::to_text)
    }

    /// What a copy stands on, where the document has to say it: an encrypted file is opened by what the document says.
    pub fn backing_store_of_copy(&self) -> Option<Box<BackingStore>> {
        let is_named = self.encryption.iter().skip(1).any(Option::is_some);
        self.backing_store.clone().filter(|_| is_named).map(|store| Box::new(without_run(*store)))
    }

    /// The same of one that stands on this disk itself.
    fn backing_store_of_link(&self) -> Option<Box<BackingStore>> {
        if !self.is_encrypted() {
            return None;
        }
        let mut source = DiskSource { file: Some(self.path.display().to_string()), ..DiskSource::default() };
        source.set_encryption(self.encryption.first().and_then(Option::as_ref));
        Some(Box::new(BackingStore {
            kind: Some(SourceKind::File),
            format: Some(ImageFormat { kind: self.format.as_str().to_owned(), ..ImageFormat::default() }),
            source: Some(Box::new(source)),
            backing_store: self.backing_store.clone().map(|store| Box::new(without_run(*store))),
            ..BackingStore::default()
        }))
    }

    /// As texts, where a file that stands alone is made of all of them.
    fn to_read(&self) -> Vec<Option<String>> {
        self.encryption.iter().map(|tree| tree.as_ref().map(Kept::to_text)).collect()
    }
}

/// Without what is of one run of the guest's: the numbers of files in QEMU.
fn without_run(mut store: BackingStore) -> BackingStore {
    store.index = None;
    if let Some(source) = store.source.as_deref_mut() {
        source.index = None;
    }
    store.backing_store = store.backing_store.map(|below| Box::new(without_run(*below)));
    store
}

impl Engine {
    /// The disks that a copy gets of its own. What cannot be copied is refused, unless it is named in `share`; those of
    /// `copy` are copied although both could have them.
    pub(crate) async fn disks_to_copy(
        &self,
        name: &str,
        document: &Domain,
        (share, copy): (&[String], &[String]),
    ) -> Result<Vec<SourceDisk>> {
        let is_there =
            |target: &&String| document.devices.disks.iter().any(|disk| disk.target.dev == **target);
        if let Some(unknown) = share.iter().chain(copy).find(|target| !is_there(target)) {
            return Err(EngineError::new(Kind::NotFound, format!("`{name}` has no disk {unknown}")));
        }
        let uses = DiskUse::of(document, &|pool, volume| self.pools.path_of(pool, volume))?;
        let mut disks = Vec::new();
        for (disk, found) in document.devices.disks.iter().zip(uses) {
            if share.contains(&disk.target.dev) {
                continue;
            }
            let is_wanted = copy.contains(&disk.target.dev);
            if is_wanted && disk.source.is_none() {
                let text = format!("disk {} of `{name}` is empty: there is nothing to copy", disk.target.dev);
                return Err(EngineError::new(Kind::InvalidInput, text));
            }
            match if is_wanted { own(disk) } else { fate(disk) } {
                Fate::Shared => {}
                Fate::Refused(why) => return Err(refused(name, disk, why)),
                Fate::Own => {
                    let Some(path) = found.path else {
                        return Err(refused(name, disk, "has no file on this host"));
                    };
                    match path.metadata() {
                        Ok(metadata) if metadata.is_file() => {}
                        Ok(_) => return Err(refused(name, disk, "is no plain file")),
                        Err(error) => return Err(not_there(name, disk, &path, &error)),
                    }
                    let directory = self.directory_of(&path).await?;
                    let (target, encryption) = (disk.target.dev.clone(), disk.encryption_trees());
                    let has_backing = encryption.iter().any(Option::is_some)
                        && self.storage.stands_on_another(&path, found.format).await?;
                    let (format, backing_store) = (found.format, disk.backing_store.clone());
                    disks.push(SourceDisk {
                        target,
                        path,
                        format,
                        encryption,
                        backing_store,
                        has_backing,
                        directory,
                    });
                }
            }
        }
        Ok(disks)
    }

    /// Refuses copies that would not share blocks, where that was asked for.
    pub(super) fn refuse_unshared(&self, disks: &[PlannedDisk]) -> Result<()> {
        for disk in disks {
            let directory = disk.to.parent();
            let pool = self.pools.list().into_iter().find(|pool| pool.path.as_deref() == directory);
            let shares = disk.how == How::Layer
                && disk.from.parent() == directory
                && pool.is_some_and(|pool| pool.reflink == Some(true));
            if !shares && disk.how != How::Linked {
                let text = format!("a copy of `{}` cannot share its blocks there", disk.from.display());
                return Err(EngineError::new(Kind::Unsupported, text)
                    .with_hint("btrfs and XFS can, within one file system; leave --reflink out to copy"));
            }
        }
        Ok(())
    }

    /// The pool that a file lies in; of one that lies in none the default pool.
    async fn directory_of(&self, path: &Path) -> Result<PathBuf> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let same = |pool: &PathBuf| {
            pool == parent
                || std::fs::canonicalize(pool)
                    .is_ok_and(|pool| std::fs::canonicalize(parent).is_ok_and(|parent| pool == parent))
        };
        if let Some(pool) = self.pools.list().into_iter().filter_map(|pool| pool.path).find(same) {
            return Ok(pool);
        }
        let pool = self.pools.ensure_default().await?;
        Ok(pool.path.unwrap_or_else(|| self.storage.pool_dir()))
    }
}

/// Where a copy's disk goes and how it is made. `at`: its place among those copied.
pub(super) fn placed(
    disk: &SourceDisk,
    (name, at): (&str, usize),
    is_base: bool,
    spec: &CloneSpec,
) -> Result<PlannedDisk> {
    let how = match spec.mode {
        CloneMode::Full => How::Alone,
        CloneMode::Linked | CloneMode::Auto if is_base => How::Linked,
        CloneMode::Linked => {
            let text = format!(
                "disk {} of `{}` is written by its domain; nothing can stand on it",
                disk.target, spec.source
            );
            return Err(EngineError::new(Kind::InvalidState, text).with_hint(format!(
                "make a template first (lodge template create {0}) and clone that, or leave --linked out to get copies",
                spec.source
            )));
        }
        CloneMode::Auto => How::Layer,
    };
    // What is encrypted and stands alone is copied as it is.
    let how = match how {
        How::Alone if disk.is_encrypted() && !disk.has_backing => How::Layer,
        how => how,
    };
    let format = if how == How::Linked { Format::Qcow2 } else { disk.format };
    let asked = spec.files.get(at).map(PathBuf::from);
    let how = if asked.is_some() && spec.preserve_data { How::Taken } else { how };
    let to = match asked {
        Some(path) if path.is_absolute() => path,
        Some(path) => {
            let text = format!("`{}` is not an absolute path", path.display());
            return Err(EngineError::new(Kind::InvalidInput, text));
        }
        None => {
            let named =
                |name: &str| disk.directory.join(file_name(name, at, &disk.target, &disk.path, format));
            // A domain that is replaced keeps its disks, which may have the name.
            let others = (1..TRIES).map(|number| named(&format!("{name}-{number}")));
            let mut free = std::iter::once(named(name)).chain(others.filter(|_| spec.replace));
            free.find(|path| !spec.replace || path.symlink_metadata().is_err()).unwrap_or_else(|| named(name))
        }
    };
    let is_there = to.symlink_metadata().is_ok();
    if is_there != (how == How::Taken) {
        let (kind, word) =
            if is_there { (Kind::Exists, "is there already") } else { (Kind::NotFound, "is not there") };
        let text = format!("the file `{}` {word}", to.display());
        return Err(
            EngineError::new(kind, text).with_hint("choose another name, or another file with --file")
        );
    }
    let is_read = how == How::Alone && disk.is_encrypted();
    let to_read = if is_read { disk.to_read() } else { Vec::new() };
    // What was encrypted stays so: a copy of all of it, by the secret of the nearest.
    let nearest = to_read.iter().flatten().next().cloned();
    Ok(PlannedDisk {
        target: disk.target.clone(),
        from: disk.path.clone(),
        from_format: disk.format,
        to,
        format,
        how,
        size: None,
        is_encrypted: disk.is_encrypted(),
        encryption: if is_read { nearest } else { disk.own_encryption() },
        to_read,
        backing_store: match how {
            How::Linked => disk.backing_store_of_link(),
            How::Layer | How::Taken => disk.backing_store_of_copy(),
            How::Alone => None,
        },
    })
}

/// `web2.qcow2`, `web2-vdb.qcow2`: the first disk has the guest's name, as those of instances have.
pub(crate) fn file_name(name: &str, at: usize, target: &str, from: &Path, format: Format) -> String {
    let ending = match (format, from.extension().and_then(|ending| ending.to_str())) {
        (Format::Qcow2, _) => "qcow2",
        (Format::Raw, Some("raw")) => "raw",
        (Format::Raw, _) => "img",
    };
    // A name of a guest may have what a file's cannot.
    let name = name.replace('/', "_");
    if at == 0 { format!("{name}.{ending}") } else { format!("{name}-{target}.{ending}") }
}

fn refused(name: &str, disk: &Disk, why: &str) -> EngineError {
    let target = &disk.target.dev;
    EngineError::new(Kind::Unsupported, format!("disk {target} of `{name}` {why}, and cannot be copied"))
        .with_hint(format!(
            "detach it, or let the clone have the same one (--skip-copy {target}); only one of the two may run then"
        ))
}

/// A disk whose file nobody can look at.
fn not_there(name: &str, disk: &Disk, path: &Path, error: &std::io::Error) -> EngineError {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        _ => Kind::Unavailable,
    };
    let text = format!("disk {} of `{name}`: `{}`: {error}", disk.target.dev, path.display());
    EngineError::new(kind, text).with_hint("create it, or correct `<source>` in the domain's document")
}

/// A format as its word.
mod format_word {
    use lodge_storage::Format;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub fn serialize<S: Serializer>(format: &Format, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(format.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map_err(|_| D::Error::custom(format!("`{word}` is no format")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_guest_and_disk() {
        let name = |at, target, from: &str, format| file_name("a/b", at, target, Path::new(from), format);
        assert_eq!(name(0, "vda", "/x.img", Format::Qcow2), "a_b.qcow2");
        assert_eq!(name(1, "vdb", "/x.raw", Format::Raw), "a_b-vdb.raw");
        assert_eq!(name(0, "vda", "/x", Format::Raw), "a_b.img");
    }
}
