//! Guests that a libvirt daemon left running: found by its status files, taken over without a word to them.
//!
//! ```text
//!  run/libvirt/qemu/NAME.xml ──▶ is that QEMU alive, and that guest's? ──▶ run/lodge/guests/UUID/ ──▶ as any other
//! ```
//!
//! A stranger's guest gets the directory that one of ours has: names for its sockets, a note of the process, the live
//! document; the rest of [`recover`](super) then does not tell it from others. `domain.json` is written last: without
//! it nothing was taken over, and the whole is done again. The files of libvirt stay, and are kept up to date
//! (`handover.rs`), for the way back.
//! Deliberately absent: guests of a libvirt daemon that still runs. They are its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lodge_model::DomainId;
use lodge_model::domain::chardev::CharDevice;
use lodge_model::domain::graphics::GraphicsKind;
use lodge_model::domain::status::DomainStatus;
use lodge_model::domain::{Domain, DomainKind};
use lodge_model::xml::{DOCUMENT_MAX_BYTES, WriteOptions};
use lodge_qemu::{Accelerator, Stranger, introduce, is_qemu_of};
use lodge_store::{Driver, Root};
use lodge_sys::process::{Identity, boot_id};
use lodge_sys::resctrl::Host;

use crate::control::tune::resctrl;
use crate::define::blocking;
use crate::domains::Shared;
use crate::handover;
use crate::record::{Record, replace};
use crate::snapshot::Display;
use crate::vmm::LIVE_XML;

/// The channel that the guest agent listens on.
const AGENT_CHANNEL: &str = "org.qemu.guest_agent.0";
const LIVE: WriteOptions = WriteOptions { inactive: false, security_info: true, migratable: false };

/// A guest that runs, as libvirt's files tell of it.
#[derive(Debug, Clone)]
pub struct RunningGuest {
    /// Its identity.
    pub id: DomainId,
    /// Its name.
    pub name: String,
    /// libvirt's number of the run.
    pub domid: u32,
    /// QEMU's process.
    pub pid: u32,
    /// Whether Lodge had it last; otherwise a libvirt daemon.
    pub is_ours: bool,
    /// What runs.
    pub live: Domain,
    status: DomainStatus,
    identity: Identity,
    modified: SystemTime,
}

/// What libvirt's files of running guests say.
#[derive(Debug, Default)]
pub struct RunningGuests {
    /// Those that run.
    pub running: Vec<RunningGuest>,
    /// Files that name no running guest: its QEMU has ended.
    pub stale: Vec<PathBuf>,
    /// Files that cannot be used, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Reads libvirt's files of running guests under `root`. Changes nothing.
pub fn running_guests(root: &Root) -> io::Result<RunningGuests> {
    let mut found = RunningGuests::default();
    let entries = match std::fs::read_dir(handover::directory(root)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "xml"));
    paths.sort();
    for path in paths {
        match read(&path) {
            Ok(Some(guest)) => found.running.push(guest),
            Ok(None) => found.stale.push(path),
            Err(why) => found.unreadable.push((path, why)),
        }
    }
    Ok(found)
}

/// One file. `Ok(None)`: the QEMU it names is gone.
fn read(path: &Path) -> Result<Option<RunningGuest>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.len() > DOCUMENT_MAX_BYTES as u64 {
        return Err(format!("it is longer than {DOCUMENT_MAX_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let status = DomainStatus::parse(&text).map_err(|faults| faults.to_string())?;
    if let Some(fault) = status.faults() {
        return Err(fault.to_string());
    }
    let (Some(id), Some(domid)) = (status.domain.uuid, status.domid()) else {
        return Err("it has no uuid or no number".to_owned());
    };
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    if stem != Some(status.domain.name.as_str()) {
        return Err(format!("it is of `{}`, which is not its name", status.domain.name));
    }
    let identity = Identity::of(status.pid).ok().flatten();
    let Some(identity) = identity.filter(|identity| is_qemu_of(*identity, id)) else { return Ok(None) };
    let live = status.live().map_err(|faults| faults.to_string())?;
    Ok(Some(RunningGuest {
        id,
        name: status.domain.name.clone(),
        domid,
        pid: status.pid,
        is_ours: status.is_ours(),
        live,
        identity,
        modified: metadata.modified().unwrap_or(UNIX_EPOCH),
        status,
    }))
}

/// A guest that runs and is ours now.
pub(super) struct Taken {
    pub guest: RunningGuest,
    /// A libvirt daemon had it last.
    pub fresh: bool,
}

/// Gives each guest that a libvirt daemon left running a directory as ours have.
pub(super) async fn take_over(shared: &Arc<Shared>) -> Vec<Taken> {
    let store = shared.config.store.clone();
    if !store.drivers().is_ours(Driver::Qemu) {
        return Vec::new();
    }
    let (root, host) = (store.root().clone(), shared.config.resctrl.clone());
    blocking(move || {
        let found = match running_guests(&root) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "libvirt's running guests could not be looked for");
                return Vec::new();
            }
        };
        for (path, why) in found.unreadable {
            tracing::error!(path = %path.display(), why, "a running guest's file cannot be used; it is left as it is");
        }
        for path in found.stale {
            forget_stale(&root, &path);
        }
        let taken = |guest: RunningGuest| match import(&root, &host, &guest) {
            Ok(fresh) => Some(Taken { guest, fresh }),
            Err(error) => {
                tracing::error!(domain = guest.name, %error, "a guest of libvirt's was not taken over");
                None
            }
        };
        found.running.into_iter().filter_map(taken).collect()
    })
    .await
}

