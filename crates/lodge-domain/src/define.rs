//! Definitions: judging a document, keeping it, and taking in what other hands wrote.
//!
//! A redefinition of a running guest is the next boot's document. libvirt's rule holds: name and UUID belong
//! together for ever. A hand edit of the file is noticed before the definition is used: a valid one is taken in,
//! an invalid one is told and left as it is; the definition known before stays in force until it is corrected,
//! except for a start, which refuses. Deliberately absent: files (lodge-store) and what is valid (lodge-model).

use std::path::Path;
use std::sync::Arc;

use lodge_model::domain::chardev::CharKind;
use lodge_model::domain::disk::Disk;
use lodge_model::domain::lifecycle::{self, Request};
use lodge_model::domain::{Domain, DomainKind};
use lodge_model::xml::WriteOptions;
use lodge_model::{Bytes, DomainId, Faults};
use lodge_store::definitions::{self, Change, Definitions};

use crate::act::{Begin, Reply, ended};
use crate::domains::Shared;
use crate::error::DomainError;
use crate::event::{EventKind, Lifecycle};
use crate::index::Entry;
use crate::options::XmlOptions;
use crate::owner::Owner;
use crate::snapshot::Summary;

/// Reads, completes and checks a document that somebody gave.
pub(crate) fn judge(shared: &Shared, xml: &str, strict: bool) -> Result<Domain, DomainError> {
    let judged = Domain::judge(xml, strict, &shared.platform_for(xml));
    let mut domain = judged.map_err(|faults| {
        if strict { DomainError::Invalid { faults } } else { DomainError::Document { faults } }
    })?;
    domain.uuid.get_or_insert_with(DomainId::random);
    known_kind(shared, &domain)?;
    known_machine(shared, &domain)?;
    Ok(domain)
}

/// A document of another hypervisor, or for a QEMU that is not there.
fn known_kind(shared: &Shared, domain: &Domain) -> Result<(), DomainError> {
    let capabilities = shared.config.capabilities_of(domain);
    let emulator = domain.devices.emulator.as_deref().map_or(capabilities.binary.as_path(), Path::new);
    if emulator != capabilities.binary
        && let Err(source) = std::fs::metadata(emulator)
    {
        return Err(DomainError::NoEmulator { path: emulator.to_owned(), source });
    }
    let arch = domain.os.kind.arch.as_deref().unwrap_or("x86_64");
    if !matches!(arch, "x86_64" | "i686") && capabilities.arch() != arch {
        return Err(DomainError::NoSuchArch { emulator: emulator.to_owned(), arch: arch.to_owned() });
    }
    let is_hosts = matches!(arch, "x86_64" | "i686");
    match domain.kind {
        DomainKind::Qemu => Ok(()),
        DomainKind::Kvm if is_hosts => Ok(()),
        kind => Err(DomainError::NoSuchKind { emulator: emulator.to_owned(), kind }),
    }
}

