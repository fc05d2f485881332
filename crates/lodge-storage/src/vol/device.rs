//! Volumes that are devices: logical volumes and partitions, made, filled, resized and removed by their pool's
//! backend. After each the whole pool is looked at anew: numbers and sizes of others change along.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lodge_model::storage::Pool;
use rustix::fs::{SeekFrom, seek};
use tokio::sync::OwnedMutexGuard;

use super::{
    create::{MakeOptions, kib},
    encryption::{self, with_secret},
    facts::{PoolVolume, VolumeKind},
    hold::Making,
    kind::VolumeFormat,
    tool::Run,
    wanted::Wanted,
};
use crate::{
    file::{Access, DiskFile},
    limits,
    pool::{
        Pools,
        backend::{Backend, disk, logical},
        error::PoolError,
        table::PoolHandle,
    },
    ports::SecretValue,
};

const BLOCK_BYTES: usize = 1 << 20;

impl Pools {
    /// Makes a volume of a pool of devices.
    pub(crate) async fn create_device(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        making: Making,
        options: MakeOptions,
    ) -> Result<Arc<PoolVolume>, PoolError> {
        if options.prealloc_metadata {
            let text = "metadata preallocation is not supported for block volumes";
            return Err(PoolError::Config(text.to_owned()));
        }
        let secret = self.secret_for(wanted)?;
        let (def, turn) = self.def_and_turn(pool).await?;
        let room = with_header(wanted);
        let turn = match Backend::of(def.kind)? {
            Backend::Logical => {
                let (def, wanted) = (def.clone(), room);
                let act = async move { logical::volume::create(&def, &wanted).await };
                self.lasting(pool, limits::LASTING, turn, act).await?.1
            }
            Backend::Disk => {
                let (def, wanted) = (def.clone(), room);
                let act = async move { disk::volume::create(&def, &wanted).await };
                self.lasting(pool, limits::LASTING, turn, act).await?.1
            }
            Backend::Dir | Backend::Fs | Backend::Netfs => turn,
        };
        let name = wanted.name.clone();
        let noted = self.note_device(pool, wanted, turn).await;
        if let Err(error) = noted {
            tracing::warn!(pool = %pool.name, volume = %name, %error, "volume made, but not to be seen");
            return Err(error);
        }
        drop(making);
        let noted = match (noted, secret) {
            (Ok(made), Some(secret)) => self.lock_device(pool, wanted, made, secret).await,
            (noted, _) => noted,
        };
        if noted.is_ok() {
            tracing::info!(pool = %pool.name, volume = %name, "volume made");
        }
        noted
    }

    /// Makes a new device a LUKS container. One that cannot be made so goes again.
    async fn lock_device(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        made: Arc<PoolVolume>,
        secret: SecretValue,
    ) -> Result<Arc<PoolVolume>, PoolError> {
        let (_, busy) = self.hold(pool, &made.name)?;
        let locked = lock(wanted, &made, secret).await;
        drop(busy);
        let bytes = match locked {
            Ok(bytes) => bytes,
            Err(error) => {
                if let Err(error) = self.remove_device(pool, &made).await {
                    tracing::warn!(pool = %pool.name, volume = %made.name, %error, "volume that was not encrypted is left");
                }
                return Err(error);
            }
        };
        self.change(pool, |slot| {
            let mut volume = PoolVolume::clone(slot.volume(&wanted.name)?);
            volume.encryption.clone_from(&wanted.encryption);
            volume.capacity = bytes;
            Ok(slot.put(volume))
        })?
    }

    /// Looks at the pool anew; the new volume shows what was asked for, as libvirt has it.
    async fn note_device(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        turn: OwnedMutexGuard<()>,
    ) -> Result<Arc<PoolVolume>, PoolError> {
        self.look(pool, turn).await?;
        self.change(pool, |slot| {
            let mut volume = PoolVolume::clone(slot.volume(&wanted.name)?);
            if let (Some(block), Some(word)) = (&mut volume.block, &wanted.format_word) {
                block.format = Some(word.clone());
            }
            Ok(slot.put(volume))
        })?
    }