/// The process of a guest that a libvirt daemon has and that runs: it must not be started a second time.
pub(crate) async fn held_elsewhere(shared: &Arc<Shared>, id: DomainId, name: &str) -> Option<u32> {
    let store = shared.config.store.clone();
    if store.drivers().is_ours(Driver::Qemu) {
        return None;
    }
    let path = handover::directory(store.root()).join(format!("{name}.xml"));
    let found = blocking(move || if path.exists() { read(&path).ok().flatten() } else { None }).await;
    found.filter(|guest| guest.id == id).map(|guest| guest.pid)
}

/// The guest ended while nobody looked. What Lodge knows of it, if anything, is settled by its own record.
fn forget_stale(root: &Root, path: &Path) {
    let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { return };
    tracing::info!(domain = name, "a guest of libvirt's ended while no daemon was there");
    handover::remove(root, name, None);
}

/// Writes what [`super::find_guest`] looks for. `Ok(false)`: it is there, and tells the truth.
fn import(root: &Root, host: &Host, guest: &RunningGuest) -> io::Result<bool> {
    let dir = root.guest(guest.id.0);
    let known = Record::read(&dir)?.filter(|record| record.identity() == Some(guest.identity));
    if known.is_some() && guest.is_ours {
        return Ok(false);
    }
    std::fs::create_dir_all(&dir)?;
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let channel = agent_channel(&guest.live);
    let agent = channel.and_then(|channel| channel.source()?.path.clone());
    let monitor = guest.status.monitor.as_ref().map(|monitor| monitor.path.clone()).unwrap_or_default();
    let accelerator = if guest.live.kind == DomainKind::Kvm { Accelerator::Kvm } else { Accelerator::Tcg };
    let stranger = Stranger {
        id: guest.id,
        identity: guest.identity,
        accelerator,
        monitor: monitor.into(),
        agent: agent.map(PathBuf::from),
    };
    if known.is_none() {
        introduce(&dir, &stranger)?;
    }
    replace(&dir.join(LIVE_XML), guest.live.to_xml(&LIVE).as_bytes())?;
    resctrl::note(host, &dir, &guest.live, guest.domid)?;
    let serial = guest.live.devices.serials.iter().chain(&guest.live.devices.consoles);
    let console =
        serial.filter_map(|serial| serial.source()?.path.clone()).find(|path| path.starts_with("/dev/"));
    let alias = channel.and_then(|channel| channel.place.alias.as_ref());
    let fresh = Record {
        domain: guest.id,
        name: guest.name.clone(),
        domid: guest.domid,
        pid: guest.pid,
        start_time: guest.identity.start_time,
        boot_id: boot_id()?,
        started_ms: crate::record::unix_ms(guest.modified),
        transient: false,
        accelerator: accelerator.to_string(),
        accelerator_reason: "libvirt chose it when it started the guest".to_owned(),
        warnings: Vec::new(),
        console: None,
        displays: Vec::new(),
        agent: None,
        state: guest.status.state().virt(),
        autodestroy: false,
        reboot_wanted: false,
        taken: Vec::new(),
    };
    let record = Record {
        domid: guest.domid,
        console: console.map(PathBuf::from),
        displays: displays(&guest.live),
        agent: alias.map(|alias| alias.name.clone()),
        state: guest.status.state().virt(),
        taken: guest.status.taken(),
        ..known.unwrap_or(fresh)
    };
    record.write(&dir)?;
    Ok(true)
}

fn agent_channel(live: &Domain) -> Option<&CharDevice> {
    live.devices.channels.iter().find(|channel| channel.channel_name() == Some(AGENT_CHANNEL))
}

fn displays(live: &Domain) -> Vec<Display> {
    let display = |graphics: &lodge_model::domain::graphics::Graphics| {
        let port = u16::try_from(graphics.port?).ok().filter(|port| *port > 0)?;
        let kind = match graphics.kind {
            GraphicsKind::Vnc => "vnc",
            GraphicsKind::Spice => "spice",
            _ => return None,
        };
        let given = graphics.listens.iter().find_map(|listen| listen.address.clone());
        let listen = given.or_else(|| graphics.listen.clone()).unwrap_or_else(|| "127.0.0.1".to_owned());
        Some(Display { kind: kind.to_owned(), listen, port })
    };
    live.devices.graphics.iter().filter_map(display).collect()
}