/// As libvirt, a definition is held against the QEMU that is there; one that is there already stays, whatever QEMU
/// an upgrade brings. A host without a QEMU takes every document.
fn known_machine(shared: &Shared, domain: &Domain) -> Result<(), DomainError> {
    let capabilities = shared.config.capabilities_of(domain);
    match domain.os.kind.machine.as_deref() {
        Some(machine) if capabilities.is_present() && capabilities.machine(machine).is_none() => {
            Err(DomainError::NoSuchMachine {
                emulator: capabilities.binary.clone(),
                machine: machine.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

fn complete(shared: &Shared, parsed: Result<Domain, Faults>) -> Result<Domain, Faults> {
    let mut domain = parsed?;
    let platform = shared.platform(domain.os.kind.arch.as_deref());
    domain.complete(platform)?;
    domain.check()?;
    if domain.uuid.is_none() {
        domain.uuid = Some(DomainId::random());
    }
    Ok(domain)
}

/// The UUID of a judged document.
pub(crate) fn id_of(domain: &Domain) -> DomainId {
    domain.uuid.expect("judging gives every document a UUID")
}

/// The few facts that lists show.
pub(crate) fn summary_of(domain: &Domain) -> Summary {
    let memory_max = domain.memory.size;
    Summary {
        title: domain.title.as_deref().map(Into::into),
        domain_type: domain.kind.as_str().into(),
        os_type: domain.os.kind.text.as_str().into(),
        memory_max,
        memory: domain
            .current_memory
            .as_ref()
            .map_or(memory_max, |current| Bytes(current.size.0.min(memory_max.0))),
        vcpus: domain.vcpu.as_ref().map_or(1, lodge_model::domain::cpu::Vcpu::at_start),
        image: domain.lodge().ok().and_then(|lodge| lodge.image).map(Into::into),
    }
}

/// `virsh define`. `managed_save`: the image in its managed save's place was put there for it.
pub(crate) fn define(owner: &mut Owner, domain: Arc<Domain>, managed_save: bool) -> Begin {
    if let Err(source) = lifecycle::admit(&owner.state, Request::Define) {
        return Begin::Now(Err(DomainError::Denied { act: "define", name: owner.name(), source }));
    }
    let definitions = owner.shared.config.store.domains().clone();
    let name = owner.name();
    Begin::job(async move {
        let xml: Arc<str> = domain.to_xml(&WriteOptions::STORED).into();
        let text = Arc::clone(&xml);
        let written = blocking(move || {
            keep_unseen_edit(&definitions, &name);
            definitions.put(&name, &text).map_err(DomainError::Definition)
        });
        let written = written.await;
        ended(move |owner| match written {
            Ok(_) => {
                let detail = u8::from(owner.is_persistent());
                owner.amend_snapshot(|snapshot| snapshot.managed_save |= managed_save);
                owner.take_definition(xml, &domain);
                // A transient guest that runs is one to stay now.
                owner.note_transience();
                owner.publish_snapshot();
                owner.shared.publish(&owner.entry, EventKind::Lifecycle(Lifecycle::Defined, detail));
                tracing::info!(domain = %owner.name(), updated = detail == 1, "domain defined");
                Ok(Reply::Done)
            }
            Err(error) => {
                owner.vanished = !owner.is_persistent() && !owner.state.is_active();
                Err(error)
            }
        })
    })
}

/// A define is about to replace the file: what another hand wrote meanwhile is put aside, not lost.
fn keep_unseen_edit(definitions: &Definitions, name: &str) {
    let Ok(Change::Edited(_)) = definitions.changed(name) else { return };
    let path = definitions.path(name);
    let kept = path.with_extension("xml.edited");
    match std::fs::copy(&path, &kept) {
        Ok(_) => {
            tracing::warn!(domain = name, kept = %kept.display(), "a hand edit was replaced by a define");
        }
        Err(error) => {
            tracing::warn!(domain = name, %error, "a hand edit was replaced by a define and not kept");
        }
    }
}

impl Owner {
    /// `xml` is the definition now.
    pub fn take_definition(&mut self, xml: Arc<str>, domain: &Domain) {
        let active = self.state.is_active();
        let summary = (!active).then(|| Arc::new(summary_of(domain)));
        self.set_documents(|documents| documents.inactive = Some(xml));
        self.amend_snapshot(|snapshot| {
            snapshot.bad_edit = None;
            snapshot.changed = active;
            if let Some(summary) = summary {
                snapshot.summary = summary;
            }
        });
    }
}

/// What the definition's file says, if another hand wrote it since we last looked: one `stat` if not.
pub(crate) async fn edited_file(
    shared: &Shared,
    entry: &Entry,
) -> Result<Option<definitions::Entry>, DomainError> {
    if entry.documents.load().inactive.is_none() {
        return Ok(None);
    }
    let (definitions, name) = (shared.config.store.domains().clone(), entry.name());
    match blocking(move || (definitions.changed(&name), name)).await {
        (Ok(Change::Same), _) => Ok(None),
        (Ok(Change::Edited(found)), _) => Ok(Some(found)),
        (Ok(Change::Removed), name) => {
            let fate = "the domain stays as it is known until the daemon ends";
            tracing::warn!(domain = %name, fate, "the definition's file was removed by another hand");
            Ok(None)
        }
        (Err(error), _) => Err(DomainError::Definition(error)),
    }
}

/// Takes a hand edit in.
pub(crate) fn refresh(owner: &mut Owner, found: &definitions::Entry) -> Begin {
    let edit = judge_edit(&owner.shared, &owner.entry, found);
    owner.take_edit(edit);
    Begin::Now(Ok(Reply::Done))
}

/// What became of a definition's file.
pub(crate) enum Edit {
    None,
    Valid { xml: Arc<str>, domain: Box<Domain> },
    Invalid { why: Arc<str> },
}

/// Looks whether the file is as we know it; judges it if not.
pub(crate) async fn look_for_edit(shared: &Shared, entry: &Entry) -> Result<Edit, DomainError> {
    let found = edited_file(shared, entry).await?;
    Ok(found.map_or(Edit::None, |found| judge_edit(shared, entry, &found)))
}

fn judge_edit(shared: &Shared, entry: &Entry, found: &definitions::Entry) -> Edit {
    let known = entry.documents.load();
    if known.inactive.as_deref().is_some_and(|known| known.trim_end() == found.text.trim_end()) {
        return Edit::None;
    }
    match judge_stored(shared, &found.text, found.header_lines, &found.name, Some(entry.id)) {
        Ok(domain) => Edit::Valid { xml: found.text.as_str().into(), domain: Box::new(domain) },
        Err(faults) => Edit::Invalid { why: faults.to_string().into() },
    }
}

/// Judges the text of a definition's file; lines are counted as in the file.
pub(crate) fn judge_stored(
    shared: &Shared,
    text: &str,
    header_lines: u32,
    name: &str,
    id: Option<DomainId>,
) -> Result<Domain, Faults> {
    let mut domain = Domain::parse(text).map_err(|mut faults| {
        for fault in faults.0.iter_mut().filter(|fault| fault.line > 0) {
            fault.line += header_lines;
        }
        faults
    })?;
    if domain.name != name {
        return Err(Faults::one("/domain/name", format!("it is `{}` in the file of `{name}`", domain.name)));
    }
    if let Some(id) = id.filter(|id| domain.uuid.is_some_and(|uuid| uuid != *id)) {
        return Err(Faults::one("/domain/uuid", format!("it was {id} and cannot change")));
    }
    domain.uuid = domain.uuid.or(id);
    complete(shared, Ok(domain))
}

impl Owner {
    /// Takes on what was found in the file.
    pub fn take_edit(&mut self, edit: Edit) {
        match edit {
            Edit::None => {}
            Edit::Valid { xml, domain } => {
                tracing::info!(domain = %self.name(), "a hand edit of the definition was taken in");
                self.take_definition(xml, &domain);
                self.shared.publish(&self.entry, EventKind::Lifecycle(Lifecycle::Defined, 1));
            }
            Edit::Invalid { why } => {
                tracing::warn!(domain = %self.name(), %why, "a hand edit of the definition is not valid; the one before stays in force");
                self.amend_snapshot(|snapshot| snapshot.bad_edit = Some(Arc::clone(&why)));
                self.shared.publish(&self.entry, EventKind::InvalidEdit { why: why.to_string() });
            }
        }
    }
}

/// `virsh autostart`.
pub(crate) fn set_autostart(owner: &mut Owner, enabled: bool) -> Begin {
    let name = owner.name();
    if !owner.is_persistent() {
        return Begin::Now(Err(DomainError::Transient { act: "set autostart of", name }));
    }
    let definitions = owner.shared.config.store.domains().clone();
    Begin::job(async move {
        let done = blocking(move || definitions.set_autostart(&name, enabled)).await;
        ended(move |owner| {
            done.map_err(DomainError::Definition)?;
            owner.amend_snapshot(|snapshot| snapshot.autostart = enabled);
            owner.shared.publish(&owner.entry, EventKind::Autostart { enabled });
            Ok(Reply::Done)
        })
    })
}

/// `virsh autostart --once`.
pub(crate) fn set_autostart_once(owner: &mut Owner, enabled: bool) -> Begin {
    let name = owner.name();
    if !owner.is_persistent() {
        return Begin::Now(Err(DomainError::Transient { act: "set autostart of", name }));
    }
    let definitions = owner.shared.config.store.domains().clone();
    Begin::job(async move {
        let done = blocking(move || definitions.set_autostart_once(&name, enabled)).await;
        ended(move |owner| {
            done.map_err(DomainError::Definition)?;
            owner.amend_snapshot(|snapshot| snapshot.autostart_once = enabled);
            Ok(Reply::Done)
        })
    })
}

/// The alias of the seed's disk: `lodge_qemu::command_line` gives QEMU a device of that id.
pub(crate) const SEED_ALIAS: &str = "lodge-seed";

/// `virsh dumpxml`.
pub(crate) fn render(entry: &Entry, options: XmlOptions) -> Result<String, DomainError> {
    let documents = entry.documents.load();
    let live = documents.live.as_ref().filter(|_| !options.inactive);
    let Some(text) = live.or(documents.inactive.as_ref()).or(documents.live.as_ref()) else {
        return Err(DomainError::NoSuchDomain { wanted: entry.name().to_string() });
    };
    let mut domain = parse(text)?;
    let inactive = live.is_none() || options.migratable;
    if live.is_some()
        && options.migratable
        && let Some(definition) = documents.inactive.as_deref()
    {
        forget_chosen_screens(&mut domain, &parse(definition)?);
        forget_terminals(&mut domain);
    }
    if live.is_some() && !options.migratable {
        show_run(&mut domain, entry);
    }
    if inactive {
        // The seed is the run's, not the definition's.
        let is_seed = |disk: &Disk| disk.place.alias.as_ref().is_some_and(|alias| alias.name == SEED_ALIAS);
        domain.devices.disks.retain(|disk| !is_seed(disk));
    }
    Ok(domain.to_xml(&WriteOptions {
        inactive,
        security_info: options.security_info,
        migratable: options.migratable,
    }))
}

/// What is of this moment: whether the guest has opened its agent's channel, and that an empty drive has no format.
fn show_run(domain: &mut Domain, entry: &Entry) {
    let connected = entry.snapshot.load().vmm.as_ref().is_some_and(|vmm| vmm.agent_connected);
    for channel in &mut domain.devices.channels {
        if let Some(target) = channel.target.as_deref_mut()
            && target.kind.as_deref() == Some("virtio")
            && target.name.as_deref() == Some("org.qemu.guest_agent.0")
        {
            let state = if connected { "connected" } else { "disconnected" };
            target.state = Some(state.to_owned());
        }
    }
    for disk in domain.devices.disks.iter_mut().filter(|disk| disk.source.is_none()) {
        if let Some(driver) = &mut disk.driver {
            driver.format = None;
        }
    }
}

/// The terminals of this run are of this host only.
fn forget_terminals(domain: &mut Domain) {
    let devices = &mut domain.devices;
    let ports = devices.serials.iter_mut().chain(&mut devices.consoles).chain(&mut devices.parallels);
    for port in ports.chain(&mut devices.channels).filter(|port| port.kind == CharKind::Pty) {
        port.tty = None;
        port.sources.retain(|source| source.path.is_none());
    }
}

/// Ports and addresses that the run chose for screens are of this host only.
fn forget_chosen_screens(domain: &mut Domain, definition: &Domain) {
    let screens = domain.devices.graphics.iter_mut().zip(&definition.devices.graphics);
    for (live, defined) in screens.filter(|(live, defined)| live.kind == defined.kind) {
        (live.port, live.tls_port) = (defined.port, defined.tls_port);
        live.listen.clone_from(&defined.listen);
        live.listens.clone_from(&defined.listens);
    }
}

/// The live document, or else the definition.
pub(crate) fn parse_current(entry: &Entry) -> Result<Domain, DomainError> {
    let documents = entry.documents.load();
    match documents.live.as_ref().or(documents.inactive.as_ref()) {
        Some(text) => parse(text),
        None => Err(DomainError::NoSuchDomain { wanted: entry.name().to_string() }),
    }
}

/// The definition, if there is one.
pub(crate) fn parse_inactive(entry: &Entry) -> Result<Option<Domain>, DomainError> {
    entry.documents.load().inactive.as_ref().map(|text| parse(text)).transpose()
}

pub(crate) fn parse(text: &str) -> Result<Domain, DomainError> {
    Domain::parse(text).map_err(|faults| DomainError::Document { faults })
}

/// Runs what may block on the disk.
pub(crate) async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(act).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending; nobody waits for this any more.
            Err(_) => std::future::pending().await,
        },
    }
}
