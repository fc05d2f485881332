//! Volumes of the default pool: making empty ones, looking at them.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use lodge_model::Bytes;

use crate::{
    Storage,
    chain::backing_path,
    error::StorageError,
    file::{Access, DiskFile},
    format::Format,
    limits,
    qcow2::Header,
    temp::TempFile,
    vol::{
        facts::Features,
        new_qcow2::{Blank, CLUSTER_BYTES},
    },
};

/// What can be told of a volume without a guest's help.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Volume {
    /// Its name in the pool: the file's.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// The disk's size as the guest sees it.
    pub virtual_size: Bytes,
    /// Bytes the file takes on the host.
    pub allocation: Bytes,
    /// The file it stands on.
    pub backing: Option<PathBuf>,
}

impl Storage {
    /// Makes an empty volume in the default pool. A name without the format's ending gets it.
    pub async fn create_volume(
        &self,
        name: &str,
        format: Format,
        size: Bytes,
    ) -> Result<Volume, StorageError> {
        let size = whole_sectors(size)?;
        let path = self.volume_path(name, format)?;
        self.blocking(&path.clone(), limits::CHANGE, move || {
            create(&path, |temp| match format {
                Format::Raw => temp.file().set_len(size.0),
                Format::Qcow2 => write_qcow2(temp, size, None),
            })?;
            look(&path, format)
        })
        .await
    }

    /// What there is to know of one disk of a known format.
    pub async fn volume(&self, path: &Path, format: Format) -> Result<Volume, StorageError> {
        let owned = path.to_owned();
        self.blocking(path, limits::LOOK, move || look(&owned, format)).await
    }

    /// Whether a disk, encrypted or not, stands on another file.
    pub async fn stands_on_another(&self, path: &Path, format: Format) -> Result<bool, StorageError> {
        let owned = path.to_owned();
        self.blocking(path, limits::LOOK, move || Ok(look_at_any(&owned, format)?.backing.is_some())).await
    }

    /// What a guest sees of a disk that may be encrypted.
    pub async fn guest_length(
        &self,
        path: &Path,
        format: Format,
        is_locked: bool,
    ) -> Result<Bytes, StorageError> {
        let owned = path.to_owned();
        self.blocking(path, limits::LOOK, move || guest_length(&owned, format, is_locked).map(Bytes)).await
    }

    /// The volumes of the default pool, by name. What begins as a qcow2 does is shown as one: for
    /// the eye only, a disk is opened as its document says.
    pub async fn volumes(&self) -> Result<Vec<Volume>, StorageError> {
        let dir = self.pool_dir();
        self.blocking(&dir.clone(), limits::LOOK, move || {
            let seen = disk_files(&dir)?
                .into_iter()
                .filter_map(|path| look(&path, Format::Qcow2).or_else(|_| look(&path, Format::Raw)).ok());
            Ok(seen.collect())
        })
        .await
    }

    /// Where a volume of the default pool lies, or will.
    pub fn volume_path(&self, name: &str, format: Format) -> Result<PathBuf, StorageError> {
        check_name(name, "a volume")?;
        let file = match (format, name.rsplit_once('.')) {
            (Format::Qcow2, Some((_, "qcow2"))) | (Format::Raw, Some((_, "raw" | "img" | "iso"))) => {
                name.to_owned()
            }
            (Format::Qcow2, _) => format!("{name}.qcow2"),
            (Format::Raw, _) => format!("{name}.img"),
        };
        Ok(self.pool_dir().join(file))
    }
}

/// A name that is one plain file's, visible and printable.
pub(crate) fn check_name(name: &str, of: &'static str) -> Result<(), StorageError> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > limits::VOLUME_NAME_BYTES {
        "it is longer than 200 bytes"
    } else if name.starts_with(['.', '-']) {
        "it begins with a dot or a dash"
    } else if name.contains('/') || name.chars().any(char::is_control) {
        "it has a slash or a control character"
    } else {
        return Ok(());
    };
    Err(StorageError::BadName { name: name.to_owned(), of, why })
}

