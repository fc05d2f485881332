//! Looking at a pool's directory and at one file of it.
//!
//! A file whose stamp is as it was is not opened again, so that looking at 10,000 known files costs 10,000 `stat`s.
//! Runs on a blocking thread: nothing here is `async`.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};

use lodge_model::storage::Encryption;
use lodge_sys::fs::TEMP_PREFIX;
use rustix::fs::{OFlags, SeekFrom, seek};

use super::{
    facts::{BackingFacts, Features, Owner, PoolVolume, Stamp, Times, VolumeKind},
    kind::VolumeFormat,
    probe::{Looks, probe},
};
use crate::{chain::backing_path, limits, qcow2::Backing};

/// The volumes of a directory, by name. What has no text as its name, or a control character, is nobody's volume.
pub(crate) fn scan(
    dir: &Path,
    known: &BTreeMap<String, Arc<PoolVolume>>,
) -> io::Result<BTreeMap<String, Arc<PoolVolume>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)?.take(limits::DIRECTORY_FILES) {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            tracing::warn!(path = %entry.path().display(), "file with a name that is no text left out");
            continue;
        };
        if name.starts_with(TEMP_PREFIX) || name == "lost+found" || is_unprintable(&name) {
            continue;
        }
        match look(&entry.path(), &name, known.get(&name).map(Arc::as_ref)) {
            Ok(Some(volume)) => drop(found.insert(name, Arc::new(volume))),
            Ok(None) => {}
            Err(error) => tracing::warn!(path = %entry.path().display(), %error, "file left out"),
        }
    }
    Ok(found)
}

/// libvirt's control characters: tab and line breaks are none of them.
fn is_unprintable(name: &str) -> bool {
    name.bytes().any(|byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r'))
}

/// Looks at one file. `None`: it is no volume (a FIFO, a link that leads nowhere …). `known`: what was seen before.
pub(crate) fn look(path: &Path, name: &str, known: Option<&PoolVolume>) -> io::Result<Option<PoolVolume>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    let kind = metadata.file_type();
    if let Some(known) = known.filter(|known| known.stamp == Stamp::of(&metadata)) {
        return Ok(Some(again(known, &metadata)));
    }
    if kind.is_file() || kind.is_block_device() {
        return read(path, name, &metadata).map(Some);
    }
    Ok(kind.is_dir().then(|| plain(path, name, &metadata, VolumeKind::Dir, VolumeFormat::Dir, 0)))
}

/// Looks at a device of a pool of devices. Its bytes are a guest's matter and not looked at. `None`: there is none.
pub(crate) fn look_at_device(path: &Path, name: &str) -> io::Result<Option<PoolVolume>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    if !metadata.file_type().is_block_device() {
        return Ok(None);
    }
    let length = seek(open(path)?, SeekFrom::End(0))?;
    Ok(Some(plain(path, name, &metadata, VolumeKind::Block, VolumeFormat::Raw, length)))
}

/// What was seen before, with what changes without the stamp changing.
fn again(known: &PoolVolume, metadata: &Metadata) -> PoolVolume {
    let mut volume = known.clone();
    volume.times = Times::of(metadata);
    volume.allocation = allocation(metadata, volume.kind);
    if let Some(backing) = &mut volume.backing {
        *backing = backing_again(backing);
    }
    volume
}

fn backing_again(backing: &BackingFacts) -> BackingFacts {
    let metadata =
        Some(&backing.path).filter(|path| path.is_absolute()).and_then(|path| fs::metadata(path).ok());
    BackingFacts {
        owner: metadata.as_ref().map(Owner::of),
        times: metadata.as_ref().map(Times::of),
        ..backing.clone()
    }
}

fn read(path: &Path, name: &str, metadata: &Metadata) -> io::Result<PoolVolume> {
    let is_block = metadata.file_type().is_block_device();
    let kind = if is_block { VolumeKind::Block } else { VolumeKind::File };
    let file = match open(path) {
        // A user's session meets files of others: they are there, more is not known.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(plain(path, name, metadata, kind, VolumeFormat::Raw, metadata.len()));
        }
        file => file?,
    };
    let length = if is_block { seek(&file, SeekFrom::End(0))? } else { metadata.len() };
    let looks = probe(&file, length)?;
    let mut volume = plain(path, name, metadata, kind, looks.format, length);
    volume.capacity = looks.capacity.unwrap_or(length);
    volume.encryption = looks.is_luks.then(Encryption::luks);
    show_header(&mut volume, looks);
    Ok(volume)
}