    /// Makes a volume of a pool of devices and copies another into it. One that cannot be filled goes again.
    pub(crate) async fn clone_device(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        making: Making,
        source: &PoolVolume,
        options: MakeOptions,
    ) -> Result<Arc<PoolVolume>, PoolError> {
        if options.reflink {
            return Err(PoolError::Unsupported("blocks of devices are not shared".to_owned()));
        }
        if source.kind == VolumeKind::Dir {
            return Err(PoolError::Unsupported("directories are not copied as volumes".to_owned()));
        }
        let is_encrypted = source.encryption.is_some()
            || wanted.encryption.is_some()
            || self.stands_on_encrypted(pool, source).await?;
        let made = self.create_device(pool, wanted, making, options).await?;
        let (_, busy) = self.hold(pool, &made.name)?;
        let filled = if is_encrypted {
            self.pour_into_device(pool, wanted, source, &made.path).await
        } else if source.format.is_plain() {
            let (from, to) = (source.path.clone(), made.path.clone());
            self.on_thread(pool, source.capacity, (), move || fill(&from, &to)).await.map(|((), ())| ())
        } else {
            self.convert_to_device(pool, source, &made.path).await
        };
        drop(busy);
        if let Err(error) = filled {
            if let Err(error) = self.remove_device(pool, &made).await {
                tracing::warn!(pool = %pool.name, volume = %made.name, %error, "volume that was not filled is left");
            }
            return Err(error);
        }
        Ok(made)
    }

    async fn convert_to_device(
        &self,
        pool: &PoolHandle,
        source: &PoolVolume,
        to: &Path,
    ) -> Result<(), PoolError> {
        let files = self.chain_of(pool, source).await?;
        let real = std::fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
        let run =
            Run::new("qemu-img").args(["convert", "-q", "-n", "-f", source.format.as_str(), "-O", "raw"]);
        let run = files.iter().fold(run, |run, file| run.reads(file));
        run.args([source.path.as_os_str(), real.as_os_str()]).writes(&real).said_as(&real, to).run().await
    }

    /// The files that are read with a volume's.
    async fn chain_of(&self, pool: &PoolHandle, source: &PoolVolume) -> Result<Vec<PathBuf>, PoolError> {
        use crate::{chain::open_chain, format::Format};
        let (path, gate, is_qcow2) =
            (source.path.clone(), self.storage().gate(), source.format == VolumeFormat::Qcow2);
        let look = move || {
            if !is_qcow2 {
                return Ok(vec![path]);
            }
            let links = open_chain(&path, Format::Qcow2, Access::Read, &gate).map_err(PoolError::Disk)?;
            Ok(links.iter().map(|link| link.disk.path.clone()).collect())
        };
        self.blocking(pool, limits::LOOK, (), look).await.map(|(files, ())| files)
    }

    /// Removes a device. What stands on it has been looked for.
    pub(crate) async fn remove_device(
        &self,
        pool: &PoolHandle,
        volume: &PoolVolume,
    ) -> Result<(), PoolError> {
        let (def, turn) = self.def_and_turn(pool).await?;
        let (name, part) = (volume.name.clone(), volume.block.as_ref().and_then(|block| block.part));
        let backend = Backend::of(def.kind)?;
        let act = async move {
            match (backend, part) {
                (Backend::Logical, _) => logical::volume::remove(&def, &name).await,
                (Backend::Disk, Some(number)) => disk::volume::remove(&def, &name, number).await,
                _ => Err(PoolError::NoSupport(format!(
                    "removing block or network volumes is not supported: {name}"
                ))),
            }
        };
        let ((), turn) = self.lasting(pool, limits::LASTING, turn, act).await?;
        self.change(pool, |slot| slot.forget(&volume.name))?;
        self.look(pool, turn).await
    }

