//! A directory of the host's as a file system: a container's root, in which somebody else may write anything at any time.
//!
//! Nothing is left by it: each path is opened by openat2(2) beneath the directory, without a link on the way, and on no other
//! mount. Nothing but a plain file is opened to be read, so no device does anything, and no pipe waits for a writer. The
//! root of a container may be moved and changed while it is read; what is seen is what is there at each look.
//! Deliberately absent: which directories there are, and whose (`lodge-engine`).

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use lodge_model::guest_disk::{Content, FilePath, Owner};
use rustix::{
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use super::{Entry, FileSystem, FsError, Node, NodeKind};

/// Looks at a place that is renamed each time.
const TRIES: usize = 8;
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// What overlayfs notes beside a file or directory of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    None,
    /// Nothing of the layers below is in this directory.
    Opaque,
    /// Its name or its bytes are somewhere else in the layers below.
    Elsewhere,
}

/// A mark's name, and what it means; for root alone, and for others (`userxattr`).
const MARKS: [(&str, Mark); 6] = [
    ("trusted.overlay.redirect", Mark::Elsewhere),
    ("trusted.overlay.metacopy", Mark::Elsewhere),
    ("user.overlay.redirect", Mark::Elsewhere),
    ("user.overlay.metacopy", Mark::Elsewhere),
    ("trusted.overlay.opaque", Mark::Opaque),
    ("user.overlay.opaque", Mark::Opaque),
];

/// A directory, open.
#[derive(Debug)]
pub(crate) struct Directory {
    top: OwnedFd,
    content: Content,
}

impl Directory {
    /// Opens it. Links to it are followed: its path is the host's own.
    pub fn open(path: &Path) -> io::Result<Self> {
        let top = fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let kind = "directory".to_owned();
        Ok(Self { top, content: Content { kind, uuid: None, label: None, group: None, used: None } })
    }

    fn at(&self, path: &FilePath, flags: OFlags) -> Result<OwnedFd, FsError> {
        let inside = path.as_bytes().strip_prefix(b"/").unwrap_or_default();
        let inside = if inside.is_empty() { b".".as_slice() } else { inside };
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..TRIES {
            match fs::openat2(&self.top, inside, flags, Mode::empty(), BENEATH) {
                // Something on the way was renamed meanwhile.
                Err(Errno::AGAIN) => {}
                opened => return opened.map_err(failed),
            }
        }
        Err(failed(Errno::AGAIN))
    }

    /// What is at a path, not opened for anything.
    fn look(&self, path: &FilePath) -> Result<(OwnedFd, Stat), FsError> {
        let there = self.at(path, OFlags::PATH)?;
        let stat = fs::fstat(&there).map_err(failed)?;
        Ok((there, stat))
    }

    /// What overlayfs has noted of it, where this is a layer.
    pub fn mark(&self, path: &FilePath) -> Result<Mark, FsError> {
        let there = self.at(path, OFlags::PATH)?;
        // A descriptor that only names has no attributes; its name in /proc leads to what it names.
        let again = format!("/proc/self/fd/{}", there.as_raw_fd());
        let mut value = [0_u8; 8];
        for (name, mark) in MARKS {
            match fs::getxattr(&again, name, &mut value[..]) {
                // An `x` says how names are taken away in it, and hides nothing by itself.
                Ok(length) if mark == Mark::Opaque && &value[..length] != b"y" => {}
                Ok(_) | Err(Errno::RANGE) => return Ok(mark),
                // None, a file system without any, or not for the likes of us.
                Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(Mark::None)
    }

    /// Whether it is what takes a name of the layers below away: a character device 0/0.
    pub fn takes_away(&self, path: &FilePath) -> Result<bool, FsError> {
        let (_, stat) = self.look(path)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0)
    }
}

impl FileSystem for Directory {
    fn content(&self) -> &Content {
        &self.content
    }

    fn node(&self, path: &FilePath) -> Result<Node, FsError> {
        let (_, stat) = self.look(path)?;
        Ok(Node {
            kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            owner: Owner {
                uid: stat.st_uid,
                gid: stat.st_gid,
                mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or_default(),
            },
            modified: stat.st_mtime,
        })
    }

    fn list(&self, path: &FilePath, most: usize) -> Result<Vec<Entry>, FsError> {
        let there = self.at(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&there).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if names.len() >= most {
                return Err(FsError::TooMany(most));
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match fs::statat(&there, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(failed(error)),
                },
                kind => kind,
            };
            names.push(Entry { name: name.to_vec(), kind: kind_of(kind) });
        }
        Ok(names)
    }

