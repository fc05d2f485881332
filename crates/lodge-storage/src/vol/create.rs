//! Making volumes. A volume appears under its name when it is whole, or not at all; its room is taken at once where
//! that was asked for.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{FallocateFlags, IFlags, fallocate, ioctl_getflags, ioctl_setflags},
    io::Errno,
};

use super::{
    encryption::{self, with_secret},
    facts::{BackingFacts, PoolVolume},
    hold::Making,
    kind::VolumeFormat,
    new_qcow2::{Blank, CLUSTER_BYTES},
    scan::look,
    tool::Run,
    wanted::Wanted,
};
use crate::{
    file::{Access, DiskFile},
    limits,
    pool::{
        Pools,
        backend::Backend,
        error::PoolError,
        table::{PoolHandle, Slot},
    },
    temp::TempFile,
};

/// libvirt gives sizes to qemu-img in KiB, rounded up.
const KIB: u64 = 1024;
/// btrfs, see statfs(2).
const BTRFS_MAGIC: u64 = 0x9123_683e;

/// How a volume is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MakeOptions {
    /// A qcow2's tables are written for all of its data.
    pub prealloc_metadata: bool,
    /// A copy shares the blocks of what it is a copy of, or is not made.
    pub reflink: bool,
    /// What the document's schema does not have is a fault.
    pub strict: bool,
}

impl Pools {
    /// Makes a volume from its document.
    pub async fn create_volume(
        &self,
        pool: &PoolHandle,
        xml: &str,
        options: MakeOptions,
    ) -> Result<Arc<PoolVolume>, PoolError> {
        self.with(pool.id, Some(&pool.name), Slot::active)??;
        let def = self.with(pool.id, Some(&pool.name), |slot| slot.def.clone())?;
        let backend = Backend::of(def.kind)?;
        let mut wanted = Wanted::read_for(backend, xml, options.strict, true)?;
        wanted.nocow |= forbids_cow(&def);
        let making =
            self.reserve(pool, &wanted.name, || PoolError::VolumeExists { name: wanted.name.clone() })?;
        if !backend.holds_files() {
            return self.create_device(pool, &wanted, making, options).await;
        }
        self.refuse_taken(pool, &making.path).await?;
        check(&wanted, options)?;
        let wanted = self.sized(pool, wanted, &making).await?;
        self.make(pool, &wanted, &making, options).await?;
        self.note_new(pool, &wanted, making).await
    }

    /// Fills in the size of a volume that has its backing file's.
    async fn sized(
        &self,
        pool: &PoolHandle,
        mut wanted: Wanted,
        making: &Making,
    ) -> Result<Wanted, PoolError> {
        let Some((name, format)) = wanted.backing.clone() else { return Ok(wanted) };
        let path = making.path.parent().unwrap_or(Path::new("/")).join(&name);
        let see = move || {
            let failed =
                |source| PoolError::system(format!("inaccessible backing store volume {name}"), source);
            let metadata = fs::metadata(&path).map_err(failed)?;
            if format == VolumeFormat::Qcow2 {
                let disk = DiskFile::open(&path, Access::Read).map_err(PoolError::Disk)?;
                return Ok(disk.any_qcow2_header().map_err(PoolError::Disk)?.virtual_bytes);
            }
            let seen = look(&path, &name, None).map_err(failed)?;
            // Of a container what it contains counts.
            let is_whole = |seen: &PoolVolume| format.is_plain() && seen.encryption.is_none();
            Ok(seen
                .map_or(metadata.len(), |seen| if is_whole(&seen) { seen.physical } else { seen.capacity }))
        };
        let (bytes, ()) = self.blocking(pool, limits::LOOK, (), see).await?;
        wanted.capacity = Some(wanted.capacity.unwrap_or(bytes));
        Ok(wanted)
    }

