//! Copies of volumes, from one format to another if need be.

mod encrypted;

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{SeekFrom, ioctl_ficlone, seek},
    io::Errno,
};

use super::{
    create::{MakeOptions, backing_at, check, image_options, keep, size},
    facts::{PoolVolume, VolumeKind},
    kind::VolumeFormat,
    tool::Run,
    wanted::Wanted,
};
use crate::{
    chain::open_chain,
    file::{Access, DiskFile},
    format::Format,
    image::real,
    limits,
    pool::{
        Pools,
        backend::Backend,
        error::PoolError,
        table::{PoolHandle, Slot},
    },
    temp::TempFile,
};

/// Zeros of this length and place are left out of a sparse copy.
const GRAIN_BYTES: usize = 64 << 10;
const BLOCK_BYTES: usize = 1 << 20;

impl Pools {
    /// Makes a volume as a copy of another, which may be another pool's.
    pub async fn clone_volume(
        &self,
        pool: &PoolHandle,
        xml: &str,
        from: (&PoolHandle, &str),
        options: MakeOptions,
    ) -> Result<Arc<PoolVolume>, PoolError> {
        self.with(pool.id, Some(&pool.name), Slot::active)??;
        self.with(from.0.id, Some(&from.0.name), Slot::active)??;
        let kind = self.with(pool.id, Some(&pool.name), |slot| slot.def.kind)?;
        let backend = Backend::of(kind)?;
        let mut wanted = Wanted::read_for(backend, xml, options.strict, false)?;
        let making = self.reserve(pool, &wanted.name, || {
            PoolError::Internal(format!("storage volume name '{}' already in use.", wanted.name))
        })?;
        let (_, _busy) = self.hold(from.0, from.1)?;
        let source = self.look_at(from.0, from.1).await?;
        if let (Some(has), Some(wants)) = (&source.encryption, &mut wanted.encryption)
            && wants.secrets.is_empty()
        {
            wants.secrets.clone_from(&has.secrets);
        }
        if !backend.holds_files() {
            // As libvirt: a copy is never smaller.
            let capacity = wanted.capacity.unwrap_or_default().max(source.capacity);
            wanted.capacity = Some(capacity);
            wanted.allocation = Some(capacity);
            return self.clone_device(pool, &wanted, making, &source, options).await;
        }
        self.refuse_taken(pool, &making.path).await?;
        check(&wanted, options)?;
        if source.kind == VolumeKind::Dir || wanted.format == VolumeFormat::Dir {
            return Err(PoolError::Unsupported("directories are not copied as volumes".to_owned()));
        }
        // As libvirt: a copy is never smaller.
        let capacity = wanted.capacity.unwrap_or_default().max(source.capacity);
        wanted.allocation = Some(wanted.allocation.map_or(capacity, |bytes| bytes.min(capacity)));
        wanted.capacity = Some(capacity);
        self.refuse_another_ground(pool, &wanted, &source, &making.path).await?;
        let is_encrypted = source.encryption.is_some() || wanted.encryption.is_some();
        if is_encrypted || self.stands_on_encrypted(pool, &source).await? {
            self.copy_encrypted(pool, &wanted, &source, &making.path, options).await?;
        } else if wanted.format.is_plain() && source.format.is_plain() {
            self.copy_plain(pool, &wanted, &source, &making.path, options).await?;
        } else if options.reflink {
            let text = "unsupported flags (0x2) in function storageBackendCreateQemuImg";
            return Err(PoolError::Argument(text.to_owned()));
        } else {
            self.convert(pool, &wanted, &source, &making.path, options).await?;
        }
        self.note_new(pool, &wanted, making).await
    }

    /// Of an overlay is copied what is in it: on another file the copy would show other bytes.
    async fn refuse_another_ground(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        source: &PoolVolume,
        path: &Path,
    ) -> Result<(), PoolError> {
        let (Some((name, format)), Some(has)) = (&wanted.backing, &source.backing) else { return Ok(()) };
        let (wants, has, is_format) =
            (backing_at(path, name), has.clone(), *format == has.format || format.is_plain());
        let look = move || Ok(wants == has.path || real(&wants) == real(&has.path));
        let (is_same, ()) = self.blocking(pool, limits::LOOK, (), look).await?;
        if is_same && is_format {
            return Ok(());
        }
        Err(PoolError::Internal("a different backing store cannot be specified.".to_owned()))
    }

    async fn copy_plain(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        source: &PoolVolume,
        path: &Path,
        options: MakeOptions,
    ) -> Result<(), PoolError> {
        let (temp, wanted) = self.temp_for(pool, path, wanted.clone()).await?;
        let (source, path) = (source.path.clone(), path.to_owned());
        let bytes = wanted.capacity.unwrap_or_default();
        let copying = move || {
            let from = DiskFile::open(&source, Access::Read).map_err(PoolError::Disk)?;
            if options.reflink {
                ioctl_ficlone(temp.file(), &from.file).map_err(|error| {
                    PoolError::system(format!("failed to clone files from '{}'", source.display()), error)
                })?;
            }
            let capacity = wanted.capacity.unwrap_or_default();
            let allocation = wanted.allocation.unwrap_or(capacity);
            let is_shared = options.reflink || ioctl_ficlone(temp.file(), &from.file).is_ok();
            size(temp.file(), &path, capacity, if is_shared { 0 } else { allocation })?;
            if !is_shared {
                copy((&from.file, source.as_path()), (temp.file(), path.as_path()), capacity)?;
            }
            keep(temp, &path)
        };
        self.on_thread(pool, bytes, (), copying).await.map(|((), ())| ())
    }

