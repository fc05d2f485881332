//! Growing a disk with the partition and file system at its end, offline.
//!
//! The usual way is not this one: the guest does it at its next boot (cloud-init's growpart in our images). Here it is
//! done to a copy beside the image, which takes its place when it is whole, checked and on disk: a crash at any moment
//! leaves the old image.
//!
//! ```text
//!  image ──pour──▶ raw copy, longer ──▶ GPT: last partition to the end ──▶ its file system out, checked, grown, back
//!        ◀──────────────── takes its place ◀── (qcow2: poured once more) ◀──┘
//! ```
//! Only ext2/3/4 in the last partition of a GPT, or bare on the disk. Everything else is told why not.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gptman::GPT;
use lodge_model::Bytes;
use tokio_util::sync::CancellationToken;

use super::{
    compact::dress,
    convert::on_thread,
    foreign::{of_pool, said, time_for},
    hold::Purpose,
    kind::ImageFormat,
    pour::{Pour, Sink, pour},
    qcow2_writer::Qcow2Writer,
    resize::Resized,
    source::{Source, read_full},
};
use crate::{
    Storage,
    chain::Gate,
    error::StorageError,
    format::Format,
    limits,
    temp::TempFile,
    vol::{facts::Features, new_qcow2::Blank, tool::Run},
    volume::whole_sectors,
};

const SECTOR: u64 = 512;
/// Partitions end where the next could begin well.
const ALIGN_SECTORS: u64 = 2048;
/// ext's superblock, and its magic within (fs/ext4/ext4.h).
const EXT_MAGIC_AT: u64 = 1024 + 0x38;
const EXT_MAGIC: [u8; 2] = [0x53, 0xef];
const GPT_MAGIC: &[u8] = b"EFI PART";
/// Number and size of a GPT's entries, and what is sane of them: the table is read into memory.
const PARTITIONS_AT: u64 = 80;
const PARTITIONS_MAX: u32 = 1024;
const ENTRY_BYTES_MAX: u32 = 512;
/// The one entry of a protective MBR: its type, and its length in sectors.
const MBR_TYPE_AT: u64 = 446 + 4;
const MBR_LENGTH_AT: u64 = 446 + 12;
const MBR_PROTECTIVE: u8 = 0xee;
const RAW_GRAIN_BYTES: u64 = 4 << 10;

/// Where on the disk the file system lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    at: u64,
    length: u64,
}

impl Storage {
    /// Gives an image a greater size, and its last partition's file system too.
    pub async fn grow_image(
        &self,
        path: &Path,
        format: ImageFormat,
        size: Bytes,
        cancel: &CancellationToken,
        tell: impl Fn(f32) + Send + Sync + 'static,
    ) -> Result<Resized, StorageError> {
        let size = whole_sectors(size)?;
        self.refuse_base(path).await?;
        let Some(disk_format) = format.of_disks() else {
            return Err(refuse(path, &format!("is {format}, which is not grown with what is in it")));
        };
        let named = path.to_owned();
        let real =
            move || fs::canonicalize(&named).map_err(|source| StorageError::Open { path: named, source });
        let path = self.blocking(path, limits::LOOK, real).await?;
        let _held = self.hold_image(&path, format, Purpose::Rewrite, "image resize").await?;
        let seen = self.describe_image(&path, format, false).await?.remove(0);
        if seen.backing.is_some() {
            return Err(refuse(&path, "stands on another file, whose bytes would be copied into it"));
        }
        if seen.snapshots > 0 {
            return Err(refuse(&path, "has snapshots inside, which would be lost"));
        }
        if size <= seen.virtual_size {
            return Err(refuse(&path, &format!("has {} bytes already", seen.virtual_size.0)));
        }
        let (owned, gate) = (path.clone(), self.gate());
        let laid =
            on_thread(&path, cancel, move |stop| lay_out(&owned, disk_format, &gate, size, stop, &tell));
        let (copy, part, place) = laid.await?;
        self.grow_ext(&path, part.path(), place.length).await?;
        let owned = path.clone();
        on_thread(&path, cancel, move |stop| finish(&owned, disk_format, copy, &part, place, stop)).await?;
        tracing::info!(path = %path.display(), before = seen.virtual_size.0, after = size.0, "image grown");
        Ok(Resized { before: seen.virtual_size, after: size })
    }

