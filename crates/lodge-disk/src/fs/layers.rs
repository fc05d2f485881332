//! Directories laid over each other, as overlayfs would show them if somebody mounted it: the root of a container that is
//! made of its image's layers and one of its own. Nothing is mounted.
//!
//! The kernel's rules (`Documentation/filesystems/overlayfs.rst`): the topmost layer that has a name says what is there; a
//! directory has the names of all layers down to one that is opaque; a character device 0/0 takes a name away. Where a
//! layer says that something's name or bytes lie elsewhere (`redirect_dir`, `metacopy`), that is not followed, and said.
//! Each layer is as hostile as a [`Directory`], whose rules hold.
//! Deliberately absent: which layers a container has (`lodge-engine`), and how fuse-overlayfs takes names away.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
};

use lodge_model::guest_disk::{Content, FilePath};

use super::{
    Entry, FileSystem, FsError, Node, NodeKind,
    directory::{Directory, Mark},
};

/// More of them the kernel does not mount.
const LAYERS_MAX: usize = 500;
/// Places that are remembered.
const PLACES_MAX: usize = 20_000;

/// Layers, the topmost first.
#[derive(Debug)]
pub(crate) struct Layers {
    stack: Vec<Directory>,
    content: Content,
    /// The same way is gone many times, through each layer.
    places: RefCell<HashMap<FilePath, Place>>,
}

/// What is at a path: the layers that have a part in it, the topmost first. None: nothing is there.
#[derive(Debug, Clone)]
struct Place {
    layers: Vec<usize>,
    kind: NodeKind,
}

impl Layers {
    /// Opens them all, the topmost first.
    pub fn open(paths: &[PathBuf]) -> io::Result<Self> {
        if paths.is_empty() || paths.len() > LAYERS_MAX {
            return Err(io::Error::other(format!("it has {} layers", paths.len())));
        }
        let named = |path: &PathBuf| {
            let open = Directory::open(path);
            open.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        };
        let layers = paths.iter().map(named).collect::<io::Result<Vec<Directory>>>()?;
        let kind = "layers".to_owned();
        let content = Content { kind, uuid: None, label: None, group: None, used: None };
        Ok(Self { stack: layers, content, places: RefCell::default() })
    }

    fn place(&self, path: &FilePath) -> Result<Place, FsError> {
        if path.as_bytes() == b"/" {
            return Ok(Place { layers: (0..self.stack.len()).collect(), kind: NodeKind::Directory });
        }
        if let Some(known) = self.places.borrow().get(path) {
            return Ok(known.clone());
        }
        let above = self.place(&parent(path)?)?;
        let place = if above.layers.is_empty() {
            above
        } else if above.kind == NodeKind::Directory {
            self.name_in(&above, path)?
        } else {
            return Err(FsError::NotADirectory);
        };
        let mut places = self.places.borrow_mut();
        if places.len() >= PLACES_MAX {
            places.clear();
        }
        places.insert(path.clone(), place.clone());
        Ok(place)
    }

    /// A name in a directory that these layers have a part in.
    fn name_in(&self, above: &Place, path: &FilePath) -> Result<Place, FsError> {
        let mut place = Place { layers: Vec::new(), kind: NodeKind::Other };
        for index in &above.layers {
            let layer = &self.stack[*index];
            let kind = match layer.node(path) {
                Ok(node) => node.kind,
                Err(FsError::NotFound) => continue,
                Err(error) => return Err(error),
            };
            if kind != NodeKind::Directory {
                // Below a directory it is hidden; else it is what is there, or what takes it away.
                if place.layers.is_empty() && !layer.takes_away(path)? {
                    place = Place { layers: vec![*index], kind };
                }
                break;
            }
            place.layers.push(*index);
            place.kind = kind;
            match layer.mark(path)? {
                Mark::None => {}
                Mark::Opaque => break,
                Mark::Elsewhere => return Err(elsewhere()),
            }
        }
        Ok(place)
    }

    fn there(&self, path: &FilePath) -> Result<(Place, &Directory), FsError> {
        let place = self.place(path)?;
        let top = place.layers.first().map(|index| &self.stack[*index]).ok_or(FsError::NotFound)?;
        Ok((place, top))
    }
}

impl FileSystem for Layers {
    fn content(&self) -> &Content {
        &self.content
    }

    fn node(&self, path: &FilePath) -> Result<Node, FsError> {
        self.there(path)?.1.node(path)
    }

    fn list(&self, path: &FilePath, most: usize) -> Result<Vec<Entry>, FsError> {
        let (place, _) = self.there(path)?;
        if place.kind != NodeKind::Directory {
            return Err(FsError::NotADirectory);
        }
        let mut names: BTreeMap<Vec<u8>, Option<NodeKind>> = BTreeMap::new();
        for index in place.layers {
            let layer = &self.stack[index];
            for entry in layer.list(path, most)? {
                if names.contains_key(&entry.name) {
                    continue;
                }
                if names.len() >= most {
                    return Err(FsError::TooMany(most));
                }
                let is_taken =
                    entry.kind == NodeKind::Other && layer.takes_away(&child(path, &entry.name)?)?;
                names.insert(entry.name, (!is_taken).then_some(entry.kind));
            }
        }
        Ok(names.into_iter().filter_map(|(name, kind)| Some(Entry { name, kind: kind? })).collect())
    }

    fn read(&self, path: &FilePath, offset: u64, most: usize) -> Result<Vec<u8>, FsError> {
        let (place, top) = self.there(path)?;
        if place.kind != NodeKind::File {
            return Err(FsError::NotAFile);
        }
        match top.mark(path)? {
            Mark::Elsewhere => Err(elsewhere()),
            Mark::None | Mark::Opaque => top.read(path, offset, most),
        }
    }