    async fn make(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        making: &Making,
        options: MakeOptions,
    ) -> Result<(), PoolError> {
        let (wanted, path) = (wanted.clone(), making.path.clone());
        if wanted.format == VolumeFormat::Dir {
            let ((), ()) = self.blocking(pool, limits::CHANGE, (), move || make_dir(&path, &wanted)).await?;
            return Ok(());
        }
        let is_qcow2 = wanted.format == VolumeFormat::Qcow2;
        let secret = self.secret_for(&wanted)?;
        if secret.is_none() && (wanted.format.is_plain() || is_qcow2 && !options.prealloc_metadata) {
            // The room that is taken at once.
            let capacity = wanted.capacity.unwrap_or_default();
            let bytes =
                if is_qcow2 { wanted.allocation.unwrap_or(0) } else { wanted.allocation.unwrap_or(capacity) };
            return self
                .on_thread(pool, bytes, (), move || make_file(&path, &wanted))
                .await
                .map(|((), ())| ());
        }
        let (temp, wanted) = self.temp_for(pool, &path, wanted).await?;
        let is_luks = secret.is_some() && wanted.format.is_plain();
        let word = if is_luks { "luks" } else { wanted.format.as_str() };
        let run = Run::new("qemu-img").args(["create", "-f", word]);
        let run = match secret {
            Some(secret) => with_secret(run, secret)?,
            None => run,
        };
        image_options(run, &wanted, options)
            .args([temp.path().as_os_str().to_owned(), kib(wanted.capacity.unwrap_or_default()).into()])
            .writes(temp.path())
            .said_as(temp.path(), &path)
            .run()
            .await?;
        let bytes = wanted.allocation.unwrap_or(0);
        self.on_thread(pool, bytes, (), move || keep(temp, &path)).await.map(|((), ())| ())
    }

    /// A new file beside where it will lie, with its owner and mode.
    pub(crate) async fn temp_for(
        &self,
        pool: &PoolHandle,
        path: &Path,
        wanted: Wanted,
    ) -> Result<(TempFile, Wanted), PoolError> {
        let path = path.to_owned();
        let make = move || Ok((new_file(&path, &wanted)?, wanted));
        let (made, ()) = self.blocking(pool, limits::CHANGE, (), make).await?;
        Ok(made)
    }

    /// Notes a volume that has been made, as what was asked for.
    pub(crate) async fn note_new(
        &self,
        pool: &PoolHandle,
        wanted: &Wanted,
        making: Making,
    ) -> Result<Arc<PoolVolume>, PoolError> {
        let (path, name) = (making.path.clone(), wanted.name.clone());
        let see = move || {
            let failed =
                |source| PoolError::system(format!("cannot open volume '{}'", path.display()), source);
            let seen = look(&path, &name, None).map_err(failed)?;
            seen.ok_or_else(|| PoolError::NoVolume { by: "path", value: path.display().to_string() })
        };
        let (seen, ()) = self.blocking(pool, limits::LOOK, (), see).await?;
        let backing = seen.backing.map(|backing| BackingFacts {
            path: wanted.backing.as_ref().map_or(backing.path.clone(), |(name, _)| name.into()),
            ..backing
        });
        let volume = PoolVolume {
            format: wanted.format,
            compat: wanted.compat.clone(),
            cluster_bytes: wanted.cluster_bytes,
            features: wanted.features,
            backing,
            encryption: wanted.encryption.clone(),
            is_probed: false,
            ..seen
        };
        tracing::info!(pool = %pool.name, volume = %volume.name, bytes = volume.capacity, "volume made");
        let noted = self.change(pool, |slot| {
            slot.book(volume.allocation, 0);
            slot.put(volume)
        });
        drop(making);
        noted
    }
}

impl Pools {
    /// Runs what reads or writes so many bytes on a thread of its own. After the time that the slowest disk takes for
    /// them the caller goes on without an answer; `held` stays with the thread, which may yet come to its end.
    pub(crate) async fn on_thread<T: Send + 'static, H: Send + 'static>(
        &self,
        pool: &PoolHandle,
        bytes: u64,
        held: H,
        act: impl FnOnce() -> Result<T, PoolError> + Send + 'static,
    ) -> Result<(T, H), PoolError> {
        self.blocking(pool, limits::work(bytes), held, act).await
    }

    /// Refuses a place where something is. It may be a server's that does not answer.
    pub(crate) async fn refuse_taken(&self, pool: &PoolHandle, path: &Path) -> Result<(), PoolError> {
        let path = path.to_owned();
        let look = move || {
            let is_dots = path.file_name().is_none() || path.ends_with(".");
            if is_dots || path.symlink_metadata().is_ok() { Err(taken(&path)) } else { Ok(()) }
        };
        self.blocking(pool, limits::LOOK, (), look).await.map(|((), ())| ())
    }
}