    /// Gives a device another size.
    pub(crate) async fn resize_device(
        &self,
        pool: &PoolHandle,
        volume: &PoolVolume,
        bytes: u64,
    ) -> Result<(), PoolError> {
        let (def, turn) = self.def_and_turn(pool).await?;
        if Backend::of(def.kind)? != Backend::Logical || volume.backing.is_some() {
            let text = "storage pool does not support changing of volume capacity";
            return Err(PoolError::NoSupport(text.to_owned()));
        }
        let name = volume.name.clone();
        let act = async move { logical::volume::resize(&def, &name, bytes).await };
        let ((), turn) = self.lasting(pool, limits::LASTING, turn, act).await?;
        self.look(pool, turn).await
    }

    async fn def_and_turn(&self, pool: &PoolHandle) -> Result<(Pool, OwnedMutexGuard<()>), PoolError> {
        let turn = self.turn(pool).await?;
        let def = self.with(pool.id, Some(&pool.name), |slot| {
            slot.active()?;
            Ok::<_, PoolError>(slot.def.clone())
        })??;
        Ok((def, turn))
    }
}

/// The longest the making of a container may take: a key is made slow on purpose.
const LOCK: Duration = Duration::from_mins(10);
/// Room for what stands before a container's data; libvirt's number.
const HEADER_BYTES: u64 = 2 << 20;

/// What is to be made, with room for what encryption needs.
fn with_header(wanted: &Wanted) -> Wanted {
    let mut room = wanted.clone();
    let Some(capacity) = wanted.capacity.filter(|_| wanted.encryption.is_some()) else { return room };
    room.capacity = Some(capacity.saturating_add(HEADER_BYTES));
    // One that was to have all its space still has it.
    room.allocation = wanted.allocation.filter(|bytes| *bytes < capacity);
    room
}

/// Makes the device a container; bytes that a guest sees of it.
async fn lock(wanted: &Wanted, made: &PoolVolume, secret: SecretValue) -> Result<u64, PoolError> {
    let Some(encryption) = &wanted.encryption else { return Ok(made.capacity) };
    let real = std::fs::canonicalize(&made.path).unwrap_or_else(|_| made.path.clone());
    let words = encryption::options(encryption, VolumeFormat::Raw).join(",");
    let size = kib(wanted.capacity.unwrap_or_default());
    let run = Run::new("qemu-img").args(["create", "-q", "-f", "luks"]);
    let run = with_secret(run, secret)?.args(["-o".to_owned(), words]);
    let run = run.args([real.as_os_str(), size.as_ref()]).writes(&real).said_as(&real, &made.path);
    run.within(LOCK).run().await?;
    let path = made.path.clone();
    let look = tokio::task::spawn_blocking(move || DiskFile::open(&path, Access::Read)?.luks_length());
    let looked = look.await.map_err(|_| PoolError::Panicked { name: made.name.clone() })?;
    looked.map_err(PoolError::Disk)
}

/// Copies all of a plain volume into a device: holes too, for the device has old bytes.
fn fill(from: &Path, to: &Path) -> Result<(), PoolError> {
    let source = DiskFile::open(from, Access::Read).map_err(PoolError::Disk)?;
    let failed = |error: io::Error| PoolError::system(format!("cannot fill '{}'", to.display()), error);
    let target = File::options().write(true).open(to).map_err(failed)?;
    let room = seek(&target, SeekFrom::End(0)).map_err(|error| failed(error.into()))?;
    let length = source.length().map_err(PoolError::Disk)?;
    if length > room {
        return Err(PoolError::Argument(format!(
            "'{}' has {length} bytes, '{}' has {room}",
            from.display(),
            to.display()
        )));
    }
    let (mut block, mut at) = (vec![0; BLOCK_BYTES], 0);
    while at < length {
        let count = usize::try_from(length - at).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
        source.file.read_exact_at(&mut block[..count], at).map_err(failed)?;
        target.write_all_at(&block[..count], at).map_err(failed)?;
        at += count as u64;
    }
    target.sync_all().map_err(failed)
}
