//! The file a guest's memory is saved to: libvirt's own format, so that either side restores the other's.
//!
//! ```text
//!  0         92                                stream_offset (a page's begin)
//!  │ header  │ the domain's XML, NUL, [cookie, NUL,] zeroes │ QEMU's migration stream …
//!  magic 16 · version · data_len · was_running · compressed · cookie_offset · 14 × unused   (u32, host's byte order)
//! ```
//!
//! While the stream is being written the magic is `LibvirtQemudPart`; only when all is on disk it becomes
//! `LibvirtQemudSave`. A file is foreign input: it is believed only within its bounds. QEMU writes and reads the
//! stream itself, through a descriptor, so a daemon that dies leaves it working.
//! Deliberately absent: compression (libvirt's default is none), and the sparse format of libvirt 11.

mod error;
mod header;
mod stream;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use self::error::SaveImageError;
use self::header::{Header, LENGTH, SIZE};
pub use self::stream::Progress;
use crate::qmp::Monitor;

/// A saved guest, as its file tells.
#[derive(Debug)]
pub struct SavedGuest {
    /// The domain's document at the time.
    pub xml: String,
    /// Whether its processors ran: then they shall run again after the restore.
    pub was_running: bool,
    /// libvirt's cookie, if libvirt wrote the file.
    pub cookie: Option<String>,
    path: PathBuf,
    file: File,
    stream_offset: u64,
}

/// A file being written.
#[derive(Debug)]
pub struct Saving {
    path: PathBuf,
    file: File,
    header: Header,
}

impl Saving {
    /// Makes the file at `path` (mode 600, an old one is overwritten) with all but the memory in it.
    pub fn create(path: &Path, xml: &str, was_running: bool) -> Result<Self, SaveImageError> {
        let header = Header::new(xml, was_running).ok_or_else(|| SaveImageError::Corrupt {
            path: path.to_owned(),
            reason: "the document is too long",
        })?;
        let write = |source| SaveImageError::Write { path: path.to_owned(), source };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(OPEN_SAFELY)
            .open(path)
            .map_err(write)?;
        let mut data = vec![0; header.data_len as usize];
        data[..xml.len()].copy_from_slice(xml.as_bytes());
        file.write_all_at(&header.bytes(false), 0).map_err(write)?;
        file.write_all_at(&data, SIZE).map_err(write)?;
        Ok(Self { path: path.to_owned(), file, header })
    }

    /// Lets QEMU write the guest's memory and devices. Its processors should stand still; they do afterwards.
    /// To call it off, `migrate_cancel` on the monitor.
    pub async fn take_memory(
        &self,
        monitor: &Monitor,
        progress: impl FnMut(Progress),
    ) -> Result<(), SaveImageError> {
        stream::send(monitor, &self.file, SIZE + u64::from(self.header.data_len), progress).await
    }

    /// Makes the file whole and durable. Blocks for as long as the disk takes.
    pub fn finish(self) -> Result<(), SaveImageError> {
        let write = |source| SaveImageError::Write { path: self.path.clone(), source };
        self.file.sync_all().map_err(write)?;
        self.file.write_all_at(&self.header.bytes(true), 0).map_err(write)?;
        self.file.sync_all().map_err(write)?;
        let directory =
            self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(write)
    }

    /// Removes the half-made file.
    pub fn abandon(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Lets QEMU write the bare stream into `file`, without a header (`virsh dump`). Its processors should stand still.
pub async fn stream_to(
    monitor: &Monitor,
    file: &File,
    progress: impl FnMut(Progress),
) -> Result<(), SaveImageError> {
    stream::send(monitor, file, 0, progress).await
}

/// Never a terminal of ours, never through a pipe that nobody reads.
const OPEN_SAFELY: i32 =
    (rustix::fs::OFlags::NOCTTY.bits() | rustix::fs::OFlags::NONBLOCK.bits()).cast_signed();

impl SavedGuest {
    /// Reads what the file at `path` says of itself.
    pub fn open(path: &Path) -> Result<Self, SaveImageError> {
        let failed = |source| SaveImageError::Open { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).custom_flags(OPEN_SAFELY).open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(SaveImageError::NotASave { path: path.to_owned() });
        }
        let header = Self::header(&file, path)?;
        let mut data = vec![0; header.data_len as usize];
        file.read_exact_at(&mut data, SIZE).map_err(|source| short(source, path))?;
        let corrupt = |reason| SaveImageError::Corrupt { path: path.to_owned(), reason };
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            String::from_utf8(bytes[..end].to_vec()).map_err(|_| corrupt("its document is not UTF-8"))
        };
        let cookie = match header.cookie_offset as usize {
            0 => None,
            at if at < data.len() => Some(text(&data[at..])?),
            _ => return Err(corrupt("its cookie lies outside")),
        };
        Ok(Self {
            xml: text(&data)?,
            was_running: header.was_running,
            cookie,
            path: path.to_owned(),
            file,
            stream_offset: SIZE + u64::from(header.data_len),
        })
    }

