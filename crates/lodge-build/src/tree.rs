//! The guest's tree, opened so that no path in it leads out of it.
//!
//! Packages make absolute symlinks (`/etc/mtab`, `/etc/resolv.conf`); followed by the host they
//! would point into the host. Every path here is resolved with `openat2(RESOLVE_IN_ROOT)`.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::fs::{self as sys, AtFlags, Mode, OFlags, ResolveFlags};

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
        let root = sys::open(root, flags, Mode::empty()).map_err(failed("open", "/"))?;
        Ok(Self { root })
    }

    /// Writes a file, with its missing directories; what was there before, of any kind, goes.
    pub fn write(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), BuildError> {
        self.put(path, bytes, mode).map_err(failed("write", path))
    }

    /// Makes a symlink; what was there before goes.
    pub fn link(&self, path: &str, target: &str) -> Result<(), BuildError> {
        let make = || -> io::Result<()> {
            let (dir, name) = self.parent(path, true)?;
            unlink(&dir, name)?;
            Ok(sys::symlinkat(target, &dir, name)?)
        };
        make().map_err(failed("link", path))
    }

    /// Makes a directory, with those above it; there already is fine.
    pub fn make_dir(&self, path: &str, mode: u32) -> Result<(), BuildError> {
        let make = || -> io::Result<()> {
            let (dir, name) = self.parent(path, true)?;
            match sys::mkdirat(&dir, name, Mode::from_raw_mode(mode)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        make().map_err(failed("make", path))
    }

    /// Removes a file or a directory with all in it; absent is fine.
    pub fn remove(&self, path: &str) -> Result<(), BuildError> {
        let take = || -> io::Result<()> {
            let (dir, name) = match self.parent(path, false) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                parent => parent?,
            };
            remove_all(&dir, name)
        };
        take().map_err(failed("remove", path))
    }

    /// Reads a file.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, BuildError> {
        let get = || -> io::Result<Vec<u8>> {
            let file = self.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
            let mut bytes = Vec::new();
            File::from(file).take(READ_LIMIT).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        get().map_err(failed("read", path))
    }

    /// What `path` is: `None` if it is not there. A symlink is not followed.
    pub fn stat(&self, path: &str) -> Result<Option<sys::Stat>, BuildError> {
        let get = || -> io::Result<Option<sys::Stat>> {
            let (dir, name) = match self.parent(path, false) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                parent => parent?,
            };
            match sys::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(rustix::io::Errno::NOENT) => Ok(None),
                stat => Ok(Some(stat?)),
            }
        };
        get().map_err(failed("stat", path))
    }

    /// Whether `path` is there.
    pub fn has(&self, path: &str) -> Result<bool, BuildError> {
        Ok(self.stat(path)?.is_some())
    }

    /// The names in a directory, sorted; none if it is not there.
    pub fn names(&self, path: &str) -> Result<Vec<String>, BuildError> {
        let list = || -> io::Result<Vec<String>> {
            let dir = match self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                dir => dir?,
            };
            let mut names = names_of(&dir)?;
            names.sort();
            Ok(names)
        };
        list().map_err(failed("list", path))
    }

    /// Copies the plain files of one directory of the tree whose name `keep` admits into another.
    pub fn copy_files(&self, from: &str, to: &str, keep: impl Fn(&str) -> bool) -> Result<(), BuildError> {
        for name in self.names(from)?.iter().filter(|name| keep(name)) {
            let bytes = self.read(&format!("{from}/{name}"))?;
            self.write(&format!("{to}/{name}"), &bytes, 0o644)?;
        }
        Ok(())
    }

    fn put(&self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let (dir, name) = self.parent(path, true)?;
        unlink(&dir, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(sys::openat(&dir, name, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(bytes)?;
        sys::fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(())
    }

    /// The directory a path lies in, and its last name.
    fn parent<'a>(&self, path: &'a str, make: bool) -> io::Result<(OwnedFd, &'a str)> {
        let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
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

    fn resolve(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(sys::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), how)?)
    }
}

fn unlink(dir: &OwnedFd, name: &str) -> io::Result<()> {
    match sys::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn remove_all(dir: &OwnedFd, name: &str) -> io::Result<()> {
    match sys::unlinkat(dir, name, AtFlags::empty()) {
        Err(rustix::io::Errno::ISDIR) => {}
        Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = sys::openat(dir, name, flags, Mode::empty())?;
    for entry in names_of(&inner)? {
        remove_all(&inner, &entry)?;
    }
    Ok(sys::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

fn names_of(dir: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in sys::Dir::read_from(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

fn failed<E: Into<io::Error>>(act: &'static str, path: &str) -> impl FnOnce(E) -> BuildError + use<E> {
    let path = format!("/{}", path.trim_start_matches('/'));
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