fn taken(path: &Path) -> PoolError {
    PoolError::State(format!("volume target path '{}' already exists", path.display()))
}

/// What contradicts itself, in libvirt's words.
pub(crate) fn check(wanted: &Wanted, options: MakeOptions) -> Result<(), PoolError> {
    let is_raw = wanted.format.is_plain() || wanted.format == VolumeFormat::Dir;
    if is_raw && wanted.backing.is_some() {
        return Err(PoolError::NoSupport(format!(
            "backing storage not supported for {} volumes",
            wanted.format
        )));
    }
    if options.prealloc_metadata && wanted.format != VolumeFormat::Qcow2 {
        return Err(PoolError::Config(format!(
            "metadata preallocation is not supported for {} volumes",
            wanted.format
        )));
    }
    if options.prealloc_metadata && wanted.backing.is_some() {
        return Err(PoolError::Config("metadata preallocation conflicts with backing store".to_owned()));
    }
    Ok(())
}

pub(crate) fn kib(bytes: u64) -> String {
    format!("{}K", bytes.div_ceil(KIB))
}

/// qemu-img's `-o` and backing file.
pub(crate) fn image_options(run: Run, wanted: &Wanted, options: MakeOptions) -> Run {
    let mut words = Vec::new();
    if wanted.format == VolumeFormat::Qcow2 {
        words.push(format!("compat={}", wanted.compat.as_deref().unwrap_or("1.1")));
        words.extend(wanted.cluster_bytes.map(|bytes| format!("cluster_size={bytes}")));
        let features = wanted.features.unwrap_or_default();
        words.extend(features.lazy_refcounts.then(|| "lazy_refcounts=on".to_owned()));
        words.extend(features.extended_l2.then(|| "extended_l2=on".to_owned()));
    }
    let is_full = wanted.allocation.is_none_or(|bytes| Some(bytes) >= wanted.capacity);
    let how = if is_full { "falloc" } else { "metadata" };
    words.extend(options.prealloc_metadata.then(|| format!("preallocation={how}")));
    if let Some(encryption) = &wanted.encryption {
        words.extend(encryption::options(encryption, wanted.format));
        // A raw volume takes the room it is told to.
        words.extend((wanted.format.is_plain() && is_full).then(|| "preallocation=falloc".to_owned()));
    }
    let run = if words.is_empty() { run } else { run.args(["-o".to_owned(), words.join(",")]) };
    match &wanted.backing {
        None => run,
        Some((name, format)) => run.args(["-u", "-b", name.as_str(), "-F", format.as_str()]),
    }
}

fn make_dir(path: &Path, wanted: &Wanted) -> Result<(), PoolError> {
    let failed = |source| PoolError::system(format!("cannot create path '{}'", path.display()), source);
    fs::DirBuilder::new().mode(wanted.mode).create(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(wanted.mode)).map_err(failed)?;
    std::os::unix::fs::chown(path, wanted.uid, wanted.gid).map_err(failed)?;
    path.parent().map_or(Ok(()), lodge_sys::fs::sync_dir).map_err(failed)
}

fn make_file(path: &Path, wanted: &Wanted) -> Result<(), PoolError> {
    let temp = new_file(path, wanted)?;
    let capacity = wanted.capacity.unwrap_or_default();
    if wanted.format == VolumeFormat::Qcow2 {
        write_qcow2(temp.file(), path, wanted)?;
    } else {
        let is_iso = wanted.format == VolumeFormat::Iso;
        let allocation = wanted.allocation.unwrap_or(if is_iso { 0 } else { capacity });
        size(temp.file(), path, capacity.max(allocation), allocation)?;
    }
    keep(temp, path)
}

