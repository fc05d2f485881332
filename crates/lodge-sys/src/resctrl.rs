//! The kernel's resctrl: groups of threads that have parts of the caches, or of the way to memory, for themselves, and
//! groups whose use of both is counted. See the kernel's `Documentation/filesystems/resctrl.rst`.
//!
//! ```text
//! /sys/fs/resctrl/            the group of all that are in no other
//!   info/{L3,MB,L3_MON,…}/    what the host has                          (`facts`)
//!   schemata  tasks           whose is what, who is in it                (`schemata`)
//!   mon_groups/NAME/          threads of the group that are counted
//!   NAME/                     a group, with the same below it
//! ```
//!
//! What a new group gets is what nobody has: neither another group nor the group of all. So an administrator takes
//! something from the group of all first, as with libvirt, whose rules and words these are. Deliberately absent:
//! mounting it, and changing groups that are not ours.

mod facts;
mod schemata;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

pub use facts::{CacheFacts, Facts, MemoryFacts, MonitorFacts};
pub use schemata::{Shares, Wanted};

/// `RDTGROUP_SUPER_MAGIC` of linux/magic.h.
const MAGIC: rustix::fs::FsWord = 0x0765_5821;
/// What is said where there is none.
const NOT_HERE: &str = "Resource control is not supported on this host";

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// Anything.
    Both,
    /// Instructions, where the kernel keeps them apart (`cdp`).
    Code,
    /// Data, likewise.
    Data,
}

impl Sort {
    /// All, in libvirt's order.
    pub const ALL: [Self; 3] = [Self::Both, Self::Code, Self::Data];

    /// libvirt's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Code => "code",
            Self::Data => "data",
        }
    }

    /// What the kernel puts behind the level.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Both => "",
            Self::Code => "CODE",
            Self::Data => "DATA",
        }
    }

    /// Out of `L3CODE` and its like.
    fn of_name(name: &str) -> Option<(u32, Self)> {
        let rest = name.strip_prefix('L')?;
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (level, suffix) = rest.split_at(end);
        let sort = Self::ALL.into_iter().find(|sort| sort.suffix() == suffix)?;
        Some((level.parse().ok()?, sort))
    }
}

/// Why a group was not made.
#[derive(Debug, thiserror::Error)]
pub enum ResctrlError {
    /// The host cannot give it, in libvirt's words.
    #[error("{0}")]
    Unsupported(String),
    /// The kernel says no.
    #[error("cannot {act} `{}`", path.display())]
    File {
        /// The act.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ResctrlError {
    fn file(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { act, path: path.to_owned(), source }
    }
}

/// Where it is: the host's own, or a tree made for a test.
#[derive(Debug, Clone)]
pub struct Host {
    groups: PathBuf,
    processors: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self::at(Path::new("/"))
    }
}

impl Host {
    /// Below this directory in place of `/`.
    pub fn at(root: &Path) -> Self {
        Self { groups: root.join("sys/fs/resctrl"), processors: root.join("sys/devices/system/cpu") }
    }

    /// The directory of the group of all.
    pub fn groups(&self) -> &Path {
        &self.groups
    }

    /// What it has; `None`: the kernel or the processor has no resctrl, or it is not mounted.
    pub fn facts(&self) -> Option<Facts> {
        Facts::read(&self.groups.join("info"), &self.processors)
    }

    /// The same, or libvirt's refusal.
    pub fn required(&self) -> Result<Facts, ResctrlError> {
        self.facts().ok_or_else(|| ResctrlError::Unsupported(NOT_HERE.to_owned()))
    }

