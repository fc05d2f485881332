//! Where a guest's process is counted: its own cgroup, on v2, hybrid and v1 hosts.
//!
//! Only directories below a first component that begins with `lodge` are ever made, and only those are removed; in a
//! group of somebody else's (a partition) only one that begins with `lodge-`, which is the last component.
//! Nothing is mounted or moved; of v2 those controllers are switched on, on the way down to a guest, that limits may
//! need and that are off. On a host where we may not make a directory the answer is [`Outcome::Unavailable`] with the
//! reason, and guests run without. Deliberately absent: limits (they come with the elements that ask for them), and
//! moving processes that are not ours.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// The v1 controllers whose figures a guest needs, and the one that only some need.
const V1_WANTED: [&str; 6] = ["cpu", "cpuacct", "memory", "blkio", "pids", CPUSET];
/// Which of the host's processors and cells: its groups are of no use until they are told some.
const CPUSET: &str = "cpuset";
/// The v2 controllers that limits may need.
const V2_WANTED: [&str; 5] = ["cpu", "io", "memory", "pids", CPUSET];

/// Which hierarchies this host has mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Where cgroup v2 is mounted.
    pub v2: Option<PathBuf>,
    /// Controllers of v1 and where each is mounted.
    pub v1: Vec<(String, PathBuf)>,
}

impl Layout {
    /// Reads `/proc/self/mountinfo`.
    pub fn read() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// `v2`, `hybrid`, `v1` or `none`.
    pub fn name(&self) -> &'static str {
        match (&self.v2, self.v1.is_empty()) {
            (Some(_), true) => "v2",
            (Some(_), false) => "hybrid",
            (None, false) => "v1",
            (None, true) => "none",
        }
    }

    fn parse(mountinfo: &str) -> Self {
        let mut layout = Self::default();
        for line in mountinfo.lines() {
            // proc_pid_mountinfo(5): fields, a lone hyphen, then type, source, options of the super block.
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(point) = left.split(' ').nth(4).map(unescape) else { continue };
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) => layout.v2 = layout.v2.or(Some(point)),
                (Some("cgroup"), Some(options)) => layout.v1.extend(
                    options
                        .split(',')
                        .filter(|option| V1_WANTED.contains(option))
                        .map(|option| (option.to_owned(), point.clone())),
                ),
                _ => {}
            }
        }
        layout
    }
}

/// The octal escapes of mountinfo (`\040` for a blank).
fn unescape(field: &str) -> PathBuf {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (from, to)| text.replace(from, to))
        .into()
}

/// How long a process that has ended may take to leave.
const LEAVING: Duration = Duration::from_secs(1);

/// What came of wanting a cgroup.
#[derive(Debug)]
pub enum Outcome {
    /// It is there.
    Made(Cgroup),
    /// This host or user cannot have one; guests run without.
    Unavailable(String),
}

