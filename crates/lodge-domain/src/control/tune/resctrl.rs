//! `<cachetune>` and `<memorytune>` of a guest that runs: its groups in the kernel's resctrl.
//!
//! ```text
//! /sys/fs/resctrl/qemu-3-web1-vcpus_0-1                       what processors 0 and 1 have for themselves
//!   mon_groups/qemu-3-web1-vcpus_1                            processor 1 is watched within
//! /sys/fs/resctrl/mon_groups/qemu-3-web1-vcpus_2              processor 2 is watched, and has nothing for itself
//! ```
//!
//! The names are libvirt's, so that either daemon finds the groups of a guest that the other started. Before a group is
//! made its path is noted in the guest's directory; by the note processors that are plugged in later find their group,
//! figures are read, and all of it is removed when the guest is off, whoever is the daemon then.

use std::io;
use std::path::{Path, PathBuf};

use lodge_model::domain::Domain;
use lodge_model::domain::resctrl::{self, CacheSort, Watched};
use lodge_sys::resctrl::{Host, ResctrlError, Sort, Wanted, counts, join, remove};
use serde::{Deserialize, Serialize};

use crate::control::{self, Refusal};
use crate::record::replace;

/// The note's name.
const NOTE: &str = "resctrl.json";
/// libvirt's longest name of a machine, in bytes.
const MACHINE_MAX: usize = 64;
/// Where figures of the caches are.
const FILLED: [&str; 1] = ["llc_occupancy"];
/// Where figures of the way to memory are.
const MOVED: [&str; 2] = ["mbm_total_bytes", "mbm_local_bytes"];

/// A group of a guest's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    vcpus: Vec<u32>,
    /// `None`: it has nothing for itself.
    path: Option<PathBuf>,
    monitors: Vec<Monitor>,
}

/// Processors that are watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Monitor {
    /// The caches, not the way to memory.
    caches: bool,
    /// `vcpus_0-1`.
    name: String,
    /// `0-1`.
    list: String,
    vcpus: Vec<u32>,
    path: PathBuf,
}

/// What was counted of watched processors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Of the caches (in bytes), not of the way to memory (bytes in all, bytes of the own cell).
    pub caches: bool,
    /// `vcpus_0-1`.
    pub name: String,
    /// `0-1`.
    pub vcpus: String,
    /// By the last cache's number.
    pub counts: Vec<(u32, Vec<u64>)>,
}

/// Where the groups of a document are on this host.
fn groups(host: &Host, document: &Domain, domid: u32) -> Vec<Group> {
    let machine = machine_name(domid, &document.name);
    let place = |group: resctrl::Group| {
        let path = group.has_share().then(|| host.groups().join(format!("{machine}-{}", group.id)));
        let monitors = group.monitors.iter().map(|monitor| {
            let name = if monitor.vcpus == group.vcpus {
                group.id.clone()
            } else {
                resctrl::name_of(&monitor.vcpus)
            };
            let whole = path.clone().filter(|_| monitor.vcpus == group.vcpus);
            let above = path.as_deref().unwrap_or(host.groups());
            Monitor {
                caches: monitor.watched == Watched::Cache,
                list: monitor.vcpus.to_string(),
                vcpus: monitor.vcpus.numbers().to_vec(),
                path: whole.unwrap_or_else(|| above.join("mon_groups").join(format!("{machine}-{name}"))),
                name,
            }
        });
        let monitors = monitors.collect();
        Group { vcpus: group.vcpus.numbers().to_vec(), path, monitors }
    };
    resctrl::of(document).into_iter().map(place).collect()
}

/// By which name libvirt knows a guest's run where not everything may be in a name (virDomainDriverGenerateMachineName).
fn machine_name(domid: u32, name: &str) -> String {
    let mut machine = format!("qemu-{domid}-");
    let mut after_mark = true;
    for letter in name.chars() {
        if machine.len() >= MACHINE_MAX {
            break;
        }
        let is_mark = matches!(letter, '.' | '-');
        if (is_mark && !after_mark) || letter.is_ascii_alphanumeric() {
            machine.push(letter);
        }
        after_mark = is_mark;
    }
    machine.trim_end_matches(['.', '-']).to_owned()
}