    async fn convert(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        source: &PoolVolume,
        path: &Path,
        options: MakeOptions,
    ) -> Result<(), PoolError> {
        let (files, is_same) = self.files_of(pool, wanted, source, path, options).await?;
        let (temp, wanted) = self.temp_for(pool, path, wanted.clone()).await?;
        if is_same {
            let (source, path, bytes) = (source.path.clone(), path.to_owned(), source.physical);
            let copying = move || copy_same(&source, temp, &path, false);
            return self.on_thread(pool, bytes, (), copying).await.map(|((), ())| ());
        }
        let word = |format: VolumeFormat| if format.is_plain() { "raw" } else { format.as_str() };
        let run = Run::new("qemu-img").args([
            "convert",
            "-q",
            "-f",
            word(source.format),
            "-O",
            word(wanted.format),
        ]);
        let without_backing = Wanted { backing: None, ..wanted.clone() };
        let mut run = image_options(run, &without_backing, options);
        if let Some((name, format)) = &wanted.backing {
            run = run.args(["-B", name.as_str(), "-F", word(*format)]);
        }
        run = run.args([source.path.as_os_str(), temp.path().as_os_str()]);
        run = files.iter().fold(run, |run, file| run.reads(file));
        run.writes(temp.path()).said_as(temp.path(), path).run().await?;
        let (path, wanted, bytes) = (path.to_owned(), wanted.clone(), wanted.capacity.unwrap_or_default());
        let keeping = move || {
            if wanted.format.is_plain() {
                size(temp.file(), &path, wanted.capacity.unwrap_or_default(), 0)?;
            }
            keep(temp, &path)
        };
        self.on_thread(pool, bytes, (), keeping).await.map(|((), ())| ())
    }

    /// The files a conversion reads, and whether the copy is the same bytes: a qcow2 that is to be as it is.
    async fn files_of(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        source: &PoolVolume,
        path: &Path,
        options: MakeOptions,
    ) -> Result<(Vec<PathBuf>, bool), PoolError> {
        let (from, gate) = (source.clone(), self.storage().gate());
        let (wanted, path) = (wanted.clone(), path.to_owned());
        let look = move || {
            if from.format != VolumeFormat::Qcow2 {
                return Ok((vec![from.path], false));
            }
            let links =
                open_chain(&from.path, Format::Qcow2, Access::Read, &gate).map_err(PoolError::Disk)?;
            let header = links[0].disk.qcow2_header().map_err(PoolError::Disk)?;
            let files: Vec<_> = links.iter().map(|link| link.disk.path.clone()).collect();
            let backing = wanted.backing.as_ref().map(|(name, _)| backing_at(&path, name));
            let features = wanted.features.unwrap_or_default();
            let is_same = wanted.format == VolumeFormat::Qcow2
                && !options.prealloc_metadata
                && !header.has_snapshots
                && header.version == if wanted.compat.as_deref() == Some("0.10") { 2 } else { 3 }
                && wanted.cluster_bytes.is_none_or(|bytes| bytes == header.cluster_bytes)
                && features.lazy_refcounts == header.has_lazy_refcounts
                && features.extended_l2 == header.has_extended_l2
                && backing.as_deref() == files.get(1).map(PathBuf::as_path)
                // A relative name would mean another file from the copy's place.
                && header.backing.is_none_or(|backing| backing.name.starts_with('/'));
            Ok((files, is_same))
        };
        let (found, ()) = self.blocking(pool, limits::LOOK, (), look).await?;
        Ok(found)
    }
}

/// Gives the bytes of `source` the name `path`: shared with it where the file system can, or else, unless they must be
/// shared, copied.
fn copy_same(source: &Path, temp: TempFile, path: &Path, must_share: bool) -> Result<(), PoolError> {
    let from = DiskFile::open(source, Access::Read).map_err(PoolError::Disk)?;
    let length = from.length().map_err(PoolError::Disk)?;
    match ioctl_ficlone(temp.file(), &from.file) {
        Ok(()) => {}
        Err(error) if must_share => {
            return Err(PoolError::system(
                format!("failed to clone files from '{}'", source.display()),
                error,
            ));
        }
        Err(_) => {
            size(temp.file(), path, length, 0)?;
            copy((&from.file, source), (temp.file(), path), length)?;
        }
    }
    keep(temp, path)
}

/// Copies the data of `from` up to `end` into `to`, where everything is zero yet. The names are for messages.
fn copy((from, source): (&File, &Path), (to, path): (&File, &Path), end: u64) -> Result<(), PoolError> {
    let unread = |error: io::Error| {
        PoolError::system(format!("failed reading from file '{}'", source.display()), error)
    };
    let unwritten =
        |error: io::Error| PoolError::system(format!("failed writing to file '{}'", path.display()), error);
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = 0;
    while at < end {
        let start = match seek(from, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => return Ok(()),
            // A device knows no holes.
            Err(Errno::INVAL) => at,
            start => start.map_err(|error| unread(error.into()))?,
        };
        let data_end = match seek(from, SeekFrom::Hole(start)) {
            Err(Errno::INVAL) => end,
            hole => hole.map_err(|error| unread(error.into()))?.min(end),
        };
        at = start;
        while at < data_end {
            let left = usize::try_from(data_end - at).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
            from.read_exact_at(&mut block[..left], at).map_err(unread)?;
            for (number, grain) in block[..left].chunks(GRAIN_BYTES).enumerate() {
                if grain.iter().any(|byte| *byte != 0) {
                    to.write_all_at(grain, at + (number * GRAIN_BYTES) as u64).map_err(unwritten)?;
                }
            }
            at += left as u64;
        }
    }
    Ok(())
}
