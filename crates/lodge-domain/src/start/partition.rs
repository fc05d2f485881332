//! `<resource>`: in which group of the host's a guest is counted, and by which name its Fibre Channel traffic is known.
//!
//! A partition is somebody's: it must be there, and nothing of it is made or removed but the guest's own directory
//! in it. Where that is stands in the guest's directory before it is made. libvirt's default, `/machine`, is Lodge's own
//! place here. Deliberately absent: systemd, which would make its slices by itself.

use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use lodge_model::domain::Domain;
use lodge_model::{DomainId, Kind};
use lodge_store::saga::Failure;
use lodge_sys::cgroup::{self, Cgroup, Layout};

use super::file_failure;
use crate::domains::Shared;
use crate::stop;

/// What libvirt takes without a word.
const DEFAULT: &str = "/machine";
/// The groups at the top that have no suffix.
const FIXED: [&str; 3] = ["machine", "system", "user"];
/// Where Fibre Channel is told which group is whose.
const APP_IDS: &str = "/sys/class/fc/fc_udev_device/appid_store";

/// The path of the guest's cgroup below each hierarchy; one in a partition is noted first.
pub(super) fn place(shared: &Shared, id: DomainId, document: &Domain) -> Result<PathBuf, Failure> {
    let partition = document.resource.as_deref().and_then(|resource| resource.partition.as_deref());
    let Some(partition) = partition.filter(|partition| *partition != DEFAULT) else {
        return Ok(stop::cgroup_of(shared, id));
    };
    let cells = document.numatune.tree("numatune").is_some();
    let groups = candidates(partition).ok_or_else(|| {
        let text =
            format!("/domain/resource/partition: Resource partition '{partition}' must start with '/'");
        Failure::new(Kind::Unsupported, text)
    })?;
    let mut missing = Vec::new();
    for group in groups {
        let lacking = cgroup::lacking(&group, cells);
        let lacking =
            lacking.map_err(|error| file_failure("read", Path::new("/proc/self/mountinfo"), &error))?;
        if lacking.is_empty() {
            let relative = group.join(format!("lodge-{id}"));
            let note = shared.config.store.root().guest(id.0).join(stop::CGROUP_FILE);
            let written = crate::record::replace(&note, relative.as_os_str().as_encoded_bytes());
            return written.map(|()| relative).map_err(|error| file_failure("write", &note, &error));
        }
        missing.extend(lacking);
    }
    let missing: Vec<_> = missing.iter().map(|path| format!("`{}`", path.display())).collect();
    let text =
        format!("/domain/resource/partition: '{partition}' is not there: no {}", missing.join(", no "));
    let hint = "make it (a slice of systemd's: `systemctl start NAME.slice`), or leave the partition out";
    Err(Failure::new(Kind::NotFound, text).with_hint(hint.to_owned()))
}

/// Whether a guest's cgroup is in a partition.
pub(super) fn is_chosen(relative: &Path) -> bool {
    relative.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("lodge-"))
}

/// What a partition may be called in the hierarchies: by libvirt's rule, and as a slice of systemd's. `None`: it is no
/// path of plain names.
fn candidates(partition: &str) -> Option<[PathBuf; 2]> {
    let path = Path::new(partition.strip_prefix('/')?);
    let names = path.components().map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let names: Vec<&str> = names.collect::<Option<_>>().filter(|names: &Vec<&str>| !names.is_empty())?;
    let suffixed = names.iter().enumerate().map(|(at, name)| {
        let is_fixed = name.contains('.') || (at == 0 && FIXED.contains(name));
        if is_fixed { (*name).to_owned() } else { format!("{name}.partition") }
    });
    let slices = (1..=names.len()).map(|count| format!("{}.slice", names[..count].join("-")));
    Some([suffixed.collect(), slices.collect()])
}

/// Tells Fibre Channel the guest's name, by which its frames can be told from others'.
pub(super) fn name_traffic(document: &Domain, cgroup: Option<&Cgroup>) -> Result<(), Failure> {
    let tree = document.resource.as_deref().and_then(|resource| resource.foreign.tree("fibrechannel"));
    let Some(name) = tree.as_ref().and_then(|tree| tree.attribute("appid")) else { return Ok(()) };
    let Some(number) = cgroup.and_then(inode) else {
        let text = "/domain/resource/fibrechannel: the guest has no cgroup of its own here, by which it would be known";
        return Err(Failure::new(Kind::Unsupported, text));
    };
    let words = format!("{number:X}:{name}");
    std::fs::write(APP_IDS, &words).map_err(|error| {
        let said = error.to_string();
        let said = said.split(" (os error").next().unwrap_or_default();
        let text = format!("/domain/resource/fibrechannel: Unable to write '{words}' to '{APP_IDS}': {said}");
        Failure::new(Kind::Unsupported, text)
    })
}

/// The number of the directory that block requests are counted in.
fn inode(cgroup: &Cgroup) -> Option<u64> {
    let layout = Layout::read().ok()?;
    let v1 =
        layout.v1.iter().find(|(name, _)| name == "blkio").map(|(_, mount)| mount.join(cgroup.relative()));
    let directory = v1.filter(|path| path.is_dir()).or_else(|| cgroup.v2().map(Path::to_owned))?;
    Some(std::fs::metadata(directory).ok()?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_called_as_libvirt_and_systemd_call_it() {
        let named = |partition: &str| {
            candidates(partition).map(|paths| paths.map(|path| path.to_str().unwrap().to_owned()))
        };
        assert_eq!(
            named("/virtualmachines/production"),
            Some(
                [
                    "virtualmachines.partition/production.partition",
                    "virtualmachines.slice/virtualmachines-production.slice"
                ]
                .map(str::to_owned)
            )
        );
        assert_eq!(named("/machine/web.slice").unwrap()[0], "machine/web.slice");
        for bad in ["web", "", "/", "/a/../b"] {
            assert_eq!(named(bad), None, "{bad}");
        }
    }
}
