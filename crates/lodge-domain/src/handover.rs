//! What Lodge leaves for a libvirt daemon that comes after it: libvirt's own file of each running guest, kept as the
//! guest changes, so that stopping Lodge and starting libvirtd loses no guest.
//!
//! ```text
//!  owner's state, live document ──▶ run/libvirt/qemu/NAME.xml, NAME.pid ──▶ the next libvirtd (or Lodge)
//! ```
//!
//! Written only while the driver's lock is ours, whole or not at all, and removed with the run. A failure is logged
//! and costs the way back, never the guest. Deliberately absent: reading them (`recover/libvirt.rs`).

mod capabilities;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_model::domain::lifecycle::VirtState;
use lodge_model::domain::status::{DomainStatus, StatusFacts};
use lodge_qemu::MONITOR_SOCKET;
use lodge_store::{Driver, Root};

use crate::owner::Owner;
use crate::record::replace;
use crate::vmm::Vmm;

/// libvirt's directory of running guests.
pub(crate) fn directory(root: &Root) -> PathBuf {
    root.libvirt_run().join(Driver::Qemu.directory())
}

fn file(root: &Root, name: &str, extension: &str) -> PathBuf {
    directory(root).join(format!("{name}.{extension}"))
}

/// What was written last of a run.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    state: Option<(VirtState, u32)>,
    live: Option<Arc<str>>,
    status: Option<DomainStatus>,
}

/// Writes the guest's file if it does not tell how the guest stands.
pub(crate) fn keep(owner: &mut Owner) {
    let store = &owner.shared.config.store;
    let (Some(vmm), Some(live)) = (owner.vmm.as_deref_mut(), owner.entry.documents.load().live.clone())
    else {
        return;
    };
    let state = owner.state.virt();
    let same_live = vmm.handover.live.as_ref().is_some_and(|known| Arc::ptr_eq(known, &live));
    if (same_live && vmm.handover.state == Some(state)) || !store.drivers().is_ours(Driver::Qemu) {
        return;
    }
    if let Err(error) = write(store.root(), vmm, state, &live, same_live) {
        tracing::warn!(domain = %vmm.record.name, %error, "libvirt's file of a running guest could not be written");
    }
    // Also after a failure: it would fail again at every turn.
    (vmm.handover.state, vmm.handover.live) = (Some(state), Some(live));
}

fn write(root: &Root, vmm: &mut Vmm, state: (VirtState, u32), live: &str, same_live: bool) -> io::Result<()> {
    let record = &vmm.record;
    let path = file(root, &record.name, "xml");
    if !same_live || vmm.handover.status.is_none() {
        let before = vmm.handover.status.take().or_else(|| read(&path));
        let document = Domain::parse(live).map_err(|faults| io::Error::other(faults.to_string()))?;
        let (own, user) = (directory(root).join(format!("lodge-{}", record.domain)), user_of(record.pid));
        let facts = StatusFacts {
            state,
            pid: record.pid,
            monitor: vmm.dir.join(MONITOR_SOCKET).display().to_string(),
            lib_dir: own.display().to_string(),
            channel_dir: own.display().to_string(),
            capabilities: match document.devices.emulator.as_deref() {
                Some(emulator) if before.is_none() => capabilities::of(root, emulator),
                _ => Vec::new(),
            },
            taken: record.taken.clone(),
            user: user.filter(|_| before.as_ref().is_none_or(DomainStatus::is_ours)),
        };
        if before.is_none() {
            leave_directory(&own, user)?;
        }
        vmm.handover.status = Some(DomainStatus::of(&document, &facts, before.as_ref()));
    }
    let Some(status) = &mut vmm.handover.status else { return Ok(()) };
    status.set_state(state);
    std::fs::create_dir_all(directory(root))?;
    replace_private(&path, header(&record.name, &status.to_xml()).as_bytes())?;
    let pid = file(root, &record.name, "pid");
    // libvirtd's own is locked by QEMU and says the same.
    if pid.exists() { Ok(()) } else { replace(&pid, format!("{}\n", record.pid).as_bytes()) }
}

/// The comment that libvirt puts over its files; its words send people to the command that changes the guest.
fn header(name: &str, document: &str) -> String {
    let name = name.replace("--", "- -");
    format!(
        "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\nOVERWRITTEN AND LOST. Changes \
         to this xml configuration should be made using:\n  virsh edit {name}\nor other application using the libvirt \
         API.\n-->\n\n{document}"
    )
}

/// There may be a password in it.
fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let _ = std::fs::remove_file(&fresh);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    std::fs::rename(&fresh, path)
}

/// The directory that libvirtd has for each guest, QEMU's to write in (screenshots pass through it), with the key that
/// it hides secrets from the monitor with: libvirtd gives a guest up, and kills it, that has none. Not in Lodge's own directory of the guest,
/// through which QEMU must not see. QEMU itself was not
/// told of the key, so libvirtd cannot plug in disks that need a secret before the next start.
fn leave_directory(dir: &Path, user: Option<(u32, u32)>) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    if let Some((uid, gid)) = user {
        std::os::unix::fs::chown(dir, Some(uid), Some(gid))?;
    }
    let path = dir.join("master-key.aes");
    if path.exists() {
        return Ok(());
    }
    let mut key = [0; 32];
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
    replace_private(&path, &key)
}

/// User and group of a process that is not root's.
fn user_of(pid: u32) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let process = std::fs::metadata(format!("/proc/{pid}")).ok()?;
    (process.uid() != 0).then(|| (process.uid(), process.gid()))
}

fn read(path: &Path) -> Option<DomainStatus> {
    DomainStatus::parse(&std::fs::read_to_string(path).ok()?).ok()
}

/// Removes what libvirt keeps of a run that is over: the file, the pid, the directories of its sockets. `id`: only if
/// it is this guest's.
pub(crate) fn remove(root: &Root, name: &str, id: Option<DomainId>) {
    let path = file(root, name, "xml");
    let Some(status) = read(&path).filter(|status| id.is_none() || status.domain.uuid == id) else { return };
    let (lib, run) = (root.libvirt_lib().join("qemu"), directory(root));
    let directories = [&status.lib_dir, &status.channel_dir, &status.memory_dir];
    for directory in directories.into_iter().flatten().map(|directory| Path::new(&directory.path)) {
        // Only libvirt's own: one level or more below them, and no way out again.
        let own = [&lib, &run].into_iter().any(|above| directory.starts_with(above) && directory != above);
        let plain = directory.components().all(|part| part != std::path::Component::ParentDir);
        if own && plain {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
    for path in [path, file(root, name, "pid")] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "libvirt's file of an ended guest was not removed");
            }
            _ => {}
        }
    }
}