    /// Makes the group `name` with what it is to have for itself; one that is there is told anew.
    pub fn make(&self, name: &str, wanted: &Wanted) -> Result<(), ResctrlError> {
        let facts = self.required()?;
        let _locked = self.lock()?;
        let default = self.shares(None)?;
        let mut free = Shares::all(&facts);
        free.subtract(&default);
        for other in self.names()?.iter().filter(|other| *other != name) {
            match self.shares(Some(other)) {
                Ok(taken) => free.subtract(&taken),
                Err(ResctrlError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let text = wanted.place(&facts, &default, &free)?.to_string();
        let group = self.groups.join(name);
        std::fs::create_dir_all(&group).map_err(ResctrlError::file("create", &group))?;
        let schemata = group.join("schemata");
        std::fs::write(&schemata, text).map_err(|error| {
            let _ = std::fs::remove_dir(&group);
            ResctrlError::file("write", &schemata)(error)
        })
    }

    /// Makes a group that is only counted, at this path: below the `mon_groups` of the group of all or of another.
    pub fn make_monitor(&self, path: &Path) -> Result<(), ResctrlError> {
        self.required()?;
        let _locked = self.lock()?;
        std::fs::create_dir_all(path).map_err(ResctrlError::file("create", path))
    }

    /// Whoever looks for what is free and takes it keeps others from doing so.
    fn lock(&self) -> Result<File, ResctrlError> {
        let open = File::open(&self.groups).map_err(ResctrlError::file("open", &self.groups))?;
        flock(&open, FlockOperation::LockExclusive)
            .map_err(|error| ResctrlError::file("lock", &self.groups)(error.into()))?;
        Ok(open)
    }

    /// What a group has; without a name, that of all.
    fn shares(&self, name: Option<&str>) -> Result<Shares, ResctrlError> {
        let path = name.map_or_else(|| self.groups.clone(), |name| self.groups.join(name)).join("schemata");
        let text = std::fs::read_to_string(&path).map_err(ResctrlError::file("read", &path))?;
        Ok(Shares::parse(&text))
    }

    /// All other groups, and what else is there.
    fn names(&self) -> Result<Vec<String>, ResctrlError> {
        let entries = std::fs::read_dir(&self.groups).map_err(ResctrlError::file("read", &self.groups))?;
        let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let names = directories.filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter(|name| name != "info").collect())
    }
}

/// Puts a thread into the group at this path.
pub fn join(path: &Path, thread: u32) -> Result<(), ResctrlError> {
    let tasks = path.join("tasks");
    let opened = File::options().append(true).create(true).open(&tasks);
    let written = opened.and_then(|mut file| file.write_all(format!("{thread}\n").as_bytes()));
    written.map_err(ResctrlError::file("write", &tasks))
}

/// Removes the group at this path; its threads are of the group of all again. Fine if it is gone.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = std::fs::remove_dir(path);
    match &removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Of the kernel's a group goes with all that is in it. In a tree that only plays it, files are files.
        Err(error)
            if error.kind() == io::ErrorKind::DirectoryNotEmpty
                && rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type != MAGIC) =>
        {
            std::fs::remove_dir_all(path)
        }
        _ => removed,
    }
}

/// What was counted of the group at this path: by the last cache's number, a count for each of `features`.
pub fn counts(path: &Path, features: &[&str]) -> io::Result<Vec<(u32, Vec<u64>)>> {
    let data = path.join("mon_data");
    let mut counts = Vec::new();
    for entry in std::fs::read_dir(&data)? {
        let entry = entry?;
        let name = entry.file_name();
        // `mon_L3_01`.
        let number =
            name.to_str().and_then(|name| name.strip_prefix("mon_L")?.split_once('_')?.1.parse().ok());
        let Some(number) = number else { continue };
        let read = |feature: &&str| -> io::Result<u64> {
            let text = std::fs::read_to_string(entry.path().join(feature))?;
            text.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
        };
        counts.push((number, features.iter().map(read).collect::<io::Result<Vec<u64>>>()?));
    }
    counts.sort_unstable();
    Ok(counts)
}

