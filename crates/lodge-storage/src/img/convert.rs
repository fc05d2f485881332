//! One image into another file, of another format or shape.
//!
//! raw and qcow2 are read by imago and written by [`pour`](super::pour); all else is `qemu-img`'s. Either way the new
//! file stands alone, and has its name when it is whole and on disk.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lodge_model::Bytes;
use rustix::fs::ioctl_ficlone;
use tokio_util::sync::CancellationToken;

use super::{
    foreign::{self, of_pool, said, time_for},
    hold::Purpose,
    kind::ImageFormat,
    pack::Compression,
    pour::{Pour, Sink, pour},
    qcow2_writer::Qcow2Writer,
    source::Source,
};
use crate::{
    Storage,
    chain::Gate,
    error::StorageError,
    file::{Access, DiskFile},
    format::Format,
    limits,
    temp::TempFile,
    vol::{
        facts::Features,
        new_qcow2::{Blank, CLUSTER_BYTES},
        tool::Run,
    },
};

/// Zeros of this length and place are left out of a raw file.
const RAW_GRAIN_BYTES: u64 = 4 << 10;

/// What is to be made of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// The image, an absolute path.
    pub from: PathBuf,
    /// Its format.
    pub from_format: ImageFormat,
    /// The new file: an absolute path where nothing is yet.
    pub to: PathBuf,
    /// Its format.
    pub to_format: ImageFormat,
    /// qcow2: its clusters are compressed.
    pub compression: Option<Compression>,
    /// qcow2: bytes of a cluster; 64 KiB otherwise.
    pub cluster_size: Option<Bytes>,
}

/// The new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Where it is.
    pub path: PathBuf,
    /// The disk's size as a guest sees it.
    pub virtual_size: Bytes,
    /// Bytes it takes on the host.
    pub allocation: Bytes,
}

/// Set when the work on a thread shall end; by dropping it, too.
pub(crate) struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Storage {
    /// Converts an image. `tell` gets 0 to 1.
    pub async fn convert_image(
        &self,
        conversion: Conversion,
        cancel: &CancellationToken,
        tell: impl Fn(f32) + Send + Sync + 'static,
    ) -> Result<Converted, StorageError> {
        refuse_shape(&conversion)?;
        let Conversion { from, from_format, to, .. } = conversion.clone();
        let _held = self.hold_image(&from, from_format, Purpose::Read, "image convert").await?;
        let make = to.clone();
        let temp = self.blocking(&to, limits::CHANGE, move || new_file(&make)).await?;
        let gate = self.gate();
        let tell: Arc<dyn Fn(f32) + Send + Sync> = Arc::new(tell);
        let teller = Arc::clone(&tell);
        let work = conversion.clone();
        let poured = on_thread(&from, cancel, move |stop| {
            let is_done = pour_here(&work, &gate, temp.file(), stop, &*teller)?;
            Ok((temp, is_done))
        });
        let (temp, is_done) = poured.await?;
        if !is_done {
            self.convert_by_tool(&conversion, temp.path(), cancel, &*tell).await?;
        }
        let keep = to.clone();
        self.blocking(&to, limits::LONG, move || {
            temp.keep_as(&keep).map_err(|source| not_made(&keep, source))
        })
        .await?;
        let virtual_size = self.describe_image(&to, conversion.to_format, false).await?[0].virtual_size;
        let made = to.clone();
        let look = move || std::fs::metadata(&made).map_err(|source| not_made(&made, source));
        let made = self.blocking(&to, limits::LOOK, look).await?;
        tracing::info!(from = %from.display(), to = %to.display(), format = %conversion.to_format, "image converted");
        Ok(Converted { path: to, virtual_size, allocation: Bytes(made.blocks() * 512) })
    }

    async fn convert_by_tool(
        &self,
        conversion: &Conversion,
        temp: &Path,
        cancel: &CancellationToken,
        tell: &(dyn Fn(f32) + Send + Sync),
    ) -> Result<(), StorageError> {
        let Conversion { from, from_format, to_format, .. } = conversion;
        let (owned, format, gate) = (from.clone(), *from_format, self.gate());
        let look = move || foreign::node(&owned, format, &gate);
        let node = self.blocking(from, limits::LOOK, look).await?;
        let run = Run::new("qemu-img").args(["convert", "-p", "-O", to_format.as_str()]);
        let run = if conversion.compression.is_some() { run.args(["-c"]) } else { run };
        let mut options = Vec::new();
        if *to_format == ImageFormat::Qcow2 {
            options.extend(conversion.compression.map(|by| format!("compression_type={by}")));
            options.extend(conversion.cluster_size.map(|bytes| format!("cluster_size={}", bytes.0)));
        }
        let run = if options.is_empty() { run } else { run.args(["-o".to_owned(), options.join(",")]) };
        let run = run.args([node.name.into(), temp.as_os_str().to_owned()]);
        let run = node.files.iter().fold(run, |run, file| run.reads(file)).writes(temp);
        let run = run.said_as(temp, &conversion.to).within(time_for(node.bytes.saturating_mul(4)));
        let answer = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(StorageError::Cancelled { path: from.clone() }),
            answer = run.told(tell) => answer.map_err(|error| of_pool(error, from))?,
        };
        if answer.code == Some(0) { Ok(()) } else { Err(said(&answer, "convert", from)) }
    }
}