/// Refuses what this host cannot have, before anything is begun.
pub(crate) fn check(host: &Host, document: &Domain) -> Result<(), Refusal> {
    if resctrl::of(document).is_empty() {
        return Ok(());
    }
    host.required().map(drop).map_err(|error| refusal(document, &error))
}

/// Makes the groups of a guest that starts. `dir`: the guest's directory.
pub(crate) fn make(host: &Host, dir: &Path, document: &Domain, domid: u32) -> Result<(), Refusal> {
    let wanted = resctrl::of(document);
    if wanted.is_empty() {
        return Ok(());
    }
    note(host, dir, document, domid)
        .map_err(|error| super::failed("Cannot note groups of resctrl", &error))?;
    for (group, wanted) in groups(host, document, domid).iter().zip(wanted) {
        let made = make_one(host, group, wanted);
        made.map_err(|error| refusal(document, &error))?;
    }
    Ok(())
}

fn make_one(host: &Host, group: &Group, wanted: resctrl::Group) -> Result<(), ResctrlError> {
    let name = group.path.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    if let Some(name) = name {
        let of = |sort| match sort {
            CacheSort::Both => Sort::Both,
            CacheSort::Code => Sort::Code,
            CacheSort::Data => Sort::Data,
        };
        let caches = wanted.caches.iter();
        let caches =
            caches.map(|(cache, bytes)| ((cache.level, of(cache.sort), cache.id), bytes.0)).collect();
        host.make(name, &Wanted { caches, bandwidths: wanted.bandwidths })?;
    }
    for monitor in group.monitors.iter().filter(|monitor| group.path.as_ref() != Some(&monitor.path)) {
        host.make_monitor(&monitor.path)?;
    }
    Ok(())
}

/// Notes where a guest's groups are, also of one that another daemon started.
pub(crate) fn note(host: &Host, dir: &Path, document: &Domain, domid: u32) -> io::Result<()> {
    let groups = groups(host, document, domid);
    if groups.is_empty() {
        return Ok(());
    }
    replace(&dir.join(NOTE), &serde_json::to_vec(&groups)?)
}

