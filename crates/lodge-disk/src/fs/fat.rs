//! FAT12, FAT16 and FAT32, by the crate `fatfs`.
//!
//! Bounds: each call may read so many bytes of the device and no more, so a chain of clusters that leads in a circle
//! ends. Names are compared as FAT does, without regard to case. Owner and permissions are those that Linux shows.
//! Deliberately absent: writing.

use std::{
    cell::Cell,
    fmt,
    io::{self, Read, Seek, SeekFrom, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
};

use lodge_model::guest_disk::{Content, FilePath, Owner};

use super::{Entry, FileSystem, FsError, Node, NodeKind};
use crate::{blocks::Blocks, layout::probe, source::Stream};

/// What a call may read beyond what is asked of it: tables and directories.
const BUDGET_BYTES: u64 = 64 << 20;
const OWNER: Owner = Owner { uid: 0, gid: 0, mode: 0o755 };

type Volume = fatfs::FileSystem<Metered>;
type Dir<'a> = fatfs::Dir<'a, Metered>;
type Found<'a> = fatfs::DirEntry<'a, Metered>;

/// An open FAT.
pub struct Fat {
    volume: Volume,
    left: Rc<Cell<u64>>,
    content: Content,
}

impl Fat {
    /// The one that lies there.
    pub fn open(blocks: Arc<dyn Blocks>) -> Result<Self, FsError> {
        let content = probe::probe(blocks.as_ref())?.filter(|content| content.kind == "vfat");
        let content = content.ok_or_else(|| FsError::Unsupported("it is no FAT".to_owned()))?;
        let left = Rc::new(Cell::new(BUDGET_BYTES));
        let metered = Metered { stream: Stream::new(blocks), left: left.clone() };
        let volume = catch_unwind(AssertUnwindSafe(|| Volume::new(metered, fatfs::FsOptions::new())));
        let volume = volume.map_err(|_| gave_up())?.map_err(|error| fault(&error))?;
        Ok(Self { volume, left, content })
    }

    /// Runs the crate with a fresh budget. What it gives up on is damaged.
    fn run<T>(&self, extra: u64, act: impl FnOnce(Dir<'_>) -> Result<T, FsError>) -> Result<T, FsError> {
        self.left.set(BUDGET_BYTES.saturating_add(extra));
        let done = catch_unwind(AssertUnwindSafe(|| act(self.volume.root_dir())));
        done.map_err(|_| gave_up())?
    }
}

/// A device that gives so many bytes and no more.
struct Metered {
    stream: Stream,
    left: Rc<Cell<u64>>,
}

impl Read for Metered {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get().checked_sub(into.len() as u64);
        self.left.set(left.ok_or_else(|| io::Error::other("its clusters lead in a circle, or too far"))?);
        self.stream.read(into)
    }
}

impl Write for Metered {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Metered {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.stream.seek(to)
    }
}

fn gave_up() -> FsError {
    FsError::Damaged { what: "its tables contradict each other".to_owned(), at: 0 }
}

fn fault(error: &io::Error) -> FsError {
    match error.kind() {
        io::ErrorKind::NotFound => FsError::NotFound,
        _ => FsError::Damaged { what: error.to_string(), at: 0 },
    }
}

/// Walks from the root, part by part; `None` is the root itself.
fn find<'a>(root: Dir<'a>, path: &FilePath) -> Result<Option<Found<'a>>, FsError> {
    let (mut at, mut found): (Dir<'a>, Option<Found<'a>>) = (root, None);
    for part in path.parts() {
        if let Some(entry) = &found {
            if !entry.is_dir() {
                return Err(FsError::NotADirectory);
            }
            at = entry.to_dir();
        }
        let Ok(name) = std::str::from_utf8(part) else { return Err(FsError::NotFound) };
        let mut here = None;
        for entry in at.iter() {
            let entry = entry.map_err(|error| fault(&error))?;
            let is_it = entry.file_name().to_lowercase() == name.to_lowercase()
                || entry.short_file_name().eq_ignore_ascii_case(name);
            if is_it {
                here = Some(entry);
                break;
            }
        }
        found = Some(here.ok_or(FsError::NotFound)?);
    }
    Ok(found)
}

