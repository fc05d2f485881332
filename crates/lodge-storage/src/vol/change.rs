//! Changing volumes in place, and deleting them. None of it is done to what a guest uses or others stand on.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

use lodge_model::Bytes;
use lodge_sys::fs::apart;
use rustix::{
    fs::{FallocateFlags, fallocate},
    rand::{GetRandomFlags, getrandom},
};

use super::{
    create::{take_room, write_zeros},
    facts::{PoolVolume, VolumeKind},
    tool::Run,
};
use crate::{
    graph::need::Harm,
    limits,
    pool::{Pools, document::Room, error::PoolError, table::PoolHandle},
    unlock::named,
};

/// How a volume gets another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResizeOptions {
    /// The new room is taken at once.
    pub allocate: bool,
    /// The size is a difference.
    pub delta: bool,
    /// It may become smaller; with `delta` it does.
    pub shrink: bool,
}

/// How a volume's bytes are made unreadable. The numbers are libvirt's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WipeAlgorithm {
    /// Zeros, once.
    Zero,
    /// Random bytes, once.
    Random,
    /// A pattern of the program `scrub`, by its name there.
    Scrub(&'static str),
}

impl WipeAlgorithm {
    /// By libvirt's number.
    pub fn of(number: u32) -> Result<Self, PoolError> {
        const SCRUB: [&str; 7] = ["nnsa", "dod", "bsi", "gutmann", "schneier", "pfitzner7", "pfitzner33"];
        match number {
            0 => Ok(Self::Zero),
            1..=7 => Ok(Self::Scrub(SCRUB[number as usize - 1])),
            8 => Ok(Self::Random),
            9 => Err(PoolError::ArgumentUnsupported("'trim' algorithm not supported".to_owned())),
            _ => {
                let number = number.cast_signed();
                Err(PoolError::Argument(format!("wiping algorithm {number} not supported")))
            }
        }
    }

    /// By libvirt's word.
    pub fn named(word: &str) -> Option<u32> {
        const WORDS: [&str; 10] = [
            "zero",
            "nnsa",
            "dod",
            "bsi",
            "gutmann",
            "schneier",
            "pfitzner7",
            "pfitzner33",
            "random",
            "trim",
        ];
        WORDS.iter().position(|known| *known == word).and_then(|at| u32::try_from(at).ok())
    }
}

impl Pools {
    /// Gives a volume another size, in bytes.
    pub async fn resize_volume(
        &self,
        pool: &PoolHandle,
        name: &str,
        size: Bytes,
        options: ResizeOptions,
    ) -> Result<(), PoolError> {
        let (volume, busy) = self.hold_alone(pool, name)?;
        let room = self.with(pool.id, None, |slot| Room::of(&slot.def))?;
        let target = target_size(&volume, size.0, options, room.available)?;
        if target == volume.capacity && !options.allocate {
            return Ok(());
        }
        if volume.kind == VolumeKind::Dir {
            return Err(PoolError::Unsupported("directories are not resized".to_owned()));
        }
        let harm = if target < volume.capacity { Harm::Change } else { Harm::Grow };
        let mut held = (busy, self.refuse_used(pool, &volume, harm).await?);
        if volume.block.is_some() {
            // Of a container the guest has what comes after its header.
            let header =
                volume.encryption.as_ref().map_or(0, |_| volume.physical.saturating_sub(volume.capacity));
            self.resize_device(pool, &volume, target.saturating_add(header)).await?;
            tracing::info!(pool = %pool.name, volume = %name, bytes = target, "volume resized");
            return Ok(());
        }
        if volume.encryption.is_some() {
            if options.allocate {
                let text = "preallocate is only supported for an unencrypted raw volume";
                return Err(PoolError::Unsupported(text.to_owned()));
            }
            self.resize_image(pool, &volume, target).await?;
        } else if volume.format.is_plain() && volume.kind == VolumeKind::File {
            let (path, has) = (volume.path.clone(), volume.capacity);
            let bytes = if options.allocate { target.saturating_sub(has) } else { 0 };
            let resize = move || resize_plain(&path, has, target, options.allocate);
            ((), held) = self.on_thread(pool, bytes, held, resize).await?;
        } else if options.allocate {
            let text = "preallocate is only supported for raw type volume";
            return Err(PoolError::Unsupported(text.to_owned()));
        } else {
            self.resize_image(pool, &volume, target).await?;
        }
        let seen = self.look_at(pool, name).await?;
        drop(held);
        tracing::info!(pool = %pool.name, volume = %name, bytes = target, "volume resized");
        self.change(pool, |slot| slot.book(seen.allocation, volume.allocation))
    }