/// Runs `work` on a thread of its own until it is done, or cancelled.
pub(crate) async fn on_thread<T: Send + 'static>(
    path: &Path,
    cancel: &CancellationToken,
    work: impl FnOnce(&AtomicBool) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    let flag = Arc::new(AtomicBool::new(cancel.is_cancelled()));
    // Held to the end: dropping it (this future is cancelled) stops the thread too.
    let stop = Stop(Arc::clone(&flag));
    let working = tokio::task::spawn_blocking(move || work(&flag));
    let mut working = std::pin::pin!(working);
    let done = tokio::select! {
        biased;
        () = cancel.cancelled() => {
            drop(stop);
            // What hangs in a server that is gone does not see it.
            let silent = || StorageError::Silent { path: path.to_owned(), seconds: limits::CHANGE.as_secs() };
            tokio::time::timeout(limits::CHANGE, working).await.map_err(|_| silent())?
        }
        done = &mut working => done,
    };
    done.map_err(|_| StorageError::Panicked { path: path.to_owned() })?
}

fn refuse_shape(conversion: &Conversion) -> Result<(), StorageError> {
    let refuse = |what: &str, hint: &str| {
        let (path, what) = (conversion.to.clone(), what.to_owned());
        Err(StorageError::Refused { path, what, hint: hint.to_owned() })
    };
    if !conversion.to.is_absolute() {
        return Err(StorageError::NotAbsolute { path: conversion.to.clone() });
    }
    let is_qcow2 = conversion.to_format == ImageFormat::Qcow2;
    if conversion.compression.is_some() && !is_qcow2 {
        return refuse("would not be a qcow2, and only that is compressed here", "say -O qcow2");
    }
    if conversion.cluster_size.is_some() && !is_qcow2 {
        return refuse("would not be a qcow2, and only that has clusters of any size", "say -O qcow2");
    }
    let is_cluster = |bytes: Bytes| bytes.0.is_power_of_two() && (512..=2 << 20).contains(&bytes.0);
    if conversion.cluster_size.is_some_and(|bytes| !is_cluster(bytes)) {
        return refuse("cannot have clusters of that size", "it is a power of two from 512 to 2MiB");
    }
    Ok(())
}

fn new_file(path: &Path) -> Result<TempFile, StorageError> {
    // Asked before the work is done; the rename asks again, and that counts.
    if path.symlink_metadata().is_ok() {
        return Err(StorageError::Exists { path: path.to_owned() });
    }
    TempFile::create(path.parent().unwrap_or(Path::new("/"))).map_err(|source| not_made(path, source))
}

fn not_made(path: &Path, source: io::Error) -> StorageError {
    match source.kind() {
        io::ErrorKind::AlreadyExists => StorageError::Exists { path: path.to_owned() },
        _ => StorageError::Create { path: path.to_owned(), source },
    }
}

/// Converts in this process, if both sides can be; `Ok(false)`: they cannot, and nothing was written.
fn pour_here(
    conversion: &Conversion,
    gate: &Gate,
    file: &File,
    stop: &AtomicBool,
    tell: &dyn Fn(f32),
) -> Result<bool, StorageError> {
    let (Some(from), Some(to)) = (conversion.from_format.of_disks(), conversion.to_format.of_disks()) else {
        return Ok(false);
    };
    let failed = |source| StorageError::Act { act: "convert", path: conversion.from.clone(), source };
    let cancelled = || StorageError::Cancelled { path: conversion.from.clone() };
    if (from, to) == (Format::Raw, Format::Raw) {
        let source = DiskFile::open(&conversion.from, Access::Read)?;
        // On the same btrfs or XFS the blocks are shared.
        if ioctl_ficlone(file, &source.file).is_ok() {
            return Ok(true);
        }
    }
    let Some(source) = Source::open(&conversion.from, from, gate)? else { return Ok(false) };
    let virtual_bytes = source.virtual_bytes.next_multiple_of(limits::SECTOR_BYTES);
    let (mut sink, grain_bytes) = match to {
        Format::Raw => {
            file.set_len(virtual_bytes).map_err(failed)?;
            (Sink::Raw(file), RAW_GRAIN_BYTES)
        }
        Format::Qcow2 => {
            let cluster_bytes = conversion.cluster_size.map_or(CLUSTER_BYTES, |bytes| bytes.0);
            let blank = Blank {
                virtual_bytes,
                cluster_bytes,
                version: 3,
                features: Features::default(),
                backing: None,
            };
            let image = Qcow2Writer::begin(file, blank, conversion.compression).map_err(failed)?;
            (Sink::Qcow2(Box::new(image)), cluster_bytes)
        }
    };
    let how = Pour { grain_bytes, compression: conversion.compression, top_only: false };
    let part = part_of(source.virtual_bytes, tell);
    if !pour(&source, &mut sink, how, stop, &part).map_err(failed)? {
        return Err(cancelled());
    }
    if let Sink::Qcow2(image) = sink {
        image.finish().map_err(failed)?;
    }
    Ok(true)
}

/// Tells bytes as a part of all.
#[expect(clippy::cast_precision_loss, reason = "a fraction for the eye")]
pub(crate) fn part_of(all: u64, tell: &dyn Fn(f32)) -> impl Fn(u64) {
    move |done| tell(done as f32 / all.max(1) as f32)
}