    /// Checks and grows the file system in a file to the file's length.
    async fn grow_ext(&self, image: &Path, part: &Path, length: u64) -> Result<(), StorageError> {
        // Of e2fsck: 0 is sound, 1 is sound by now.
        for (program, args, good) in
            [("e2fsck", &["-f", "-p"][..], 1), ("resize2fs", &[], 0), ("e2fsck", &["-f", "-n"], 0)]
        {
            let run = Run::new(program).args(args.iter().copied()).args([part.as_os_str()]).writes(part);
            let run = run.said_as(part, image).within(time_for(length));
            let answer = run.answer().await.map_err(|error| of_pool(error, image))?;
            if !answer.code.is_some_and(|code| (0..=good).contains(&code)) {
                return Err(said(&answer, "grow the file system in", image));
            }
        }
        Ok(())
    }
}

fn refuse(path: &Path, what: &str) -> StorageError {
    StorageError::Refused {
        path: path.to_owned(),
        what: what.to_owned(),
        hint: "resize it without --grow-fs: a guest with cloud-init grows what is in it at its next boot"
            .to_owned(),
    }
}

/// A longer raw copy with a table that says so, and the file system's old bytes in a file of its own.
fn lay_out(
    path: &Path,
    format: Format,
    gate: &Gate,
    size: Bytes,
    stop: &AtomicBool,
    tell: &dyn Fn(f32),
) -> Result<(TempFile, TempFile, Place), StorageError> {
    let failed = |source| StorageError::Act { act: "grow", path: path.to_owned(), source };
    let source = Source::open(path, format, gate)?;
    let source = source.ok_or_else(|| refuse(path, "has features that are not written here"))?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    let copy = TempFile::create(dir).map_err(failed)?;
    copy.file().set_len(size.0).map_err(failed)?;
    let how = Pour { grain_bytes: RAW_GRAIN_BYTES, compression: None, top_only: false };
    let part_of = super::convert::part_of(source.virtual_bytes, tell);
    if !pour(&source, &mut Sink::Raw(copy.file()), how, stop, &part_of).map_err(failed)? {
        return Err(StorageError::Cancelled { path: path.to_owned() });
    }
    let place = grow_table(path, copy.file(), size.0)?;
    let part = TempFile::create(dir).map_err(failed)?;
    part.file().set_len(place.length).map_err(failed)?;
    copy_range(copy.file(), place.at, part.file(), 0, place.length).map_err(failed)?;
    Ok((copy, part, place))
}

/// Moves the end of the last partition to the end of the disk.
fn grow_table(path: &Path, disk: &File, size: u64) -> Result<Place, StorageError> {
    let failed = |source| StorageError::Act { act: "read the partitions of", path: path.to_owned(), source };
    let gpt_failed = |error: gptman::Error| failed(io::Error::other(error));
    let holds = |at: u64, magic: &[u8]| {
        let mut bytes = vec![0; magic.len()];
        read_full(disk, &mut bytes, at).map(|()| bytes == magic)
    };
    if !holds(SECTOR, GPT_MAGIC).map_err(failed)? {
        if holds(EXT_MAGIC_AT, &EXT_MAGIC).map_err(failed)? {
            return Ok(Place { at: 0, length: size });
        }
        return Err(refuse(path, "has no GPT, and no ext file system on the bare disk"));
    }
    let mut counts = [0; 8];
    read_full(disk, &mut counts, SECTOR + PARTITIONS_AT).map_err(failed)?;
    let number = |at: usize| counts[at..].first_chunk().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes));
    if number(0) > PARTITIONS_MAX || number(4) > ENTRY_BYTES_MAX {
        return Err(refuse(path, "has a GPT of absurd size"));
    }
    let mut reader = disk;
    let mut gpt = GPT::read_from(&mut reader, SECTOR).map_err(gpt_failed)?;
    let last = gpt.iter().filter(|(_, part)| part.is_used()).max_by_key(|(_, part)| part.ending_lba);
    let Some((number, part)) = last else { return Err(refuse(path, "has a GPT without partitions")) };
    let start = part.starting_lba;
    let at = start.checked_mul(SECTOR).filter(|at| *at < size);
    let at = at.ok_or_else(|| refuse(path, "has a partition that begins behind its end"))?;
    if !holds(at + EXT_MAGIC_AT, &EXT_MAGIC).map_err(failed)? {
        return Err(refuse(path, &format!("has no ext file system in its last partition, number {number}")));
    }
    gpt.header.update_from(&mut reader, SECTOR).map_err(gpt_failed)?;
    let end = (gpt.header.last_usable_lba + 1) / ALIGN_SECTORS * ALIGN_SECTORS;
    if end <= part_end(&gpt, number) {
        return Err(refuse(path, "would not have a megabyte more for its last partition"));
    }
    gpt[number].ending_lba = end - 1;
    gpt.write_into(&mut reader).map_err(gpt_failed)?;
    if holds(MBR_TYPE_AT, &[MBR_PROTECTIVE]).map_err(failed)? {
        let sectors = u32::try_from(size / SECTOR - 1).unwrap_or(u32::MAX);
        disk.write_all_at(&sectors.to_le_bytes(), MBR_LENGTH_AT).map_err(failed)?;
    }
    Ok(Place { at, length: (end - start) * SECTOR })
}

