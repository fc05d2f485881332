//! Giving back the room of what reads as zero.
//!
//! A raw file gets holes where it lies: its bytes stay what they are at every moment. A qcow2 is written anew beside
//! itself, by the same owner and with the same mode, and takes the old one's place when it is whole and on disk; what
//! it stands on it goes on standing on. Refused while anybody has it, and where something would be lost.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lodge_model::Bytes;
use rustix::{
    fs::{FallocateFlags, SeekFrom, XattrFlags, fallocate, seek},
    io::Errno,
};
use tokio_util::sync::CancellationToken;

use super::{
    convert::{on_thread, part_of},
    hold::Purpose,
    kind::ImageFormat,
    pack::Compression,
    pour::{Pour, Sink, is_zero, pour},
    qcow2_writer::Qcow2Writer,
    source::{Source, is_read_here, read_full},
};
use crate::{
    Storage,
    chain::OpenLink,
    error::StorageError,
    file::{Access, DiskFile},
    format::Format,
    qcow2::Header,
    temp::TempFile,
    vol::{facts::Features, new_qcow2::Blank},
};

const BLOCK_BYTES: usize = 1 << 20;
/// Holes of raw files: a page, which is a block of the usual file systems.
const HOLE_BYTES: usize = 4 << 10;

/// A gain of less than one such part is not worth another file.
const WORTH: u64 = 64;

/// What an image took before and takes now, in bytes on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Before.
    pub before: Bytes,
    /// Now.
    pub after: Bytes,
}

impl Storage {
    /// Makes an image take no more room than it needs. `tell` gets 0 to 1.
    pub async fn compact_image(
        &self,
        path: &Path,
        format: ImageFormat,
        cancel: &CancellationToken,
        tell: impl Fn(f32) + Send + Sync + 'static,
    ) -> Result<Compacted, StorageError> {
        let Some(format) = format.of_disks() else {
            return Err(refused(
                path,
                &format!("is {format}, which is not compacted in place"),
                "convert it",
            ));
        };
        let named = path.to_owned();
        let real =
            move || fs::canonicalize(&named).map_err(|source| StorageError::Open { path: named, source });
        let path = self.blocking(path, crate::limits::LOOK, real).await?;
        let _held = self.hold_image(&path, format.into(), Purpose::Rewrite, "image compact").await?;
        let (owned, tell) = (path.clone(), Arc::new(tell));
        let done = on_thread(&path, cancel, move |stop| match format {
            Format::Raw => dig_holes(&owned, stop, &*tell),
            Format::Qcow2 => write_anew(&owned, stop, &*tell),
        })
        .await?;
        self.image_rewritten(&path, done.after).await?;
        tracing::info!(path = %path.display(), before = done.before.0, after = done.after.0, "image compacted");
        Ok(done)
    }
}

fn refused(path: &Path, what: &str, hint: &str) -> StorageError {
    StorageError::Refused { path: path.to_owned(), what: what.to_owned(), hint: hint.to_owned() }
}

fn dig_holes(path: &Path, stop: &AtomicBool, tell: &dyn Fn(f32)) -> Result<Compacted, StorageError> {
    let disk = DiskFile::open(path, Access::Write)?;
    let failed = |source| StorageError::Act { act: "compact", path: path.to_owned(), source };
    if !disk.file.metadata().map_err(failed)?.is_file() {
        return Err(refused(
            path,
            "is a device, which has no room to give back",
            "discard in the guest (fstrim)",
        ));
    }
    let end = disk.length()?;
    let part = part_of(end, tell);
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = 0;
    while at < end {
        if stop.load(Ordering::Relaxed) {
            return Err(StorageError::Cancelled { path: path.to_owned() });
        }
        at = match seek(&disk.file, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            data => data.map_err(|error| failed(error.into()))?,
        } / HOLE_BYTES as u64
            * HOLE_BYTES as u64;
        let length = usize::try_from(end - at).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
        read_full(&disk.file, &mut block[..length], at).map_err(failed)?;
        for (from, to) in zero_runs(&block[..length]) {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let dug = fallocate(&disk.file, flags, at + from as u64, (to - from) as u64);
            dug.map_err(|error| failed(error.into()))?;
        }
        at += length as u64;
        part(at);
    }
    disk.file.sync_all().map_err(failed)?;
    let after = disk.file.metadata().map_err(failed)?.blocks() * 512;
    Ok(Compacted { before: Bytes(disk.allocation), after: Bytes(after) })
}