    /// Makes a volume's bytes unreadable; its length stays.
    pub async fn wipe_volume(
        &self,
        pool: &PoolHandle,
        name: &str,
        algorithm: WipeAlgorithm,
    ) -> Result<(), PoolError> {
        let (volume, busy) = self.hold_alone(pool, name)?;
        let held = (busy, self.refuse_used(pool, &volume, Harm::Change).await?);
        if volume.block.is_some() && (volume.backing.is_some() || volume.allocation < volume.capacity) {
            // Its zeros would take more room than it has.
            let path = volume.path.display();
            let text = format!("logical volume '{path}' is sparse, volume wipe not supported");
            return Err(PoolError::NoSupport(text));
        }
        let (path, bytes) = (volume.path.clone(), volume.capacity.max(volume.physical));
        match algorithm {
            WipeAlgorithm::Scrub(pattern) => {
                let run = Run::new("scrub").args(["-f", "-p", pattern]).args([path.as_os_str()]);
                run.writes(&path).asks_for_user().run().await?;
            }
            WipeAlgorithm::Zero | WipeAlgorithm::Random => {
                let is_random = algorithm == WipeAlgorithm::Random;
                self.on_thread(pool, bytes, held, move || wipe(&path, is_random)).await?;
            }
        }
        tracing::info!(pool = %pool.name, volume = %name, "volume wiped");
        Ok(())
    }

    /// Deletes a volume. `wipe`: its bytes are zeroed before.
    pub async fn delete_volume(&self, pool: &PoolHandle, name: &str, wipe: bool) -> Result<(), PoolError> {
        let (volume, busy) = self.hold_alone(pool, name)?;
        let mut held = (busy, self.refuse_used(pool, &volume, Harm::Destroy).await?);
        if wipe && volume.kind != VolumeKind::Dir {
            let (path, bytes) = (volume.path.clone(), volume.capacity.max(volume.physical));
            ((), held) = self.on_thread(pool, bytes, held, move || self::wipe(&path, false)).await?;
        }
        if volume.block.is_some() {
            self.remove_device(pool, &volume).await?;
            tracing::info!(pool = %pool.name, volume = %name, "volume deleted");
            return Ok(());
        }
        let gone = std::sync::Arc::clone(&volume);
        // A removal that does not end in time may still come to its end: nobody gets the file until then.
        let ((), _held) = self.blocking(pool, limits::CHANGE, held, move || remove(&gone)).await?;
        tracing::info!(pool = %pool.name, volume = %name, "volume deleted");
        self.change(pool, |slot| {
            slot.forget(name);
            slot.book(0, volume.allocation);
        })
    }
}

/// The size a volume is to have, or why not, in libvirt's words.
fn target_size(volume: &PoolVolume, size: u64, options: ResizeOptions, free: u64) -> Result<u64, PoolError> {
    let refuse = |text: &str| Err(PoolError::Argument(text.to_owned()));
    let target = match (options.delta, options.shrink) {
        (true, true) => volume.capacity.saturating_sub(size),
        (true, false) => volume.capacity.saturating_add(size),
        (false, _) => size,
    };
    if target < volume.allocation {
        return refuse("can't shrink capacity below existing allocation");
    }
    if target < volume.capacity && !options.shrink {
        return refuse(
            "Can't shrink capacity below current capacity unless shrink flag explicitly specified",
        );
    }
    if options.allocate && target.saturating_sub(volume.capacity) > free {
        return Err(PoolError::Clash("Not enough space left in storage pool".to_owned()));
    }
    Ok(target)
}