/// One guest's directory in each hierarchy that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    relative: PathBuf,
    v2: Option<PathBuf>,
    v1: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes `relative` (such as `lodge/3f2a/guests/UUID`) in every hierarchy; fine if it is there already.
    pub fn create(relative: &Path) -> io::Result<Outcome> {
        Self::create_in(&Layout::read()?, relative, false)
    }

    /// The same, and in that of processors and cells too, where v1 has one.
    pub fn create_with_cpuset(relative: &Path) -> io::Result<Outcome> {
        Self::create_in(&Layout::read()?, relative, true)
    }

    fn create_in(layout: &Layout, relative: &Path, cpuset: bool) -> io::Result<Outcome> {
        check(relative)?;
        let mut reason = match layout.name() {
            "none" => "no cgroup hierarchy is mounted".to_owned(),
            _ => String::new(),
        };
        let mut make = |mount: &Path| {
            let path = mount.join(relative);
            // Twice: whoever removes an emptied parent may do so between our making it and its child.
            let made = if is_own_corner(relative) {
                std::fs::create_dir_all(&path).or_else(|_| std::fs::create_dir_all(&path))
            } else {
                std::fs::create_dir(&path).or_else(|error| if path.is_dir() { Ok(()) } else { Err(error) })
            };
            made.map_err(|error| reason = format!("cannot make `{}`: {error}", path.display()))
                .ok()
                .map(|()| path)
        };
        let v2 = layout.v2.as_deref().and_then(&mut make);
        if let (Some(mount), true) = (&layout.v2, v2.is_some()) {
            switch_on(mount, relative);
        }
        let plain = layout.v1.iter().filter(|(name, _)| name != CPUSET);
        let mut v1: Vec<PathBuf> = plain.filter_map(|(_, mount)| make(mount)).collect();
        for (_, mount) in layout.v1.iter().filter(|(name, _)| cpuset && name == CPUSET) {
            v1.extend(make(mount).filter(|_| hand_down(mount, relative).is_ok()));
        }
        v1.dedup();
        if v2.is_none() && v1.is_empty() {
            return Ok(Outcome::Unavailable(reason));
        }
        Ok(Outcome::Made(Self { relative: relative.to_owned(), v2, v1 }))
    }

    /// The cgroup `relative` as far as it exists, for adopting and for clearing away. `None`: nowhere.
    pub fn find(relative: &Path) -> io::Result<Option<Self>> {
        check(relative)?;
        let layout = Layout::read()?;
        let there = |mount: &Path| Some(mount.join(relative)).filter(|path| path.is_dir());
        let v2 = layout.v2.as_deref().and_then(there);
        let mut v1: Vec<PathBuf> = layout.v1.iter().filter_map(|(_, mount)| there(mount)).collect();
        v1.dedup();
        let found = Self { relative: relative.to_owned(), v2, v1 };
        Ok((found.v2.is_some() || !found.v1.is_empty()).then_some(found))
    }

    /// The directory in the v2 hierarchy.
    pub fn v2(&self) -> Option<&Path> {
        self.v2.as_deref()
    }

    /// The path below each mount point.
    pub fn relative(&self) -> &Path {
        &self.relative
    }

    /// The files that a process writes `0` to, to be counted in the v1 controllers itself.
    pub fn v1_doors(&self) -> impl Iterator<Item = PathBuf> {
        self.v1.iter().map(|directory| directory.join("cgroup.procs"))
    }

    /// Counts `pid`, all its threads, in the v1 controllers. May take the kernel milliseconds: not for async code.
    pub fn join_v1(&self, pid: u32) -> io::Result<()> {
        let mut first = Ok(());
        for directory in &self.v1 {
            let joined = std::fs::write(directory.join("cgroup.procs"), pid.to_string());
            first = first.and(joined);
        }
        first
    }

    /// The processes inside, of all hierarchies, those whose threads are in groups of their own too.
    pub fn processes(&self) -> Vec<u32> {
        let read = |path: &PathBuf| std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        let directories = self.v2.iter().chain(&self.v1);
        let directories = directories.flat_map(|path| below(path).chain([path.clone()]));
        let mut pids: Vec<u32> = directories
            .flat_map(|path| read(&path).lines().flat_map(str::parse).collect::<Vec<_>>())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Removes the directories, then parents of ours that are empty by it. Fine if they are gone. Refused by the
    /// kernel (EBUSY) while a process is inside; one that is just leaving is waited for, so not for async code.
    pub fn remove(&self) -> io::Result<()> {
        let mut first = Ok(());
        let depth = if is_own_corner(&self.relative) { self.relative.components().count() } else { 0 };
        for path in self.v2.iter().chain(&self.v1) {
            let threads = below(path).try_for_each(|group| remove_when_left(&group));
            let removed = threads.and_then(|()| remove_when_left(path));
            if removed.is_ok() {
                for parent in path.ancestors().skip(1).take(depth.saturating_sub(1)) {
                    if std::fs::remove_dir(parent).is_err() {
                        break;
                    }
                }
            }
            first = first.and(removed);
        }
        first
    }
}

/// Where a group of somebody else's, which is to have guests in it, is missing: its path in each hierarchy that a guest
/// is counted in. `cells`: the guest needs that of processors and cells, too.
pub fn lacking(relative: &Path, cells: bool) -> io::Result<Vec<PathBuf>> {
    Ok(lacking_in(&Layout::read()?, relative, cells))
}