    fn header(file: &File, path: &Path) -> Result<Header, SaveImageError> {
        let mut bytes = [0; LENGTH];
        file.read_exact_at(&mut bytes, 0).map_err(|source| short(source, path))?;
        Header::parse(&bytes, path)
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets a QEMU that was started with [`Claims::incoming`](crate::Claims::incoming) read the memory. Its
    /// processors stand still afterwards.
    pub async fn give_memory(
        &self,
        monitor: &Monitor,
        progress: impl FnMut(Progress),
    ) -> Result<(), SaveImageError> {
        stream::receive(monitor, &self.file, self.stream_offset, progress).await
    }

    /// Puts another document, or another state to restore to, into the file at `path` (`save-image-edit`). The
    /// document must fit into the room there is.
    pub fn rewrite(path: &Path, xml: Option<&str>, running: Option<bool>) -> Result<(), SaveImageError> {
        let failed = |source| SaveImageError::Write { path: path.to_owned(), source };
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(OPEN_SAFELY).open(path).map_err(failed)?;
        let mut header = Self::header(&file, path)?;
        if let Some(xml) = xml {
            let room = match header.cookie_offset {
                0 => header.data_len,
                cookie => cookie,
            } as usize;
            if xml.len() >= room {
                return Err(SaveImageError::NoRoom { path: path.to_owned(), room, needed: xml.len() + 1 });
            }
            let mut data = vec![0; room];
            data[..xml.len()].copy_from_slice(xml.as_bytes());
            file.write_all_at(&data, SIZE).map_err(failed)?;
        }
        header.was_running = running.unwrap_or(header.was_running);
        file.write_all_at(&header.bytes(true), 0).map_err(failed)?;
        file.sync_all().map_err(failed)
    }
}

fn short(source: io::Error, path: &Path) -> SaveImageError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => SaveImageError::NotASave { path: path.to_owned() },
        _ => SaveImageError::Open { path: path.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::header::LONGEST_DATA;
    use super::*;

    #[test]
    fn what_is_written_is_read_and_can_be_edited_in_its_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.save");
        let saving = Saving::create(&path, "<domain/>", true).unwrap();
        assert!(matches!(SavedGuest::open(&path), Err(SaveImageError::Partial { .. })));
        saving.finish().unwrap();
        let saved = SavedGuest::open(&path).unwrap();
        assert_eq!((saved.xml.as_str(), saved.was_running, &saved.cookie), ("<domain/>", true, &None));
        assert_eq!(saved.stream_offset % 4096, 0);
        SavedGuest::rewrite(&path, Some("<domain type='kvm'/>"), Some(false)).unwrap();
        let saved = SavedGuest::open(&path).unwrap();
        assert_eq!((saved.xml.as_str(), saved.was_running), ("<domain type='kvm'/>", false));
        let long = "x".repeat(LONGEST_DATA as usize);
        assert!(matches!(SavedGuest::rewrite(&path, Some(&long), None), Err(SaveImageError::NoRoom { .. })));
        assert!(Saving::create(&path, &long, true).is_err());
    }

    /// Bytes as libvirt writes them on x86-64: `virsh save` of libvirt 11.3, shortened.
    #[test]
    fn libvirts_own_file_with_a_cookie() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.save");
        let (xml, cookie) = ("<domain type='qemu'/>\n\0", "<qemuSaveCookie/>\n\0");
        let mut bytes = b"LibvirtQemudSave".to_vec();
        let data_len = u32::try_from(xml.len() + cookie.len() + 100).unwrap();
        for number in [2, data_len, 1, 0, u32::try_from(xml.len()).unwrap()] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend([0; 56]);
        bytes.extend(xml.bytes().chain(cookie.bytes()).chain([0; 100]));
        bytes.extend(b"QEVM stream");
        std::fs::write(&path, &bytes).unwrap();
        let saved = SavedGuest::open(&path).unwrap();
        assert_eq!(saved.xml, "<domain type='qemu'/>\n");
        assert_eq!(saved.cookie.as_deref(), Some("<qemuSaveCookie/>\n"));
        assert_eq!(saved.stream_offset, 92 + u64::from(data_len));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        /// Any document comes back as it was; any damage to the numbers is an error or an answer, never a panic.
        #[test]
        fn documents_come_back_and_damage_is_survived(xml in "[^\0]{0,200}", at in 16usize..92, byte: u8) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("p.save");
            Saving::create(&path, &xml, false).unwrap().finish().unwrap();
            assert_eq!(SavedGuest::open(&path).unwrap().xml, xml);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] = byte;
            std::fs::write(&path, bytes).unwrap();
            let _ = SavedGuest::open(&path);
        }
    }

    #[test]
    fn what_is_no_save_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let open = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            SavedGuest::open(&path).unwrap_err()
        };
        let file = |version: u32, data_len: u32, compressed: u32, cookie: u32| {
            let mut bytes = b"LibvirtQemudSave".to_vec();
            for number in [version, data_len, 1, compressed, cookie] {
                bytes.extend(number.to_ne_bytes());
            }
            bytes.extend([0; 56]);
            bytes.extend([b'x'; 64]);
            bytes
        };
        assert!(matches!(open(b""), SaveImageError::NotASave { .. }));
        assert!(matches!(open(&[0x7f; 200]), SaveImageError::NotASave { .. }));
        assert!(matches!(open(&file(2, 640, 0, 0)), SaveImageError::NotASave { .. }), "cut off");
        assert!(matches!(open(&file(9, 64, 0, 0)), SaveImageError::Version { found: 9, .. }));
        assert!(matches!(open(&file(2, u32::MAX, 0, 0)), SaveImageError::Corrupt { .. }));
        assert!(matches!(open(&file(2, 64, 3, 0)), SaveImageError::Compressed { method: "xz", .. }));
        assert!(matches!(open(&file(2, 64, 0, 64)), SaveImageError::Corrupt { .. }));
        assert!(matches!(SavedGuest::open(dir.path()), Err(SaveImageError::NotASave { .. })));
        assert!(matches!(SavedGuest::open(&dir.path().join("none")), Err(SaveImageError::Open { .. })));
    }
}