fn open(path: &Path) -> io::Result<File> {
    // Not blocking: should it have become a FIFO in between, this returns at once.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn plain(
    path: &Path,
    name: &str,
    metadata: &Metadata,
    kind: VolumeKind,
    format: VolumeFormat,
    length: u64,
) -> PoolVolume {
    PoolVolume {
        name: name.to_owned(),
        path: path.to_owned(),
        kind,
        format,
        capacity: length,
        allocation: if kind == VolumeKind::Block { length } else { allocation(metadata, kind) },
        physical: length,
        owner: Owner::of(metadata),
        times: Times::of(metadata),
        compat: None,
        cluster_bytes: None,
        features: None,
        backing: None,
        block: None,
        encryption: None,
        stamp: Stamp::of(metadata),
        is_probed: true,
    }
}

fn allocation(metadata: &Metadata, kind: VolumeKind) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    match kind {
        VolumeKind::Dir => 0,
        VolumeKind::File | VolumeKind::Block => metadata.blocks() * 512,
    }
}

fn show_header(volume: &mut PoolVolume, looks: Looks) {
    let Some(header) = looks.qcow2 else { return };
    // Of version 2 libvirt says neither compat nor features.
    if header.version >= 3 {
        volume.compat = Some("1.1".to_owned());
        volume.features =
            Some(Features { lazy_refcounts: header.has_lazy_refcounts, extended_l2: header.has_extended_l2 });
    }
    volume.cluster_bytes = Some(header.cluster_bytes);
    volume.backing = header.backing.map(|backing| backing_facts(&volume.path, &backing));
}

fn backing_facts(overlay: &Path, backing: &Backing) -> BackingFacts {
    let path = backing_path(overlay, &backing.name).unwrap_or_else(|_| backing.name.clone().into());
    let format = backing.format.as_deref().and_then(|word| word.parse().ok());
    let facts = BackingFacts { path, format: VolumeFormat::Raw, owner: None, times: None };
    let format = format.unwrap_or_else(|| looks_of(&facts.path));
    backing_again(&BackingFacts { format, ..facts })
}

/// A backing file without a format in the header: shown as what it looks like. Only shown: a start refuses it.
fn looks_of(path: &Path) -> VolumeFormat {
    let look = || -> Option<VolumeFormat> {
        let metadata = fs::metadata(path).ok().filter(|metadata| path.is_absolute() && metadata.is_file())?;
        Some(probe(&open(path).ok()?, metadata.len()).ok()?.format)
    };
    look().unwrap_or(VolumeFormat::Raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_directories_and_links_are_volumes_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("text"), "hello").unwrap();
        fs::write(at(".hidden"), "x").unwrap();
        fs::write(at(".lodge-tmp.disk.1.1"), "x").unwrap();
        fs::write(at("bell\u{7}"), "x").unwrap();
        fs::create_dir(at("sub")).unwrap();
        fs::create_dir(at("lost+found")).unwrap();
        std::os::unix::fs::symlink("text", at("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let found = scan(dir.path(), &BTreeMap::new()).unwrap();
        let kinds: Vec<_> = found.values().map(|v| (v.name.as_str(), v.kind.as_str(), v.capacity)).collect();
        let expected = [(".hidden", "file", 1), ("link", "file", 5), ("sub", "dir", 0), ("text", "file", 5)];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_known_file_is_not_opened_again_and_a_changed_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "one").unwrap();
        let mut known = scan(dir.path(), &BTreeMap::new()).unwrap();
        // A mark that only a look into the file would take away.
        Arc::make_mut(known.get_mut("a").unwrap()).format = VolumeFormat::Vdi;
        assert_eq!(scan(dir.path(), &known).unwrap()["a"].format, VolumeFormat::Vdi);
        fs::write(&path, "more than one").unwrap();
        let seen = scan(dir.path(), &known).unwrap();
        assert_eq!((seen["a"].format, seen["a"].capacity), (VolumeFormat::Raw, 13));
    }
}