fn lacking_in(layout: &Layout, relative: &Path, cells: bool) -> Vec<PathBuf> {
    // Of a hybrid host's v2, which only follows processes, nothing is needed.
    let rules = |mount: &&PathBuf| {
        let controllers = std::fs::read_to_string(mount.join("cgroup.controllers"));
        controllers.is_ok_and(|list| !list.trim().is_empty())
    };
    let v1 = layout.v1.iter().filter(|(name, _)| cells || name != CPUSET).map(|(_, mount)| mount);
    let all = v1.chain(layout.v2.as_ref().filter(rules)).map(|mount| mount.join(relative));
    let mut lacking: Vec<PathBuf> = all.filter(|path| !path.is_dir()).collect();
    lacking.dedup();
    lacking
}

/// The groups of single threads below a guest's.
fn below(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// Gives the groups on the way down, from the root of v2, the controllers there are. What cannot be had is missed, and
/// said, by who needs it.
fn switch_on(mount: &Path, relative: &Path) {
    let words = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let mut directory = mount.to_owned();
    for part in relative.components() {
        let there = words(directory.join("cgroup.controllers"));
        let file = directory.join("cgroup.subtree_control");
        let on = words(file.clone());
        let has = |list: &str, name: &str| list.split_whitespace().any(|word| word == name);
        for name in V2_WANTED.iter().filter(|name| has(&there, name) && !has(&on, name)) {
            let _ = std::fs::write(&file, format!("+{name}"));
        }
        directory.push(part);
    }
}

/// A new group of v1's cpuset has no processors and no cells: each on the way down gets those of the one above.
fn hand_down(mount: &Path, relative: &Path) -> io::Result<()> {
    let mut directory = mount.to_owned();
    for part in relative.components() {
        let below = directory.join(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if std::fs::read_to_string(below.join(file))?.trim().is_empty() {
                std::fs::write(below.join(file), std::fs::read_to_string(directory.join(file))?.trim())?;
            }
        }
        directory = below;
    }
    Ok(())
}

/// A process that has ended leaves its cgroups one after another, and is in none's `cgroup.procs` before that.
fn remove_when_left(path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + LEAVING;
    loop {
        match std::fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::sleep(LEAVING / 200);
            }
            result => return result,
        }
    }
}

/// Whether all directories on the way are ours.
fn is_own_corner(relative: &Path) -> bool {
    relative.to_str().is_some_and(|text| text.starts_with("lodge")) && !is_in_anothers(relative)
}

/// Whether it is a guest's own directory in a group of somebody else's.
fn is_in_anothers(relative: &Path) -> bool {
    let name = relative.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("lodge-")) && relative.components().count() > 1
}

