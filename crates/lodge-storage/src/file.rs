//! Opening what is said to be a disk: never hanging, never something else than a disk.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom};

use crate::{
    error::StorageError,
    format::{Format, looks_like},
    qcow2::{self, Header},
    vol::probe::luks_payload,
};

/// As much of a LUKS container as says where its data begins.
const LUKS_HEADER_BYTES: usize = 512;

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId {
    pub device: u64,
    pub inode: u64,
}

/// A disk's file, open.
#[derive(Debug)]
pub(crate) struct DiskFile {
    pub path: PathBuf,
    pub id: FileId,
    pub file: File,
    /// Bytes the file takes on the host.
    pub allocation: u64,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl DiskFile {
    /// Opens a file or block device. A FIFO or the like is not even touched.
    pub fn open(path: &Path, access: Access) -> Result<Self, StorageError> {
        if !path.is_absolute() {
            return Err(StorageError::NotAbsolute { path: path.to_owned() });
        }
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => StorageError::Missing { path: path.to_owned() },
            _ => StorageError::Open { path: path.to_owned(), source },
        };
        let stat = rustix::fs::stat(path).map_err(|error| failed(error.into()))?;
        check_kind(path, FileType::from_raw_mode(stat.st_mode))?;
        // Not blocking: should it have become a FIFO in between, this returns at once.
        let mode = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
        };
        let flags = mode | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| failed(error.into()))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        check_kind(path, kind)?;
        rustix::fs::fcntl_setfl(&fd, mode).map_err(|error| failed(error.into()))?;
        let is_block = kind == FileType::BlockDevice;
        // A block device is the same whichever node names it.
        let id = if is_block {
            FileId { device: u64::MAX, inode: stat.st_rdev }
        } else {
            FileId { device: stat.st_dev, inode: stat.st_ino }
        };
        let allocation = stat.st_blocks.cast_unsigned() * 512;
        Ok(Self { path: path.to_owned(), id, file: File::from(fd), allocation })
    }

    /// Bytes of the file or device.
    pub fn length(&self) -> Result<u64, StorageError> {
        // A device's metadata says 0; its end does not.
        let end = rustix::fs::seek(&self.file, SeekFrom::End(0));
        let end = end.and_then(|end| rustix::fs::seek(&self.file, SeekFrom::Start(0)).map(|_| end));
        end.map_err(|error| StorageError::Open { path: self.path.clone(), source: error.into() })
    }

    /// The header, if it is a qcow2 whose bytes can be read without a key. Errors name the path, the cause and what the
    /// bytes look like.
    pub fn qcow2_header(&self) -> Result<Header, StorageError> {
        let header = self.any_qcow2_header()?;
        if header.is_encrypted {
            return Err(StorageError::UnsupportedImage { path: self.path.clone(), what: "is encrypted" });
        }
        Ok(header)
    }

    /// The header of a qcow2 with LUKS inside, for one who has the key.
    pub fn locked_qcow2_header(&self) -> Result<Header, StorageError> {
        let header = self.any_qcow2_header()?;
        let what = match (header.is_encrypted, header.has_luks) {
            (true, true) => return Ok(header),
            (true, false) => "is encrypted with qcow2's AES of old",
            (false, _) => "is not encrypted though its disk says so",
        };
        Err(StorageError::UnsupportedImage { path: self.path.clone(), what })
    }

    /// Bytes that the guest sees of a LUKS container, for one who has the key.
    pub fn luks_length(&self) -> Result<u64, StorageError> {
        let payload = luks_payload(&self.start(LUKS_HEADER_BYTES)?);
        payload.and_then(|at| self.length().ok()?.checked_sub(at)).ok_or_else(|| {
            let what = "is no LUKS container of version 1 though its disk says so";
            StorageError::UnsupportedImage { path: self.path.clone(), what }
        })
    }

    /// The header, encrypted or not, for one who looks.
    pub fn any_qcow2_header(&self) -> Result<Header, StorageError> {
        let start = self.start(qcow2::READ_BYTES)?;
        let header = qcow2::parse(&start).map_err(|fault| StorageError::NotAnImage {
            path: self.path.clone(),
            format: Format::Qcow2.as_str(),
            why: fault.to_string(),
            looks_like: looks_like(&start),
        })?;
        if header.has_data_file {
            let what = "keeps its data in another file";
            return Err(StorageError::UnsupportedImage { path: self.path.clone(), what });
        }
        if header.is_corrupt {
            return Err(StorageError::MarkedCorrupt { path: self.path.clone() });
        }
        Ok(header)
    }

    /// The first bytes, as many as there are.
    pub fn start(&self, length: usize) -> Result<Vec<u8>, StorageError> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut bytes[filled..], filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(StorageError::Open { path: self.path.clone(), source }),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// The descriptor, for QEMU.
    pub fn into_fd(self) -> OwnedFd {
        self.file.into()
    }
}

fn check_kind(path: &Path, kind: FileType) -> Result<(), StorageError> {
    let what = match kind {
        FileType::RegularFile | FileType::BlockDevice => return Ok(()),
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::Symlink | FileType::Unknown => "no file",
    };
    Err(StorageError::NotADisk { path: path.to_owned(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_disk_is_named_and_does_not_hang() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let text = |path: &Path| DiskFile::open(path, Access::Write).unwrap_err().to_string();
        assert_eq!(text(&fifo), format!("`{}` is a FIFO, not a disk", fifo.display()));
        assert!(text(dir.path()).contains("is a directory, not a disk"));
        assert!(text(Path::new("/dev/null")).contains("is a character device"));
        assert!(text(&dir.path().join("x")).contains("does not exist"));
        assert!(text(Path::new("x")).contains("is not absolute"));
    }

    #[test]
    fn a_file_that_is_no_qcow2_is_told_with_what_it_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.qcow2");
        std::fs::write(&path, b"KDMV and more").unwrap();
        let error = DiskFile::open(&path, Access::Read).unwrap().qcow2_header().unwrap_err();
        let why = "is not a qcow2 image: it does not begin as qcow2 does (it looks like VMDK)";
        assert_eq!(error.to_string(), format!("`{}` {why}", path.display()));
        assert!(error.hint().unwrap().contains("qemu-img info"));
    }
}