    fn read(&self, path: &FilePath, offset: u64, most: usize) -> Result<Vec<u8>, FsError> {
        let (there, stat) = self.look(path)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(FsError::NotAFile);
        }
        // The very file that was looked at, and no other that took its name meanwhile.
        let again = format!("/proc/self/fd/{}", there.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut file = File::from(fs::open(again, flags, Mode::empty()).map_err(failed)?);
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn link(&self, path: &FilePath) -> Result<Vec<u8>, FsError> {
        let (there, stat) = self.look(path)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Err(FsError::NotALink);
        }
        fs::readlinkat(&there, c"", Vec::new()).map(CString::into_bytes).map_err(failed)
    }
}

fn kind_of(kind: FileType) -> NodeKind {
    match kind {
        FileType::RegularFile => NodeKind::File,
        FileType::Directory => NodeKind::Directory,
        FileType::Symlink => NodeKind::Link,
        _ => NodeKind::Other,
    }
}

fn failed(error: Errno) -> FsError {
    match error {
        // A link that was none a moment ago leads nowhere.
        Errno::NOENT | Errno::LOOP => FsError::NotFound,
        Errno::NOTDIR => FsError::NotADirectory,
        Errno::XDEV => FsError::Unsupported("something else of the host's is mounted there".to_owned()),
        error => FsError::Io(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, process::Command};

    use lodge_model::guest_disk::{FileNode, Pattern, Wanted};

    use super::*;
    use crate::root::Root;

    fn path(text: &str) -> FilePath {
        FilePath::new(text).unwrap()
    }

    #[test]
    fn a_container_shows_nothing_of_its_host() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let top = at("rootfs");
        std::fs::create_dir_all(top.join("etc/ssh")).unwrap();
        std::fs::write(at("secret"), "the host's").unwrap();
        std::fs::write(top.join("etc/machine-id"), "17f2e0698e844e31b12ccd3f9aa4d94a\n").unwrap();
        symlink("/secret", top.join("etc/absolute")).unwrap();
        symlink("../../secret", top.join("etc/up")).unwrap();
        symlink(at("secret"), top.join("etc/long-way")).unwrap();
        symlink("machine-id", top.join("etc/id")).unwrap();
        symlink("round", top.join("etc/round")).unwrap();
        symlink("..", top.join("etc/above")).unwrap();
        symlink("/proc/self/root", top.join("etc/magic")).unwrap();
        symlink(dir.path(), top.join("etc/out")).unwrap();
        let made = Command::new("mkfifo").arg(top.join("etc/pipe")).status();
        assert!(made.is_ok_and(|made| made.success()));

        let fs = Directory::open(&top).unwrap();
        assert_eq!(fs.node(&path("/etc")).unwrap().kind, NodeKind::Directory);
        assert_eq!(fs.node(&path("/etc/pipe")).unwrap().kind, NodeKind::Other);
        assert_eq!(fs.link(&path("/etc/absolute")).unwrap(), b"/secret");
        assert!(matches!(fs.read(&path("/etc/pipe"), 0, 10), Err(FsError::NotAFile)));
        assert!(matches!(fs.read(&path("/etc/up"), 0, 10), Err(FsError::NotAFile)));
        assert!(matches!(fs.node(&path("/etc/out/secret")), Err(FsError::NotFound)));
        assert!(matches!(fs.node(&path("/etc/machine-id/x")), Err(FsError::NotADirectory)));
        assert!(matches!(fs.list(&path("/etc"), 3), Err(FsError::TooMany(3))));
        assert_eq!(fs.read(&path("/etc/machine-id"), 30, 10).unwrap(), b"4a\n");

        let wanted = ["/etc/*", "/etc/out/*", "/etc/above/*", "/etc/magic/*", "/etc/round/x"];
        let wanted = wanted.map(|text| Wanted { pattern: Pattern::new(text).unwrap(), most_bytes: 100 });
        let files = Root::of_directory(&top).unwrap().files(&wanted);
        assert_eq!(files.text("/etc/machine-id").as_deref(), Some("17f2e0698e844e31b12ccd3f9aa4d94a\n"));
        assert_eq!(files.node("/etc/id"), Some(&FileNode::Link(b"machine-id".to_vec())));
        // `..` of the container's root is the container's root.
        assert!(files.node("/etc/above/etc").is_some());
        let shown = format!("{files:?}");
        assert!(!shown.contains("the host's") && files.node("/etc/out/secret").is_none(), "{shown}");
        assert!(Directory::open(&at("secret")).is_err() && Directory::open(&at("none")).is_err());
    }
}