    fn link(&self, path: &FilePath) -> Result<Vec<u8>, FsError> {
        self.there(path)?.1.link(path)
    }
}

fn elsewhere() -> FsError {
    FsError::Unsupported("a layer says that what is here lies elsewhere (redirect_dir, metacopy)".to_owned())
}

fn parent(of: &FilePath) -> Result<FilePath, FsError> {
    let bytes = of.as_bytes();
    let end = bytes.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    FilePath::new(&bytes[..end.max(1)]).map_err(|_| FsError::NotFound)
}

fn child(of: &FilePath, name: &[u8]) -> Result<FilePath, FsError> {
    let above = if of.as_bytes() == b"/" { b"" } else { of.as_bytes() };
    FilePath::new([above, b"/", name].concat()).map_err(|_| FsError::NotFound)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, path::Path};

    use lodge_model::guest_disk::{FileNode, Pattern, Wanted};
    use rustix::fs::{FileType, Mode, XattrFlags};

    use super::*;
    use crate::root::Root;

    fn path(text: &str) -> FilePath {
        FilePath::new(text).unwrap()
    }

    fn write(layer: &Path, file: &str, text: &str) {
        let file = layer.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// As overlayfs takes a name away. False: only root may make it.
    fn take_away(layer: &Path, name: &str) -> bool {
        std::fs::create_dir_all(layer.join(name).parent().unwrap()).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            layer.join(name),
            FileType::CharacterDevice,
            Mode::empty(),
            rustix::fs::makedev(0, 0),
        )
        .is_ok()
    }

    fn mark(at: &Path, name: &str) -> bool {
        rustix::fs::setxattr(at, name, b"y", XattrFlags::empty()).is_ok()
    }

    fn names(fs: &Layers, at: &str) -> Vec<String> {
        let entries = fs.list(&path(at), 100).unwrap();
        entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect()
    }

    #[test]
    fn layers_are_seen_as_overlayfs_shows_them() {
        let dir = tempfile::tempdir().unwrap();
        let [own, image, base] = ["own", "image", "base"].map(|name| dir.path().join(name));
        for layer in [&own, &image, &base] {
            std::fs::create_dir(layer).unwrap();
        }
        write(&base, "etc/os-release", "ID=debian\n");
        write(&base, "etc/ssh/ssh_host_rsa_key", "base's");
        write(&base, "etc/ssh/moduli", "base's");
        write(&base, "etc/machine-id", "base's");
        write(&base, "opt/gone/file", "base's");
        write(&base, "srv/under", "base's");
        write(&base, "var/lib/x", "base's");
        write(&base, "usr/dir/file", "base's");
        write(&image, "etc/ssh/ssh_host_rsa_key", "image's");
        write(&image, "srv/over", "image's");
        write(&image, "usr/dir", "a file where a directory was");
        write(&own, "etc/machine-id", "own");
        symlink("../etc/machine-id", own.join("etc/ssh-link")).unwrap();
        write(&own, "var/lib/x/y", "a directory where a file was");
        if !take_away(&image, "opt/gone") || !mark(&image.join("srv"), "trusted.overlay.opaque") {
            eprintln!("skipped: only root makes whiteouts, and marks directories as opaque");
            return;
        }
        assert!(take_away(&own, "etc/ssh/moduli"));

        let fs = Layers::open(&[own.clone(), image.clone(), base.clone()]).unwrap();
        let text = |at: &str| fs.read(&path(at), 0, 100).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(text("/etc/machine-id").unwrap(), "own");
        assert_eq!(text("/etc/ssh/ssh_host_rsa_key").unwrap(), "image's");
        assert_eq!(text("/etc/os-release").unwrap(), "ID=debian\n");
        assert_eq!(text("/var/lib/x/y").unwrap(), "a directory where a file was");
        assert!(matches!(text("/etc/ssh/moduli"), Err(FsError::NotFound)));
        assert!(matches!(text("/opt/gone/file"), Err(FsError::NotFound)));
        assert!(matches!(text("/srv/under"), Err(FsError::NotFound)));
        assert!(matches!(text("/usr/dir/file"), Err(FsError::NotADirectory)));
        assert!(matches!(text("/etc"), Err(FsError::NotAFile)));
        assert!(matches!(fs.node(&path("/opt/gone")), Err(FsError::NotFound)));
        assert_eq!(names(&fs, "/etc/ssh"), ["ssh_host_rsa_key"]);
        assert_eq!(names(&fs, "/srv"), ["over"]);
        assert_eq!(names(&fs, "/"), ["etc", "opt", "srv", "usr", "var"]);
        assert!(matches!(fs.list(&path("/etc"), 2), Err(FsError::TooMany(2))));

        // Links lead through all layers.
        write(&own, "etc/other", "");
        symlink("/etc/ssh", own.join("keys")).unwrap();
        let wanted = ["/keys/*", "/etc/*"];
        let wanted = wanted.map(|text| Wanted { pattern: Pattern::new(text).unwrap(), most_bytes: 100 });
        let files = Root::of_layers(&[own.clone(), image, base]).unwrap().files(&wanted);
        assert_eq!(files.text("/keys/ssh_host_rsa_key").as_deref(), Some("image's"));
        assert_eq!(files.node("/etc/ssh-link"), Some(&FileNode::Link(b"../etc/machine-id".to_vec())));
        assert!(files.gaps.is_empty(), "{:?}", files.gaps);

        // Bytes that lie elsewhere are not taken for what is here.
        assert!(mark(&own.join("etc/machine-id"), "trusted.overlay.metacopy"));
        assert!(matches!(text("/etc/machine-id"), Err(FsError::Unsupported(_))));
        assert!(Layers::open(&[]).is_err() && Layers::open(&[own.join("none")]).is_err());
    }
}