fn part_end(gpt: &GPT, number: u32) -> u64 {
    gpt[number].ending_lba + 1
}

fn finish(
    path: &PathBuf,
    format: Format,
    copy: TempFile,
    part: &TempFile,
    place: Place,
    stop: &AtomicBool,
) -> Result<(), StorageError> {
    let failed = |source| StorageError::Act { act: "grow", path: path.clone(), source };
    let old_file = File::open(path).map_err(failed)?;
    let old = old_file.metadata().map_err(failed)?;
    let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(copy.file(), flags, place.at, place.length)
        .map_err(|error| failed(error.into()))?;
    copy_range(part.file(), 0, copy.file(), place.at, place.length).map_err(failed)?;
    let whole = match format {
        Format::Raw => copy,
        Format::Qcow2 => to_qcow2(path, &copy, stop)?,
    };
    dress(whole.file(), &old_file, &old).map_err(failed)?;
    whole.take_place_of(path, &old).map_err(failed)
}

fn to_qcow2(path: &Path, copy: &TempFile, stop: &AtomicBool) -> Result<TempFile, StorageError> {
    let failed = |source| StorageError::Act { act: "grow", path: path.to_owned(), source };
    let header = crate::file::DiskFile::open(path, crate::file::Access::Read)?.qcow2_header()?;
    let source = Source::open(copy.path(), Format::Raw, &Gate::default())?;
    let source = source.ok_or_else(|| refuse(path, "has features that are not written here"))?;
    let temp = TempFile::create(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    let blank = Blank {
        virtual_bytes: source.virtual_bytes,
        cluster_bytes: header.cluster_bytes,
        version: header.version,
        features: Features { lazy_refcounts: header.has_lazy_refcounts, extended_l2: false },
        backing: None,
    };
    let image = Qcow2Writer::begin(temp.file(), blank, None).map_err(failed)?;
    let mut sink = Sink::Qcow2(Box::new(image));
    let how = Pour { grain_bytes: header.cluster_bytes, compression: None, top_only: false };
    if !pour(&source, &mut sink, how, stop, &|_| ()).map_err(failed)? {
        return Err(StorageError::Cancelled { path: path.to_owned() });
    }
    if let Sink::Qcow2(image) = sink {
        image.finish().map_err(failed)?;
    }
    Ok(temp)
}

/// Copies the data of a range to where everything is zero.
fn copy_range(from: &File, from_at: u64, to: &File, to_at: u64, length: u64) -> io::Result<()> {
    let mut block = vec![0; 1 << 20];
    let mut done = 0;
    while done < length {
        done = match rustix::fs::seek(from, rustix::fs::SeekFrom::Data(from_at + done)) {
            Err(rustix::io::Errno::NXIO) => return Ok(()),
            data => (data? - from_at).max(done),
        };
        let left = usize::try_from(length.saturating_sub(done)).unwrap_or(usize::MAX).min(block.len());
        read_full(from, &mut block[..left], from_at + done)?;
        if !super::pour::is_zero(&block[..left]) {
            to.write_all_at(&block[..left], to_at + done)?;
        }
        done += left as u64;
    }
    Ok(())
}