/// A new file beside where it will lie, with its owner and mode.
fn new_file(path: &Path, wanted: &Wanted) -> Result<TempFile, PoolError> {
    let failed = |source| PoolError::system(format!("Failed to create file '{}'", path.display()), source);
    if path.file_name().is_some_and(|name| name.len() > 255) {
        return Err(failed(Errno::NAMETOOLONG.into()));
    }
    let temp = TempFile::create(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    if wanted.nocow {
        forbid_cow(temp.file(), path)?;
    }
    if wanted.uid.is_some() || wanted.gid.is_some() {
        let failed = |source| {
            let (uid, gid) = (wanted.uid.unwrap_or_default(), wanted.gid.unwrap_or_default());
            PoolError::system(format!("cannot chown '{}' to ({uid}, {gid})", path.display()), source)
        };
        fchown(temp.file(), wanted.uid, wanted.gid).map_err(failed)?;
    }
    let mode = fs::Permissions::from_mode(wanted.mode);
    let failed = |source| {
        PoolError::system(format!("cannot set mode of '{}' to {:04o}", path.display(), wanted.mode), source)
    };
    temp.file().set_permissions(mode).map_err(failed)?;
    Ok(temp)
}

/// Gives a finished file its name.
pub(crate) fn keep(temp: TempFile, path: &Path) -> Result<(), PoolError> {
    temp.keep_as(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => taken(path),
        _ => PoolError::system(format!("Failed to create file '{}'", path.display()), source),
    })
}

/// Makes a plain file as long as the disk, and takes its room.
pub(crate) fn size(file: &File, path: &Path, length: u64, allocation: u64) -> Result<(), PoolError> {
    let failed = |source| PoolError::system(format!("cannot extend file '{}'", path.display()), source);
    if i64::try_from(length).is_err() {
        // The kernel is not asked for what is no length of a file; this is its word for the like.
        return Err(failed(Errno::FBIG.into()));
    }
    file.set_len(length).map_err(failed)?;
    if allocation == 0 {
        return Ok(());
    }
    let failed = |source| {
        PoolError::system(format!("cannot allocate {allocation} bytes in file '{}'", path.display()), source)
    };
    take_room(file, 0, allocation).map_err(failed)
}

/// Takes the room of a range; where the file system cannot, by writing zeros into what is a hole or new.
pub(crate) fn take_room(file: &File, from: u64, to: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), from, to - from) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, from, to),
        result => Ok(result?),
    }
}

pub(crate) fn write_zeros(file: &File, mut at: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    while at < to {
        let count = usize::try_from(to - at).unwrap_or(zeros.len()).min(zeros.len());
        file.write_all_at(&zeros[..count], at)?;
        at += count as u64;
    }
    Ok(())
}

fn write_qcow2(file: &File, path: &Path, wanted: &Wanted) -> Result<(), PoolError> {
    let blank = Blank {
        virtual_bytes: wanted.capacity.unwrap_or_default().next_multiple_of(KIB),
        cluster_bytes: wanted.cluster_bytes.unwrap_or(CLUSTER_BYTES),
        version: if wanted.compat.as_deref() == Some("0.10") { 2 } else { 3 },
        features: wanted.features.unwrap_or_default(),
        backing: wanted.backing.as_ref().map(|(name, format)| (name.clone(), format.as_str())),
    };
    let layout = blank
        .layout()
        .map_err(|fault| PoolError::Config(format!("cannot create volume '{}': {fault}", path.display())))?;
    let write = || {
        file.set_len(layout.length)?;
        // As qemu-img: what the image needs to grow has its room already.
        write_zeros(file, 0, layout.length)?;
        for (at, bytes) in &layout.parts {
            file.write_all_at(bytes, *at)?;
        }
        Ok(())
    };
    write().map_err(|source: io::Error| {
        PoolError::system(format!("Failed to create file '{}'", path.display()), source)
    })
}

/// Whether a pool's files are not to be copied on write.
fn forbids_cow(pool: &lodge_model::storage::Pool) -> bool {
    let cow = pool.features.as_ref().and_then(|features| features.cow.as_ref());
    cow.is_some_and(|cow| cow.state.as_deref() == Some("no"))
}

fn forbid_cow(file: &File, path: &Path) -> Result<(), PoolError> {
    let failed = |what: &str, source: Errno| {
        PoolError::system(format!("unable to control COW flag on '{}'{what}", path.display()), source)
    };
    let kind = rustix::fs::fstatfs(file).map_err(|source| failed("", source))?.f_type;
    if kind.cast_unsigned() != BTRFS_MAGIC {
        return Err(failed(", not btrfs", Errno::NOSYS));
    }
    let flags = ioctl_getflags(file).map_err(|source| failed("", source))?;
    ioctl_setflags(file, flags | IFlags::NOCOW).map_err(|source| failed("", source))
}

/// Where a new volume's backing file lies.
pub(crate) fn backing_at(volume: &Path, name: &str) -> PathBuf {
    volume.parent().unwrap_or(Path::new("/")).join(name)
}