fn kind(entry: &Found<'_>) -> NodeKind {
    if entry.is_dir() { NodeKind::Directory } else { NodeKind::File }
}

/// FAT's date as seconds since 1970, taken for UTC. Days by the civil calendar's rule of leap years.
fn seconds(at: fatfs::DateTime) -> i64 {
    let (year, month, day) = (i64::from(at.date.year), i64::from(at.date.month), i64::from(at.date.day));
    let shifted = (month + 9) % 12;
    let year = if month <= 2 { year - 1 } else { year };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * shifted + 2) / 5 + day - 1 - 719_468;
    days * 86400 + i64::from(at.time.hour) * 3600 + i64::from(at.time.min) * 60 + i64::from(at.time.sec)
}

impl FileSystem for Fat {
    fn content(&self) -> &Content {
        &self.content
    }

    fn node(&self, path: &FilePath) -> Result<Node, FsError> {
        self.run(0, |root| {
            Ok(match find(root, path)? {
                Some(entry) => Node {
                    kind: kind(&entry),
                    size: entry.len(),
                    owner: OWNER,
                    modified: seconds(entry.modified()),
                },
                None => Node { kind: NodeKind::Directory, size: 0, owner: OWNER, modified: 0 },
            })
        })
    }

    fn list(&self, path: &FilePath, most: usize) -> Result<Vec<Entry>, FsError> {
        self.run(0, |root| {
            let directory = match find(root.clone(), path)? {
                Some(entry) if entry.is_dir() => entry.to_dir(),
                Some(_) => return Err(FsError::NotADirectory),
                None => root,
            };
            let mut entries = Vec::new();
            for entry in directory.iter() {
                let entry = entry.map_err(|error| fault(&error))?;
                let name = entry.file_name();
                if name == "." || name == ".." {
                    continue;
                }
                if name.is_empty() || name.contains(['/', '\0']) {
                    let what = format!("'{}' is in {path}, which is no name", name.escape_debug());
                    return Err(FsError::Damaged { what, at: 0 });
                }
                if entries.len() == most {
                    return Err(FsError::TooMany(most));
                }
                entries.push(Entry { kind: kind(&entry), name: name.into_bytes() });
            }
            Ok(entries)
        })
    }

    fn read(&self, path: &FilePath, offset: u64, most: usize) -> Result<Vec<u8>, FsError> {
        // To read from the middle the chain is walked from its beginning, four bytes a cluster.
        self.run((most as u64).saturating_mul(2), |root| {
            let entry = find(root, path)?.filter(|entry| !entry.is_dir()).ok_or(FsError::NotAFile)?;
            let left = usize::try_from(entry.len().saturating_sub(offset)).unwrap_or(usize::MAX).min(most);
            let mut file = entry.to_file();
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(offset.min(entry.len()))).map_err(|error| fault(&error))?;
            file.take(left as u64).read_to_end(&mut bytes).map_err(|error| fault(&error))?;
            if bytes.len() < left {
                let what = format!("{path} ends after {} of its {} bytes", bytes.len(), entry.len());
                return Err(FsError::Damaged { what, at: 0 });
            }
            Ok(bytes)
        })
    }

    fn link(&self, path: &FilePath) -> Result<Vec<u8>, FsError> {
        self.node(path)?;
        Err(FsError::NotALink)
    }
}

impl fmt::Debug for Fat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fat({:?})", self.content.uuid)
    }
}

#[cfg(test)]
mod tests {
    use fatfs::{Date, DateTime, Time};

    use super::*;

    #[test]
    fn dates_are_seconds() {
        let at = |year, month, day, hour| {
            seconds(DateTime {
                date: Date { year, month, day },
                time: Time { hour, min: 0, sec: 0, millis: 0 },
            })
        };
        assert_eq!(at(1980, 1, 1, 0), 315_532_800);
        assert_eq!(at(2000, 2, 29, 1), 951_786_000);
        assert_eq!(at(2026, 11, 28, 0), 1_795_824_000);
    }
}