/// A size rounded up to whole sectors.
pub(crate) fn whole_sectors(size: Bytes) -> Result<Bytes, StorageError> {
    if size.0 == 0 || size.0 > limits::DISK_BYTES {
        return Err(StorageError::BadSize { size });
    }
    Ok(Bytes(size.0.next_multiple_of(limits::SECTOR_BYTES)))
}

/// Makes a file that appears when `fill` is done with it, or never.
pub(crate) fn create(
    path: &Path,
    fill: impl FnOnce(&TempFile) -> std::io::Result<()>,
) -> Result<(), StorageError> {
    let make = || {
        // Asked before the work is done; the rename asks again, and that counts.
        if path.symlink_metadata().is_ok() {
            return Err(std::io::ErrorKind::AlreadyExists.into());
        }
        let temp = TempFile::create(path.parent().unwrap_or(Path::new("/")))?;
        fill(&temp)?;
        temp.keep_as(path)
    };
    make().map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => StorageError::Exists { path: path.to_owned() },
        _ => StorageError::Create { path: path.to_owned(), source },
    })
}

/// Writes an empty qcow2, or one that stands on `backing`.
pub(crate) fn write_qcow2(
    temp: &TempFile,
    size: Bytes,
    backing: Option<(&Path, Format)>,
) -> std::io::Result<()> {
    let named = |(path, format): (&Path, Format)| {
        let name = path.to_str().ok_or(std::io::ErrorKind::InvalidFilename)?;
        Ok::<_, std::io::Error>((name.to_owned(), format.as_str()))
    };
    let blank = Blank {
        virtual_bytes: size.0,
        cluster_bytes: CLUSTER_BYTES,
        version: 3,
        features: Features::default(),
        backing: backing.map(named).transpose()?,
    };
    let layout =
        blank.layout().map_err(|fault| std::io::Error::new(std::io::ErrorKind::InvalidInput, fault))?;
    // What is not written is a hole, and zeros: a clone is a handful of blocks.
    temp.file().set_len(layout.length)?;
    layout.parts.iter().try_for_each(|(at, bytes)| temp.file().write_all_at(bytes, *at))
}

/// Looks at one file as a disk of `format`.
pub(crate) fn look(path: &Path, format: Format) -> Result<Volume, StorageError> {
    let disk = DiskFile::open(path, Access::Read)?;
    seen(path, &disk, format, DiskFile::qcow2_header)
}

/// The same of one that may be encrypted.
pub(crate) fn look_at_any(path: &Path, format: Format) -> Result<Volume, StorageError> {
    let disk = DiskFile::open(path, Access::Read)?;
    seen(path, &disk, format, DiskFile::any_qcow2_header)
}

fn seen(
    path: &Path,
    disk: &DiskFile,
    format: Format,
    header: impl FnOnce(&DiskFile) -> Result<Header, StorageError>,
) -> Result<Volume, StorageError> {
    let (virtual_bytes, backing) = match format {
        Format::Raw => (disk.length()?, None),
        Format::Qcow2 => {
            let header = header(disk)?;
            let backing = header.backing.map(|backing| backing_path(path, &backing.name)).transpose()?;
            (header.virtual_bytes, backing)
        }
    };
    Ok(Volume {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        path: path.to_owned(),
        format,
        virtual_size: Bytes(virtual_bytes),
        allocation: Bytes(disk.allocation),
        backing,
    })
}

/// Bytes that a guest sees of a file.
pub(crate) fn guest_length(path: &Path, format: Format, is_locked: bool) -> Result<u64, StorageError> {
    let disk = DiskFile::open(path, Access::Read)?;
    match (format, is_locked) {
        (Format::Raw, false) => disk.length(),
        (Format::Raw, true) => disk.luks_length(),
        (Format::Qcow2, false) => Ok(disk.qcow2_header()?.virtual_bytes),
        (Format::Qcow2, true) => Ok(disk.locked_qcow2_header()?.virtual_bytes),
    }
}

/// The plain files of a directory that are not hidden, sorted.
pub(crate) fn disk_files(dir: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let failed = |source| StorageError::List { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)?.take(limits::DIRECTORY_FILES) {
        let entry = entry.map_err(failed)?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