fn resize_plain(path: &Path, has: u64, target: u64, allocate: bool) -> Result<(), PoolError> {
    let failed =
        |what: &str, source: io::Error| PoolError::system(format!("{what} '{}'", path.display()), source);
    let file = File::options().write(true).open(path).map_err(|source| failed("Unable to open", source))?;
    let file = apart(file);
    file.set_len(target).map_err(|source| failed("Failed to truncate file", source))?;
    if allocate && target > has {
        // All of it, as libvirt; where that is done by writing, only what is new.
        let taken =
            fallocate(&file, FallocateFlags::empty(), 0, target).or_else(|_| take_room(&file, has, target));
        if let Err(source) = taken {
            // It is as large as it was; should that fail too, it has more room and the same bytes.
            let _ = file.set_len(has);
            return Err(failed("Failed to pre-allocate space for file", source));
        }
    }
    file.sync_all().map_err(|source| failed("Unable to save", source))
}

impl Pools {
    /// `qemu-img` opens the whole chain, and needs what opens each of its files.
    async fn resize_image(
        &self,
        pool: &PoolHandle,
        volume: &PoolVolume,
        target: u64,
    ) -> Result<(), PoolError> {
        let target = target.next_multiple_of(512);
        let chain = match self.chain_of_volume(pool, volume).await {
            // Of old ones headers do not say the format of what they stand on, which is not read here.
            Err(_) if volume.encryption.is_none() => Vec::new(),
            chain => chain?,
        };
        // Of a container that is named as raw nothing is read either.
        let secrets = self.secrets_of_chain(volume, &chain, |link| link.is_locked)?;
        let run = Run::new("qemu-img").args(["resize"]);
        let run = if target < volume.capacity { run.args(["--shrink"]) } else { run };
        let run = chain.iter().skip(1).fold(run, |run, link| run.reads(&link.disk.path));
        let run = match &volume.backing {
            Some(backing) if chain.is_empty() && backing.path.is_absolute() => run.reads(&backing.path),
            _ => run,
        };
        let run = if secrets.iter().any(Option::is_some) {
            let (run, words) = named(run, &chain, secrets)?;
            run.args(["--image-opts".to_owned(), words.join(",")])
        } else {
            run.args(["-f", volume.format.as_str()]).args([volume.path.as_os_str()])
        };
        run.args([target.to_string()]).writes(&volume.path).run().await
    }
}

fn wipe(path: &Path, random: bool) -> Result<(), PoolError> {
    let failed = |source: io::Error| {
        PoolError::system(format!("Failed to open storage volume with path '{}'", path.display()), source)
    };
    let file = apart(File::options().write(true).open(path).map_err(failed)?);
    let failed = |source: io::Error| {
        PoolError::system(format!("Failed to write to storage volume with path '{}'", path.display()), source)
    };
    let metadata = file.metadata().map_err(failed)?;
    let length = match rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0)) {
        Ok(length) => length,
        Err(error) => return Err(failed(error.into())),
    };
    let is_sparse = metadata.is_file() && metadata.blocks() < length / 512;
    if random {
        fill_random(&file, length).map_err(failed)?;
    } else if is_sparse {
        // As libvirt: a sparse file gives its blocks back.
        file.set_len(0).and_then(|()| file.set_len(length)).map_err(failed)?;
    } else {
        write_zeros(&file, 0, length).map_err(failed)?;
    }
    file.sync_all().map_err(failed)
}

fn fill_random(file: &File, length: u64) -> io::Result<()> {
    let mut block = vec![0; 1 << 20];
    let mut at = 0;
    while at < length {
        let count = usize::try_from(length - at).unwrap_or(block.len()).min(block.len());
        let mut filled = 0;
        while filled < count {
            filled += getrandom(&mut block[filled..count], GetRandomFlags::empty())?;
        }
        file.write_all_at(&block[..count], at)?;
        at += count as u64;
    }
    Ok(())
}

fn remove(volume: &PoolVolume) -> Result<(), PoolError> {
    let path = &volume.path;
    let (what, gone) = match volume.kind {
        VolumeKind::File => ("cannot unlink file", fs::remove_file(path)),
        VolumeKind::Dir => ("cannot remove directory", fs::remove_dir(path)),
        VolumeKind::Block => {
            let text = format!("removing block or network volumes is not supported: {}", path.display());
            return Err(PoolError::NoSupport(text));
        }
    };
    match gone.and_then(|()| path.parent().map_or(Ok(()), lodge_sys::fs::sync_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(|source| PoolError::system(format!("{what} '{}'", path.display()), source)),
    }
}
