//! Who has which file, and whether somebody else may have it too. Pure: no file is touched here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use lodge_model::DomainId;

use crate::{error::StorageError, file::FileId};

/// How a domain uses a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Writes to it, alone.
    Write,
    /// Writes to it together with others that say the same.
    WriteShared,
    /// Reads it.
    Read,
    /// A disk of it stands on the file.
    Backing,
}

/// One file that a domain wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub id: FileId,
    pub path: PathBuf,
    pub usage: Use,
}

#[derive(Debug, Clone)]
struct Hold {
    domain: DomainId,
    name: Arc<str>,
    path: PathBuf,
    usage: Use,
    /// No guest has it but an act of ours, called `name`.
    is_work: bool,
}

/// A file that somebody has.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub file: FileId,
    pub path: PathBuf,
    pub domain: DomainId,
    pub name: Arc<str>,
    pub usage: Use,
    pub is_work: bool,
}

/// The files in use. One owner: [`crate::Storage`], behind a lock that no I/O is done under.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    holds: HashMap<FileId, Vec<Hold>>,
}

impl Claims {
    /// Takes all of `wanted` for `domain`, or nothing. What the domain had before is given back.
    pub fn claim(&mut self, domain: DomainId, name: &str, wanted: &[Wanted]) -> Result<(), StorageError> {
        self.refuse(name, wanted, |hold| hold.domain != domain)?;
        self.release(domain);
        self.take(domain, name, wanted, false);
        Ok(())
    }

    /// Takes files for an act of ours, which is no guest.
    pub fn work(&mut self, id: DomainId, what: &str, wanted: &[Wanted]) -> Result<(), StorageError> {
        self.refuse(what, wanted, |_| true)?;
        self.take(id, what, wanted, true);
        Ok(())
    }

    /// Takes all of `wanted` beside what `domain` has, or nothing.
    pub fn claim_more(
        &mut self,
        domain: DomainId,
        name: &str,
        wanted: &[Wanted],
    ) -> Result<(), StorageError> {
        self.refuse(name, wanted, |_| true)?;
        self.take(domain, name, wanted, false);
        Ok(())
    }