/// A tree that plays the kernel's, with one cache of 32 MiB in 16 parts, for tests of whoever uses it.
///
/// The group of all has the lower 12 parts.
pub fn play(root: &Path) -> io::Result<Host> {
    let host = Host::at(root);
    let cache = host.processors.join("cpu0/cache/index3");
    std::fs::create_dir_all(&cache)?;
    for (file, text) in
        [("level", "3"), ("type", "Unified"), ("size", "32768K"), ("id", "0"), ("shared_cpu_list", "0-1")]
    {
        std::fs::write(cache.join(file), format!("{text}\n"))?;
    }
    let info = [
        ("L3/num_closids", "16"),
        ("L3/cbm_mask", "ffff"),
        ("L3/min_cbm_bits", "2"),
        ("MB/num_closids", "8"),
        ("MB/bandwidth_gran", "10"),
        ("MB/min_bandwidth", "10"),
        ("L3_MON/num_rmids", "176"),
        ("L3_MON/max_threshold_occupancy", "65536"),
        ("L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes"),
    ];
    for (file, text) in info {
        let path = host.groups.join("info").join(file);
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        std::fs::write(path, format!("{text}\n"))?;
    }
    std::fs::write(host.groups.join("schemata"), "    MB:0=100\n    L3:0=fff\n")?;
    std::fs::create_dir_all(host.groups.join("mon_groups"))?;
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn of_cache(mib: u64) -> Wanted {
        Wanted { caches: [((3, Sort::Both, 0), mib * MIB)].into(), ..Wanted::default() }
    }

    #[test]
    fn groups_get_what_nobody_has_and_give_it_back() {
        let root = tempfile::tempdir().unwrap();
        let host = play(root.path()).unwrap();
        // As libvirtd 11.3 writes it on such a tree.
        host.make("one", &of_cache(6)).unwrap();
        let schemata = |name: &str| std::fs::read_to_string(host.groups.join(name).join("schemata")).unwrap();
        assert_eq!(schemata("one"), "L3:0=7000\n");
        let memory = Wanted { bandwidths: [(0, 20)].into(), ..Wanted::default() };
        host.make("two", &memory).unwrap();
        assert_eq!(schemata("two"), "L3:0=fff\nMB:0=20\n");
        let full = host.make("three", &of_cache(4)).unwrap_err().to_string();
        assert_eq!(
            full,
            "Not enough room for allocation of 4194304 bytes for level 3 cache 0 scope type 'both'"
        );
        assert!(!host.groups.join("three").exists());
        host.make("one", &of_cache(8)).unwrap();
        assert_eq!(schemata("one"), "L3:0=f000\n", "its own part is free for it");
        remove(&host.groups.join("one")).unwrap();
        remove(&host.groups.join("one")).unwrap();
        host.make("three", &of_cache(4)).unwrap();
        assert_eq!(schemata("three"), "L3:0=3000\n");
    }

    #[test]
    fn threads_and_counts_go_by_files() {
        let root = tempfile::tempdir().unwrap();
        let host = play(root.path()).unwrap();
        let path = host.groups.join("mon_groups/one");
        host.make_monitor(&path).unwrap();
        join(&path, 7).unwrap();
        join(&path, 8).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("tasks")).unwrap(), "7\n8\n");
        for (bank, bytes) in [("mon_L3_01", 5), ("mon_L3_00", 4), ("other", 9)] {
            std::fs::create_dir_all(path.join("mon_data").join(bank)).unwrap();
            std::fs::write(path.join("mon_data").join(bank).join("llc_occupancy"), format!("{bytes}\n"))
                .unwrap();
        }
        assert_eq!(counts(&path, &["llc_occupancy"]).unwrap(), [(0, vec![4]), (1, vec![5])]);
        assert!(counts(&path, &["mbm_total_bytes"]).is_err());
    }

    #[test]
    fn a_host_without_it_says_so_in_libvirts_words() {
        let root = tempfile::tempdir().unwrap();
        let refused = Host::at(root.path()).make("one", &of_cache(2)).unwrap_err();
        assert_eq!(refused.to_string(), NOT_HERE);
    }
}
