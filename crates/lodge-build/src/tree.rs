//! The guest's tree, opened so that no path in it leads out of it.
//!
//! Packages make absolute symlinks (`/etc/mtab`, `/etc/resolv.conf`); followed by the host they
//! would point into the host. Every path here is resolved with `openat2(RESOLVE_IN_ROOT)`.
//! Paths are text where the build knows them and bytes where it finds them.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{self as sys, AtFlags, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::error::BuildError;

const READ_LIMIT: u64 = 64 << 20;

/// The root directory of a guest that is being made.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
}

impl Tree {
    /// Opens the tree at `root`.
    pub fn open(root: &Path) -> Result<Self, BuildError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = sys::open(root, flags, Mode::empty()).map_err(failed("open", b"/"))?;
        Ok(Self { root })
    }

    /// Writes a file, with its missing directories; what was there before, of any kind, goes.
    pub fn write(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), BuildError> {
        self.put(path.as_bytes(), bytes, mode).map(drop).map_err(failed("write", path.as_bytes()))
    }

    /// Makes a symlink; what was there before goes.
    pub fn link(&self, path: &str, target: &str) -> Result<(), BuildError> {
        self.put_link(path.as_bytes(), target.as_bytes()).map_err(failed("link", path.as_bytes()))
    }

    /// Makes a directory, with those above it; there already is fine.
    pub fn make_dir(&self, path: &str, mode: u32) -> Result<(), BuildError> {
        let make = || -> io::Result<()> {
            let (dir, name) = self.parent(path.as_bytes(), true)?;
            match sys::mkdirat(&dir, name, Mode::from_raw_mode(mode)) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        make().map_err(failed("make", path.as_bytes()))
    }

    /// Removes a file or a directory with all in it; absent is fine.
    pub fn remove(&self, path: &str) -> Result<(), BuildError> {
        self.take_away(path.as_bytes()).map_err(failed("remove", path.as_bytes()))
    }

    /// Reads a file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, BuildError> {
        let get = || -> io::Result<Vec<u8>> {
            let file = self.resolve(path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK)?;
            let mut bytes = Vec::new();
            File::from(file).take(READ_LIMIT).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        get().map_err(failed("read", path.as_bytes()))
    }

    /// What `path` is: `None` if it is not there. A symlink is not followed.
    pub fn stat(&self, path: &str) -> Result<Option<sys::Stat>, BuildError> {
        self.look(path.as_bytes()).map_err(failed("stat", path.as_bytes()))
    }

    /// Whether `path` is there.
    pub fn has(&self, path: &str) -> Result<bool, BuildError> {
        Ok(self.stat(path)?.is_some())
    }

    /// The names in a directory, sorted; none if it is not there.
    pub fn names(&self, path: &str) -> Result<Vec<String>, BuildError> {
        let list = || -> io::Result<Vec<String>> {
            let names = self.entries(path.as_bytes())?.unwrap_or_default();
            Ok(names.into_iter().map(|name| String::from_utf8_lossy(&name).into_owned()).collect())
        };
        list().map_err(failed("list", path.as_bytes()))
    }

    /// Copies the plain files of one directory of the tree whose name `keep` admits into another.
    pub fn copy_files(&self, from: &str, to: &str, keep: impl Fn(&str) -> bool) -> Result<(), BuildError> {
        for name in self.names(from)?.iter().filter(|name| keep(name)) {
            let bytes = self.read(&format!("{from}/{name}"))?;
            self.write(&format!("{to}/{name}"), &bytes, 0o644)?;
        }
        Ok(())
    }

    /// What is at a path, the last part not followed: `None` where there is nothing.
    pub fn look(&self, path: &[u8]) -> io::Result<Option<sys::Stat>> {
        let look = || -> io::Result<sys::Stat> {
            let (dir, name) = self.parent(path, false)?;
            Ok(sys::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
        };
        present(look())
    }

    /// The names in a directory, sorted: `None` where there is none.
    pub fn entries(&self, path: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>> {
        let list = || -> io::Result<Vec<Vec<u8>>> {
            let mut names = names_of(&self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY)?)?;
            names.sort();
            Ok(names)
        };
        present(list())
    }

    /// At most so many bytes of a plain file; a link in the last part is not followed.
    pub fn read_at_most(&self, path: &[u8], most: u64) -> io::Result<Vec<u8>> {
        let (dir, name) = self.parent(path, false)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut bytes = Vec::new();
        File::from(sys::openat(&dir, name, flags, Mode::empty())?).take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Where a link points.
    pub fn target(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let (dir, name) = self.parent(path, false)?;
        Ok(sys::readlinkat(&dir, name, Vec::new())?.into_bytes())
    }

    /// A symlink in the place of whatever file was there.
    pub fn put_link(&self, path: &[u8], target: &[u8]) -> io::Result<()> {
        let (dir, name) = self.parent(path, true)?;
        unlink(&dir, name)?;
        Ok(sys::symlinkat(target, &dir, name)?)
    }

    /// Removes a file, or a directory with all in it.
    pub fn take_away(&self, path: &[u8]) -> io::Result<()> {
        let Some((dir, name)) = present(self.parent(path, false))? else { return Ok(()) };
        remove_all(&dir, name)
    }

    /// A new file in the place of whatever file was there; it is returned open, with this mode.
    pub fn put(&self, path: &[u8], bytes: &[u8], mode: u32) -> io::Result<File> {
        let (dir, name) = self.parent(path, true)?;
        unlink(&dir, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(sys::openat(&dir, name, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(bytes)?;
        sys::fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(file)
    }

    /// Makes a directory, and the way to it, where there is none.
    pub fn put_directory(&self, path: &[u8], (uid, gid, mode): (u32, u32, u32)) -> io::Result<()> {
        let (above, name) = self.parent(path, true)?;
        match sys::mkdirat(&above, name, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY).map(drop),
            made => made.map_err(io::Error::from).and_then(|()| self.give(path, (uid, gid, mode))),
        }
    }

    /// Gives a file or a directory to somebody.
    pub fn give(&self, path: &[u8], (uid, gid, mode): (u32, u32, u32)) -> io::Result<()> {
        let there = self.resolve(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
        std::os::unix::fs::fchown(&there, Some(uid), Some(gid))?;
        Ok(sys::fchmod(&there, Mode::from_raw_mode(mode))?)
    }

    /// The directory a path lies in, and its last name.
    fn parent<'a>(&self, path: &'a [u8], make: bool) -> io::Result<(OwnedFd, &'a [u8])> {
        let (dir, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (b".".as_slice(), path),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match self.resolve(dir, flags) {
            Err(error) if make && error.kind() == io::ErrorKind::NotFound => {
                let (above, last) = self.parent(dir, true)?;
                sys::mkdirat(&above, last, Mode::from_raw_mode(0o755))?;
                Ok((self.resolve(dir, flags)?, name))
            }
            dir => Ok((dir?, name)),
        }
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(sys::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), how)?)
    }
}

/// What is not there, on any part of the way, is no failure.
fn present<T>(got: io::Result<T>) -> io::Result<Option<T>> {
    match got {
        Ok(got) => Ok(Some(got)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            _ => Err(error),
        },
    }
}

fn unlink(dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match sys::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn remove_all(dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match sys::unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = sys::openat(dir, name, flags, Mode::empty())?;
    for entry in names_of(&inner)? {
        remove_all(&inner, &entry)?;
    }
    Ok(sys::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

fn names_of(dir: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in sys::Dir::read_from(dir)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// The error of an act in the tree.
pub(crate) fn failed<E: Into<io::Error>>(
    act: &'static str,
    path: &[u8],
) -> impl FnOnce(E) -> BuildError + use<E> {
    let path = path.strip_prefix(b"/").unwrap_or(path).escape_ascii().to_string();
    let path = format!("/{path}");
    move |source| BuildError::Tree { act, path, source: source.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        (dir, tree)
    }

    #[test]
    fn a_written_file_is_read_back_with_its_directories() {
        let (dir, tree) = tree();
        tree.write("etc/cloud/x.cfg", b"a", 0o644).unwrap();
        tree.write("etc/cloud/x.cfg", b"b", 0o600).unwrap();
        assert_eq!(tree.read("/etc/cloud/x.cfg").unwrap(), b"b");
        assert_eq!(fs::read(dir.path().join("etc/cloud/x.cfg")).unwrap(), b"b");
        assert_eq!(tree.names("etc/cloud").unwrap(), ["x.cfg"]);
    }

    #[test]
    fn no_link_in_the_tree_leads_out_of_it() {
        let (dir, tree) = tree();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("file")).unwrap();
        assert!(tree.read("file").is_err());
        // The link is replaced, not followed.
        tree.write("file", b"x", 0o644).unwrap();
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"x");
        assert!(tree.write("out/x", b"x", 0o644).is_err());
        tree.remove("out").unwrap();
        assert!(outside.path().exists());
    }

    #[test]
    fn removing_takes_all_and_absent_is_fine() {
        let (_dir, tree) = tree();
        tree.write("a/b/c", b"", 0o644).unwrap();
        tree.remove("a").unwrap();
        tree.remove("a/b").unwrap();
        assert!(!tree.has("a").unwrap());
    }
}