    fn refuse(
        &self,
        name: &str,
        wanted: &[Wanted],
        counts: impl Fn(&Hold) -> bool,
    ) -> Result<(), StorageError> {
        for (at, want) in wanted.iter().enumerate() {
            let others = self.holds.get(&want.id).into_iter().flatten().filter(|hold| counts(hold));
            let others = others.map(|hold| (&*hold.name, hold.usage, hold.is_work));
            // Two disks of one domain on the same file are no better.
            let own = wanted[..at].iter().filter(|other| other.id == want.id);
            let own = own.map(|other| (name, other.usage, false));
            let against = |(holder, usage, is_work)| Some((holder, conflict(usage, want.usage)?, is_work));
            let (path, found) = (want.path.clone(), others.chain(own).find_map(against));
            match found {
                None => {}
                Some((holder, _, true)) => {
                    return Err(StorageError::AtWork { path, what: holder.to_owned() });
                }
                Some((holder, how, false)) => {
                    return Err(StorageError::InUse { path, holder: holder.to_owned(), how });
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, domain: DomainId, name: &str, wanted: &[Wanted], is_work: bool) {
        let name: Arc<str> = name.into();
        for want in wanted {
            let (name, path) = (Arc::clone(&name), want.path.clone());
            let hold = Hold { domain, name, path, usage: want.usage, is_work };
            self.holds.entry(want.id).or_default().push(hold);
        }
    }

    /// Gives back one hold of `domain` on each of `files`.
    pub fn give_back(&mut self, domain: DomainId, files: impl IntoIterator<Item = FileId>) {
        for file in files {
            let Some(holds) = self.holds.get_mut(&file) else { continue };
            if let Some(at) = holds.iter().position(|hold| hold.domain == domain) {
                holds.remove(at);
            }
            if holds.is_empty() {
                self.holds.remove(&file);
            }
        }
    }

    /// `domain` is to write a file that one of its disks stands on; nobody else may have it, nor another disk of it.
    pub fn write_backing(&mut self, domain: DomainId, id: FileId, path: &Path) -> Result<(), StorageError> {
        let holds = self.holds.get_mut(&id).map(Vec::as_mut_slice);
        match holds {
            Some([hold]) if hold.domain == domain => hold.usage = Use::Write,
            Some(holds) => {
                let other = holds.iter().find(|hold| hold.domain != domain).or(holds.first());
                let holder = other.map_or_else(String::new, |hold| hold.name.to_string());
                let how = "a disk of it stands on this file";
                return Err(StorageError::InUse { path: path.to_owned(), holder, how });
            }
            // A disk that was not adopted: QEMU's locks stand for it.
            None => {}
        }
        Ok(())
    }

    /// Gives back one hold of `domain` on each of these paths.
    pub fn give_back_paths(&mut self, domain: DomainId, paths: &[PathBuf]) {
        for path in paths {
            let is_it = |hold: &Hold| hold.domain == domain && hold.path == *path;
            let found = self.holds.iter().find_map(|(id, holds)| Some((*id, holds.iter().position(is_it)?)));
            let Some((id, at)) = found else { continue };
            let holds = self.holds.entry(id).or_default();
            holds.remove(at);
            if holds.is_empty() {
                self.holds.remove(&id);
            }
        }
    }

    /// Gives back what `domain` has of this path.
    pub fn give_back_path(&mut self, domain: DomainId, path: &Path) {
        self.holds.retain(|_, holds| {
            holds.retain(|hold| hold.domain != domain || hold.path != path);
            !holds.is_empty()
        });
    }

    /// Gives back all that `domain` has.
    pub fn release(&mut self, domain: DomainId) {
        self.holds.retain(|_, holds| {
            holds.retain(|hold| hold.domain != domain);
            !holds.is_empty()
        });
    }

    /// A domain that has the file.
    pub fn holder(&self, id: FileId) -> Option<&str> {
        self.holds.get(&id)?.iter().find(|hold| !hold.is_work).map(|hold| &*hold.name)
    }

    /// The file systems that running guests write on, by number: a file on each, and the directories of all.
    pub fn written(&self) -> BTreeMap<u64, (PathBuf, BTreeSet<PathBuf>)> {
        let mut written: BTreeMap<u64, (PathBuf, BTreeSet<PathBuf>)> = BTreeMap::new();
        // A block device has no file system of its own.
        for (file, holds) in self.holds.iter().filter(|(file, _)| file.device != u64::MAX) {
            let writes = |hold: &&Hold| !hold.is_work && matches!(hold.usage, Use::Write | Use::WriteShared);
            let Some(hold) = holds.iter().find(writes) else { continue };
            let (_, directories) =
                written.entry(file.device).or_insert_with(|| (hold.path.clone(), BTreeSet::new()));
            if let Some(directory) = hold.path.parent().filter(|directory| !directories.contains(*directory))
            {
                directories.insert(directory.to_owned());
            }
        }
        written
    }

    /// The files that guests other than `domain` write.
    pub fn written_by_others(&self, domain: DomainId) -> HashSet<PathBuf> {
        let writes = |hold: &&Hold| {
            !hold.is_work && hold.domain != domain && matches!(hold.usage, Use::Write | Use::WriteShared)
        };
        self.holds.values().flatten().filter(writes).map(|hold| hold.path.clone()).collect()
    }

    /// Everything that is held.
    pub fn all(&self) -> Vec<Held> {
        let held = |(file, hold): (&FileId, &Hold)| Held {
            file: *file,
            path: hold.path.clone(),
            domain: hold.domain,
            name: Arc::clone(&hold.name),
            usage: hold.usage,
            is_work: hold.is_work,
        };
        let holds = self.holds.iter().flat_map(|(file, holds)| holds.iter().map(move |hold| (file, hold)));
        holds.map(held).collect()
    }
}

/// Why `wanted` cannot be had beside `held`, said of the holder.
fn conflict(held: Use, wanted: Use) -> Option<&'static str> {
    use Use::{Backing, Read, Write, WriteShared};
    match (held, wanted) {
        (WriteShared, WriteShared) | (Read | Backing, Read | Backing) => None,
        (Write | WriteShared, Write | WriteShared | Read | Backing) => Some("it writes to it"),
        (Read, Write | WriteShared) => Some("it reads it"),
        (Backing, Write | WriteShared) => Some("a disk of it stands on this file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(number: u128) -> DomainId {
        DomainId(uuid::Uuid::from_u128(number))
    }

    fn want(inode: u64, usage: Use) -> Wanted {
        let path = PathBuf::from(format!("/pool/{inode}"));
        Wanted { id: FileId { device: 1, inode }, path, usage }
    }

    #[test]
    fn guests_write_where_their_own_files_are() {
        let mut claims = Claims::default();
        claims.claim(domain(1), "a", &[want(7, Use::Write), want(8, Use::Backing)]).unwrap();
        claims.work(domain(2), "copy", &[want(9, Use::Write)]).unwrap();
        let device = Wanted { id: FileId { device: u64::MAX, inode: 1 }, ..want(10, Use::Write) };
        claims.claim(domain(3), "b", &[device]).unwrap();
        let directories = BTreeSet::from([PathBuf::from("/pool")]);
        assert_eq!(claims.written(), BTreeMap::from([(1, (PathBuf::from("/pool/7"), directories))]));
    }

    #[test]
    fn who_may_share_with_whom() {
        use std::fmt::Write as _;
        let all = [Use::Write, Use::WriteShared, Use::Read, Use::Backing];
        let mut table = String::new();
        for held in all {
            write!(table, "{:12}", format!("{held:?}")).unwrap();
            for wanted in all {
                let mut claims = Claims::default();
                claims.claim(domain(1), "a", &[want(7, held)]).unwrap();
                let outcome = claims.claim(domain(2), "b", &[want(7, wanted)]);
                table += if outcome.is_ok() { " yes" } else { " no " };
            }
            table += "\n";
        }
        let expected = "Write        no  no  no  no \n\
                        WriteShared  no  yes no  no \n\
                        Read         no  no  yes yes\n\
                        Backing      no  no  yes yes\n";
        assert_eq!(table, expected);
    }

    #[test]
    fn a_refused_claim_takes_nothing_and_names_the_holder() {
        let mut claims = Claims::default();
        claims.claim(domain(1), "web1", &[want(7, Use::Write)]).unwrap();
        let wanted = [want(6, Use::Write), want(7, Use::Write)];
        let error = claims.claim(domain(2), "web2", &wanted).unwrap_err();
        assert_eq!(error.to_string(), "disk `/pool/7` is in use by domain `web1`: it writes to it");
        assert_eq!(claims.holder(FileId { device: 1, inode: 6 }), None);
        claims.release(domain(1));
        claims.claim(domain(2), "web2", &wanted).unwrap();
    }

    #[test]
    fn one_disk_more_is_taken_and_given_back_alone() {
        let mut claims = Claims::default();
        claims.claim(domain(1), "web1", &[want(7, Use::Write), want(9, Use::Backing)]).unwrap();
        assert!(claims.claim_more(domain(1), "web1", &[want(7, Use::Write)]).is_err());
        claims.claim_more(domain(1), "web1", &[want(8, Use::Write), want(9, Use::Backing)]).unwrap();
        assert!(claims.claim(domain(2), "web2", &[want(8, Use::Read)]).is_err());
        claims.give_back(domain(1), [8, 9].map(|inode| FileId { device: 1, inode }));
        claims.claim(domain(2), "web2", &[want(8, Use::Write)]).unwrap();
        assert!(claims.claim(domain(3), "web3", &[want(9, Use::Write)]).is_err());
    }

    #[test]
    fn a_claim_may_be_repeated_and_a_domain_cannot_have_a_file_twice() {
        let mut claims = Claims::default();
        claims.claim(domain(1), "web1", &[want(7, Use::Write)]).unwrap();
        claims.claim(domain(1), "web1", &[want(7, Use::Write)]).unwrap();
        let twice = [want(8, Use::Write), want(8, Use::Backing)];
        assert!(claims.claim(domain(1), "web1", &twice).is_err());
    }
}