fn noted(dir: &Path) -> io::Result<Vec<Group>> {
    match std::fs::read(dir.join(NOTE)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Puts the threads of these processors into their groups.
pub(crate) fn place(dir: &Path, threads: impl Iterator<Item = (u32, u32)>) -> Result<(), Refusal> {
    let groups = noted(dir).map_err(|error| super::failed("Cannot read groups of resctrl", &error))?;
    for (vcpu, thread) in threads {
        let Some(group) = groups.iter().find(|group| group.vcpus.contains(&vcpu)) else { continue };
        let own = group.path.iter();
        let is_apart = |monitor: &&Monitor| group.path.as_ref() != Some(&monitor.path);
        let watched = group.monitors.iter().filter(is_apart).find(|monitor| monitor.vcpus.contains(&vcpu));
        // A thread is watched by a group below the one that it is in: that one comes first.
        for path in own.chain(watched.map(|monitor| &monitor.path)) {
            join(path, thread).map_err(|error| of_kernel(&error))?;
        }
    }
    Ok(())
}

/// Removes the groups of a guest that is off.
pub(crate) fn clear(dir: &Path) -> io::Result<()> {
    let mut failed = None;
    for group in noted(dir)? {
        let monitors = group.monitors.iter().map(|monitor| &monitor.path);
        // What is below goes first; one that is the group itself is removed once more, which is no harm.
        for path in monitors.chain(group.path.iter()) {
            failed = remove(path).err().or(failed);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// What was counted of a running guest. What cannot be read is left out.
pub(crate) fn usage(dir: &Path) -> Vec<Usage> {
    let monitors = noted(dir).unwrap_or_default().into_iter().flat_map(|group| group.monitors);
    let read = |monitor: Monitor| {
        let features: &[&str] = if monitor.caches { &FILLED } else { &MOVED };
        let counts = counts(&monitor.path, features).ok()?;
        Some(Usage { caches: monitor.caches, name: monitor.name, vcpus: monitor.list, counts })
    };
    monitors.filter_map(read).collect()
}

fn refusal(document: &Domain, error: &ResctrlError) -> Refusal {
    let has_caches = document.cputune.as_deref().is_some_and(|tune| tune.foreign.tree("cachetune").is_some());
    let element = if has_caches { "cachetune" } else { "memorytune" };
    let inner = of_kernel(error);
    Refusal { text: format!("/domain/cputune/{element}: {}", inner.text), ..inner }
}

fn of_kernel(error: &ResctrlError) -> Refusal {
    match error {
        ResctrlError::Unsupported(words) => Refusal::new(control::Sort::ConfigUnsupported, words.clone()),
        ResctrlError::File { source, .. } => super::failed(&error.to_string(), source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(tune: &str) -> Domain {
        let text = format!(
            "<domain type='kvm'><name>we.b-1_x</name><memory>1</memory><vcpu>4</vcpu><os><type>hvm</type></os>\
             <cputune>{tune}</cputune></domain>"
        );
        Domain::parse(&text).unwrap()
    }

    #[test]
    fn a_run_is_called_as_libvirt_calls_it() {
        let (long, cut) = ("x".repeat(80), format!("qemu-3-{}", "x".repeat(57)));
        for (name, machine) in [
            ("we.b-1_x", "qemu-3-we.b-1x"),
            ("..a--b.-", "qemu-3-a-b"),
            ("ünï", "qemu-3-n"),
            (long.as_str(), cut.as_str()),
        ] {
            assert_eq!(machine_name(3, name), machine);
        }
    }

    #[test]
    fn groups_are_made_joined_and_removed_as_libvirtd_does_it() {
        let root = tempfile::tempdir().unwrap();
        let (host, dir) = (lodge_sys::resctrl::play(root.path()).unwrap(), root.path());
        let document = document(
            "<cachetune vcpus='0-1'><cache id='0' level='3' type='both' size='6' unit='MiB'/>\
             <monitor level='3' vcpus='0-1'/><monitor level='3' vcpus='1'/></cachetune>\
             <memorytune vcpus='2-3'><monitor vcpus='2-3'/></memorytune>\
             <memorytune vcpus='0-1'><monitor vcpus='0-1'/></memorytune>",
        );
        make(&host, dir, &document, 1).unwrap();
        place(dir, [(0, 97), (1, 98), (2, 99), (3, 100)].into_iter()).unwrap();
        let read = |path: &str| std::fs::read_to_string(host.groups().join(path)).unwrap();
        // The paths, and who is where, are those that libvirtd 11.3 was seen to write for this document.
        let group = "qemu-1-we.b-1x-vcpus_0-1";
        assert_eq!(read(&format!("{group}/schemata")), "L3:0=7000\n");
        assert_eq!(read(&format!("{group}/tasks")), "97\n98\n");
        assert_eq!(read(&format!("{group}/mon_groups/qemu-1-we.b-1x-vcpus_1/tasks")), "98\n");
        assert_eq!(read("mon_groups/qemu-1-we.b-1x-vcpus_2-3/tasks"), "99\n100\n");
        let data = host.groups().join("mon_groups/qemu-1-we.b-1x-vcpus_2-3/mon_data/mon_L3_00");
        std::fs::create_dir_all(&data).unwrap();
        for (file, count) in [("mbm_total_bytes", "7"), ("mbm_local_bytes", "5")] {
            std::fs::write(data.join(file), count).unwrap();
        }
        let name = "vcpus_2-3".to_owned();
        let counts = vec![(0, vec![7, 5])];
        assert_eq!(usage(dir), [Usage { caches: false, name, vcpus: "2-3".to_owned(), counts }]);
        clear(dir).unwrap();
        clear(dir).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(host.groups()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("qemu-")), "{left:?}");
        assert_eq!(std::fs::read_dir(host.groups().join("mon_groups")).unwrap().count(), 0);
    }

    #[test]
    fn what_the_host_cannot_give_is_refused_with_its_element() {
        let root = tempfile::tempdir().unwrap();
        let document = document("<memorytune vcpus='0'><node id='0' bandwidth='15'/></memorytune>");
        let nowhere = check(&Host::at(root.path()), &document).unwrap_err();
        assert_eq!(
            nowhere.text,
            "/domain/cputune/memorytune: Resource control is not supported on this host"
        );
        let host = lodge_sys::resctrl::play(root.path()).unwrap();
        check(&host, &document).unwrap();
        let refused = make(&host, root.path(), &document, 1).unwrap_err();
        assert_eq!(refused.sort, control::Sort::ConfigUnsupported);
        assert!(refused.text.ends_with("of size 15 is not divisible by granularity 10"), "{}", refused.text);
    }
}