/// Nothing outside our own corner but a guest's own directory: plain names only, the first beginning with `lodge` or the
/// last with `lodge-`.
fn check(relative: &Path) -> io::Result<()> {
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if plain && (is_own_corner(relative) || is_in_anothers(relative)) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("`{}` is not a cgroup of ours", relative.display()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Ending;
    use crate::spawn::Command;

    #[test]
    fn layouts_are_told_apart() {
        let hybrid = "30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct\n\
                      32 25 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let layout = Layout::parse(hybrid);
        assert_eq!(layout.name(), "hybrid");
        assert_eq!(layout.v2.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(layout.v1.len(), 2);
        assert_eq!(Layout::parse("30 25 0:26 / /a\\040b rw - cgroup2 x rw").v2, Some("/a b".into()));
        assert_eq!(Layout::parse("").name(), "none");
    }

    #[test]
    fn only_our_own_corner_is_touched() {
        for bad in
            ["", "/lodge", "system.slice", "lodge/../x", "../lodge", "./lodge/x", "a/../lodge-x", "a/lodgex"]
        {
            assert!(Cgroup::create(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn in_anothers_group_only_the_guests_own_directory_is_made_and_removed() {
        let mount = tempfile::tempdir().unwrap();
        let layout = Layout { v2: None, v1: vec![("cpu".into(), mount.path().to_owned())] };
        let relative = Path::new("lodge.partition/lodge-x");
        let Outcome::Unavailable(why) = Cgroup::create_in(&layout, relative, false).unwrap() else {
            panic!()
        };
        assert!(why.contains("lodge.partition"), "{why}");
        let group = Path::new("lodge.partition");
        assert_eq!(lacking_in(&layout, group, false), [mount.path().join(group)]);
        std::fs::create_dir(mount.path().join(group)).unwrap();
        assert_eq!(lacking_in(&layout, group, false), [""; 0].map(PathBuf::from));
        let Outcome::Made(made) = Cgroup::create_in(&layout, relative, false).unwrap() else { panic!() };
        assert!(matches!(Cgroup::create_in(&layout, relative, false).unwrap(), Outcome::Made(_)), "twice");
        made.remove().unwrap();
        assert!(mount.path().join(group).is_dir() && !mount.path().join(relative).exists());
    }

    #[test]
    fn a_host_that_forbids_it_says_why() {
        let none = Cgroup::create_in(&Layout::default(), Path::new("lodge/x"), false).unwrap();
        assert!(matches!(none, Outcome::Unavailable(why) if why.contains("no cgroup hierarchy")));
        let layout = Layout { v2: Some("/proc/self/nothing".into()), v1: Vec::new() };
        let none = Cgroup::create_in(&layout, Path::new("lodge/x"), false).unwrap();
        assert!(matches!(none, Outcome::Unavailable(why) if why.contains("/proc/self/nothing/lodge/x")));
    }

    #[test]
    fn v2_switches_on_what_is_there_and_off() {
        let mount = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(mount.path().join(file), text).unwrap();
        std::fs::create_dir_all(mount.path().join("lodge/x")).unwrap();
        write("cgroup.controllers", "cpu io rdma");
        write("cgroup.subtree_control", "cpu");
        write("lodge/cgroup.controllers", "cpu");
        switch_on(mount.path(), Path::new("lodge/x"));
        let read = |file: &str| std::fs::read_to_string(mount.path().join(file)).unwrap();
        assert_eq!(
            (read("cgroup.subtree_control"), read("lodge/cgroup.subtree_control")),
            ("+io".into(), "+cpu".into())
        );
        assert!(!mount.path().join("lodge/x/cgroup.subtree_control").exists());
    }

    #[test]
    fn cells_and_processors_are_handed_down() {
        let relative = format!("lodge-cells-{}/guests/one", std::process::id());
        let Outcome::Made(made) = Cgroup::create_with_cpuset(Path::new(&relative)).unwrap() else {
            return eprintln!("skipped: no cgroups here");
        };
        for directory in &made.v1 {
            if let Ok(cells) = std::fs::read_to_string(directory.join("cpuset.mems")) {
                assert_ne!(cells.trim(), "", "{}", directory.display());
            }
        }
        assert_eq!(Cgroup::find(Path::new(&relative)).unwrap().unwrap().v1.len(), made.v1.len());
        made.remove().unwrap();
    }

    #[tokio::test]
    async fn a_process_is_born_inside_and_the_directories_go() {
        let relative = format!("lodge-test-{}/guests/one", std::process::id());
        let made = match Cgroup::create(Path::new(&relative)).unwrap() {
            Outcome::Made(cgroup) => cgroup,
            Outcome::Unavailable(why) => return eprintln!("skipped: {why}"),
        };
        let mut command = Command::new("/bin/sleep");
        command.arg("60").cgroup(&made);
        let process = command.spawn().unwrap();
        let pid = process.identity().pid;
        if made.v2().is_some() {
            assert_eq!(made.processes(), [pid]);
        }
        made.join_v1(pid).unwrap();
        assert_eq!(made.processes(), [pid]);
        assert!(made.remove().is_err(), "a cgroup with a process in it stays");
        process.kill().unwrap();
        assert!(matches!(process.ended().await.unwrap(), Ending::Status(_)));
        made.remove().unwrap();
        made.remove().unwrap();
        assert_eq!(Cgroup::find(Path::new(&relative)).unwrap(), None);
    }
}
