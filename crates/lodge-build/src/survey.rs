//! A tree as the catalogue of identities sees one: the files it wants to see, and its edits carried out.
//!
//! Directories that are links are gone into where a pattern names the way, never under `**`, so no circle is walked.
//! What cannot be read fails the build: a proof has no gaps.

use std::{io, os::unix::fs::fchown};

use lodge_model::guest_disk::{FileEdit, FileNode, FilePath, Files, Owner, Pattern, Wanted};
use rustix::fs::{FileType, Stat};

use crate::{
    error::BuildError,
    tree::{Tree, failed},
};

/// What a new file belongs to where nothing is said.
const ROOT: Owner = Owner { uid: 0, gid: 0, mode: 0o644 };

impl Tree {
    /// All files that fit the wishes.
    pub fn survey(&self, wanted: &[Wanted]) -> Result<Files, BuildError> {
        let mut files = Files::default();
        // The largest wish for a path counts: it comes first, and what is there already stays.
        let mut wishes: Vec<&Wanted> = wanted.iter().collect();
        wishes.sort_by_key(|wish| std::cmp::Reverse(wish.most_bytes));
        for wish in wishes {
            let parts: Vec<&str> = wish.pattern.parts().collect();
            self.walk(b"", &parts, wish.most_bytes, &mut files)?;
        }
        Ok(files)
    }

    /// Carries one edit out.
    pub fn apply(&self, edit: &FileEdit) -> Result<(), BuildError> {
        match edit {
            FileEdit::Write { path, bytes, owner } => {
                self.overwrite(path.as_bytes(), bytes, *owner).map_err(failed("write", path.as_bytes()))
            }
            FileEdit::Append { path, at, bytes } => {
                self.append(path.as_bytes(), *at, bytes).map_err(failed("add to", path.as_bytes()))
            }
            FileEdit::Remove(path) => {
                self.take_away(path.as_bytes()).map_err(failed("remove", path.as_bytes()))
            }
            FileEdit::Link { path, to } => {
                self.put_link(path.as_bytes(), to).map_err(failed("link", path.as_bytes()))
            }
            FileEdit::Directory { path, owner } => {
                let owner = owner.unwrap_or(Owner { mode: 0o755, ..ROOT });
                self.put_directory(path.as_bytes(), raw(owner)).map_err(failed("make", path.as_bytes()))
            }
            FileEdit::Own { path, owner } => {
                self.give(path.as_bytes(), raw(*owner)).map_err(failed("give", path.as_bytes()))
            }
        }
    }

    fn append(&self, path: &[u8], at: u64, more: &[u8]) -> io::Result<()> {
        let is_it =
            |stat: &Stat| type_of(stat) == FileType::RegularFile && stat.st_size.cast_unsigned() == at;
        if !self.look(path)?.is_some_and(|stat| is_it(&stat)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not as long as it was"));
        }
        let mut bytes = self.read_at_most(path, at)?;
        bytes.extend_from_slice(more);
        self.overwrite(path, &bytes, None)
    }

    fn overwrite(&self, path: &[u8], bytes: &[u8], owner: Option<Owner>) -> io::Result<()> {
        let was = self.look(path)?.filter(|stat| type_of(stat) == FileType::RegularFile);
        let owner = owner.or(was.as_ref().map(owner_of)).unwrap_or(ROOT);
        let file = self.put(path, bytes, u32::from(owner.mode))?;
        fchown(file, Some(owner.uid), Some(owner.gid))
    }

    fn walk(&self, at: &[u8], parts: &[&str], most: u64, files: &mut Files) -> Result<(), BuildError> {
        let Some((part, rest)) = parts.split_first() else { return self.take(at, most, files) };
        match *part {
            "**" => {
                self.walk(at, rest, most, files)?;
                for name in self.names_in(at)? {
                    let next = child(at, &name);
                    if self.is_directory(&next)? {
                        self.walk(&next, parts, most, files)?;
                    } else if rest.is_empty() {
                        self.take(&next, most, files)?;
                    }
                }
                Ok(())
            }
            part if part.contains('*') => {
                let names = self.names_in(at)?;
                let fits = names.iter().filter(|name| Pattern::part_fits(part, name));
                fits.map(|name| child(at, name)).try_for_each(|next| self.walk(&next, rest, most, files))
            }
            part => self.walk(&child(at, part.as_bytes()), rest, most, files),
        }
    }

    fn names_in(&self, at: &[u8]) -> Result<Vec<Vec<u8>>, BuildError> {
        Ok(self.entries(at).map_err(failed("list", at))?.unwrap_or_default())
    }

    fn is_directory(&self, path: &[u8]) -> Result<bool, BuildError> {
        let stat = self.look(path).map_err(failed("stat", path))?;
        Ok(stat.is_some_and(|stat| type_of(&stat) == FileType::Directory))
    }