/// Where whole pages of zeros begin and end.
fn zero_runs(block: &[u8]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (number, page) in block.chunks(HOLE_BYTES).enumerate() {
        if !is_zero(page) {
            continue;
        }
        let (from, to) = (number * HOLE_BYTES, number * HOLE_BYTES + page.len());
        match runs.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => runs.push((from, to)),
        }
    }
    runs
}

fn write_anew(path: &Path, stop: &AtomicBool, tell: &dyn Fn(f32)) -> Result<Compacted, StorageError> {
    let disk = DiskFile::open(path, Access::Read)?;
    let header = disk.qcow2_header()?;
    let failed = |source| StorageError::Act { act: "compact", path: path.to_owned(), source };
    let old = disk.file.metadata().map_err(failed)?;
    refuse_loss(path, &header, &old)?;
    let before = Bytes(disk.allocation);
    let backing =
        header.backing.as_ref().map(|backing| backing.known_format().map(|format| (backing, format)));
    let backing = match backing {
        None => None,
        Some(Some((backing, Ok(format)))) => Some((backing.name.clone(), format.as_str())),
        // The chain was opened to hold it, so the format was there.
        Some(_) => {
            return Err(refused(
                path,
                "does not say its backing file's format",
                "say it: qemu-img rebase -u",
            ));
        }
    };
    let blank = Blank {
        virtual_bytes: header.virtual_bytes,
        cluster_bytes: header.cluster_bytes,
        version: header.version,
        features: Features { lazy_refcounts: header.has_lazy_refcounts, extended_l2: false },
        backing,
    };
    let (format, virtual_bytes) = (Format::Qcow2, header.virtual_bytes);
    let link = OpenLink { disk, format, virtual_bytes, is_locked: false };
    let source = Source::open_top(link)?;
    let temp = TempFile::create(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    let image = Qcow2Writer::begin(temp.file(), blank, None).map_err(failed)?;
    let mut sink = Sink::Qcow2(Box::new(image));
    let how = Pour {
        grain_bytes: header.cluster_bytes,
        // What was compressed stays so.
        compression: Some(Compression::Zlib),
        top_only: true,
    };
    if !pour(&source, &mut sink, how, stop, &part_of(header.virtual_bytes, tell)).map_err(failed)? {
        return Err(StorageError::Cancelled { path: path.to_owned() });
    }
    if let Sink::Qcow2(image) = sink {
        image.finish().map_err(failed)?;
    }
    dress(temp.file(), &source.links[0].file, &old).map_err(failed)?;
    // Before that the file system has not decided where all of it goes.
    temp.file().sync_all().map_err(failed)?;
    let after = Bytes(temp.file().metadata().map_err(failed)?.blocks() * 512);
    if after.0.saturating_add(before.0 / WORTH) >= before.0 {
        return Ok(Compacted { before, after: before });
    }
    temp.take_place_of(path, &old).map_err(failed)?;
    Ok(Compacted { before, after })
}

fn refuse_loss(path: &Path, header: &Header, old: &fs::Metadata) -> Result<(), StorageError> {
    let faults = [
        (!old.is_file(), "is a device, which has no room to give back", "discard in the guest (fstrim)"),
        (header.has_snapshots, "has snapshots inside, which would be lost", "delete them first"),
        (header.has_bitmaps, "has bitmaps, which would be lost", "remove them: qemu-img bitmap --remove"),
        (header.is_dirty, "was not closed well", "repair it first: lodge image check --repair leaks"),
        (
            old.nlink() > 1,
            "has another name (a hard link), which would keep the old file",
            "remove the other name",
        ),
        (!is_read_here(header), "has features that are not written here", "convert it: lodge image convert"),
    ];
    match faults.into_iter().find(|(is_so, ..)| *is_so) {
        Some((_, what, hint)) => Err(refused(path, what, hint)),
        None => Ok(()),
    }
}

/// Owner, mode and attributes of the old file for the new one.
pub(crate) fn dress(new: &File, old_file: &File, old: &fs::Metadata) -> io::Result<()> {
    fchown(new, Some(old.uid()), Some(old.gid()))?;
    new.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
    let mut names = vec![0; 64 << 10];
    let Ok(length) = rustix::fs::flistxattr(old_file, &mut names) else { return Ok(()) };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(old_file, name, &mut value)?;
        match rustix::fs::fsetxattr(new, name, &value[..length], XattrFlags::empty()) {
            // Labels that the system gives by itself.
            Err(Errno::PERM | Errno::OPNOTSUPP) if name.starts_with(b"security.") => {}
            result => result?,
        }
    }
    Ok(())
}