    fn take(&self, at: &[u8], most: u64, files: &mut Files) -> Result<(), BuildError> {
        // A directory's own names are always paths.
        let Ok(path) = FilePath::new(at) else { return Ok(()) };
        if files.nodes.contains_key(&path) {
            return Ok(());
        }
        let Some(stat) = self.look(at).map_err(failed("stat", at))? else { return Ok(()) };
        let node = match type_of(&stat) {
            FileType::Directory => FileNode::Directory(owner_of(&stat)),
            FileType::Symlink => FileNode::Link(self.target(at).map_err(failed("read", at))?),
            FileType::RegularFile => {
                let size = stat.st_size.cast_unsigned();
                let bytes = match most.min(size) {
                    0 => Vec::new(),
                    some => self.read_at_most(at, some).map_err(failed("read", at))?,
                };
                FileNode::File { bytes, size, owner: owner_of(&stat) }
            }
            _ => FileNode::Other,
        };
        files.nodes.insert(path, node);
        Ok(())
    }
}

fn type_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn raw(owner: Owner) -> (u32, u32, u32) {
    (owner.uid, owner.gid, u32::from(owner.mode))
}

fn owner_of(stat: &Stat) -> Owner {
    let mode = u16::try_from(stat.st_mode & 0o7777).unwrap_or(ROOT.mode);
    Owner { uid: stat.st_uid, gid: stat.st_gid, mode }
}

fn child(of: &[u8], name: &[u8]) -> Vec<u8> {
    [of, b"/", name].concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn wanted(pattern: &str, most_bytes: u64) -> Wanted {
        Wanted { pattern: Pattern::new(pattern).unwrap(), most_bytes }
    }

    #[test]
    fn what_is_wanted_is_seen_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        tree.write("etc/ssh/ssh_host_a_key", b"secret", 0o600).unwrap();
        tree.write("etc/ssh/sshd_config", b"", 0o644).unwrap();
        tree.write("var/lib/x/deep/er", b"1", 0o644).unwrap();
        tree.write("etc/passwd", b"root", 0o644).unwrap();
        // A link that leads out, and one that leads in a circle.
        symlink("/etc", dir.path().join("var/lib/x/out")).unwrap();
        symlink("round", dir.path().join("etc/round")).unwrap();
        let wishes = [
            wanted("/etc/ssh/ssh_host_*_key", 3),
            wanted("/var/lib/**", 0),
            wanted("/etc/round/*", 0),
            wanted("/etc/passwd/*", 0),
            wanted("/var/lib/x/out/passwd", 9),
        ];
        let files = tree.survey(&wishes).unwrap();
        let seen: Vec<String> = files.nodes.keys().map(ToString::to_string).collect();
        let want = [
            "/etc/ssh/ssh_host_a_key",
            "/var/lib",
            "/var/lib/x",
            "/var/lib/x/deep",
            "/var/lib/x/deep/er",
            "/var/lib/x/out",
            "/var/lib/x/out/passwd",
        ];
        assert_eq!(seen, want);
        assert_eq!(files.bytes("/etc/ssh/ssh_host_a_key"), Some(b"sec".as_slice()));
        // Inside the tree, not the host's.
        assert_eq!(files.bytes("/var/lib/x/out/passwd"), Some(b"root".as_slice()));
    }

    #[test]
    fn an_edit_keeps_what_it_says_nothing_of() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        tree.write("etc/secret", b"old", 0o640).unwrap();
        let path = |text: &str| FilePath::new(text).unwrap();
        tree.apply(&FileEdit::Write { path: path("/etc/secret"), bytes: b"new".to_vec(), owner: None })
            .unwrap();
        tree.apply(&FileEdit::Append { path: path("/etc/secret"), at: 3, bytes: b"er".to_vec() }).unwrap();
        let again = FileEdit::Append { path: path("/etc/secret"), at: 3, bytes: b"er".to_vec() };
        assert!(tree.apply(&again).is_err());
        tree.apply(&FileEdit::Link { path: path("/etc/other"), to: b"secret".to_vec() }).unwrap();
        let mode = dir.path().join("etc/other").metadata().unwrap().permissions().mode();
        assert_eq!((tree.read("etc/other").unwrap().as_slice(), mode & 0o7777), (b"newer".as_slice(), 0o640));
        let own = std::os::unix::fs::MetadataExt::uid(&dir.path().metadata().unwrap());
        let gid = std::os::unix::fs::MetadataExt::gid(&dir.path().metadata().unwrap());
        let owner = Owner { uid: own, gid, mode: 0o700 };
        tree.apply(&FileEdit::Directory { path: path("/srv/new/one"), owner: Some(owner) }).unwrap();
        tree.apply(&FileEdit::Directory { path: path("/srv/new/one"), owner: None }).unwrap();
        let mode = |at: &str| dir.path().join(at).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("srv/new/one"), mode("srv/new")), (0o700, 0o755));
        tree.apply(&FileEdit::Own { path: path("/srv/new/one"), owner: Owner { mode: 0o711, ..owner } })
            .unwrap();
        assert_eq!(mode("srv/new/one"), 0o711);
        assert!(tree.apply(&FileEdit::Own { path: path("/srv/none"), owner }).is_err());
        tree.apply(&FileEdit::Remove(path("/etc"))).unwrap();
        assert!(!tree.has("etc").unwrap());
    }
}
