//! All domains of one root: what a front or the engine holds.
//!
//! [`Domains::open`] takes up what an earlier daemon left (`recover.rs`) before it returns. From then on each
//! domain has one owner task (`owner.rs`), and this is the table of contents: find, list, define, create.
//! Deliberately absent: who may do what (the engine's), and jobs' records (the engine's).

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lodge_model::DomainId;
use lodge_model::domain::os::Sysinfo;
use lodge_model::domain::{Domain, Machine, Platform};
use lodge_qemu::{Capabilities, Others, Speed};
use lodge_store::Store;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::act::Act;
use crate::display;
use crate::error::DomainError;
use crate::event::{DomainEvent, EventKind};
use crate::handle::Handle;
use crate::index::{Documents, Entry, Index};
use crate::mailbox;
use crate::monitor_event::MonitorEvent;
use crate::options::{CreateOptions, DefineOptions, RestoreOptions, StartOptions, Ticket};
use crate::ports::Ports;
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::{recover, save};

/// How many events may wait for a slow listener; beyond that it is told that it missed some.
const EVENTS_KEPT: usize = 4096;

/// How many guests are started by their mark at the same time.
const AUTOSTART_AT_ONCE: usize = 4;
/// How long such a start waits for what an earlier daemon left to be done on the same guest.
const AUTOSTART_PATIENCE: Duration = Duration::from_hours(1);

/// How a guest's processors are to be run on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accelerator {
    /// KVM was proven usable.
    pub kvm: bool,
    /// Why, or why not, as a sentence for a person.
    pub reason: String,
    /// A document with `type='kvm'` may run under TCG (with a warning) where KVM is not usable. A domain's own
    /// `<lodge:accelerator fallback='…'/>` goes before this.
    pub fallback: bool,
}

/// What [`Domains::open`] needs to know.
#[derive(Debug, Clone)]
pub struct DomainsConfig {
    /// Definitions, database, paths.
    pub store: Store,
    /// What the host's QEMU can do.
    pub capabilities: Arc<Capabilities>,
    /// The same of the QEMUs for other architectures.
    pub others: Others,
    /// What the host's firmware says of the host; guests with `<smbios mode='host'/>` say the same.
    pub host_words: Option<Sysinfo>,
    /// Which sorts of `<launchSecurity>` host and QEMU have.
    pub launch_security: Vec<String>,
    /// Where groups of the host's resctrl are.
    pub resctrl: lodge_sys::resctrl::Host,
    /// KVM or TCG.
    pub accelerator: Accelerator,
    /// How slow guests are here; every wait on a guest is this much longer.
    pub speed: Speed,
    /// Each guest's QEMU runs as an unprivileged user of its own; otherwise, or without root, as this process.
    pub own_users: bool,
    /// What the host's `qemu.conf` says of screens and TLS.
    pub settings: Arc<Settings>,
    /// Guests that stand because the file system below a disk is full wait for somebody, also when there is room again.
    pub stay_when_full: bool,
}

impl DomainsConfig {
    /// What the QEMU can do that is for the document's architecture.
    pub(crate) fn capabilities_of(&self, document: &Domain) -> &Arc<Capabilities> {
        let arch = document.os.kind.arch.as_deref();
        let other =
            arch.filter(|arch| *arch != self.capabilities.arch()).and_then(|arch| self.others.of(arch));
        other.unwrap_or(&self.capabilities)
    }
}

/// All domains. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Domains {
    pub(crate) shared: Arc<Shared>,
}

/// What all owners share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub config: DomainsConfig,
    platform: Platform,
    /// The same of the QEMUs for other architectures, by architecture; made when the first document is for one.
    other_platforms: Vec<(String, OnceLock<Platform>)>,
    pub ports: Ports,
    pub index: Index,
    pub events: broadcast::Sender<DomainEvent>,
    pub monitor_events: broadcast::Sender<MonitorEvent>,
    pub displays: display::Ports,
    /// Guests that wait for room.
    pub room: crate::room::Watch,
    /// Block jobs that wait for the host.
    pub writing_back: crate::block_job::WritingBack,
    /// Guests whose images are looked over.
    pub mending: crate::snapshots::Mending,
    pub runtime: tokio::runtime::Handle,
    /// libvirt's number that the next start gets, at least.
    pub next_domid: AtomicU32,
    pub owners: TaskTracker,
    /// The daemon ends: owners let go of their guests as soon as no job is at work.
    pub closing: CancellationToken,
}

impl Shared {
    pub fn new(config: DomainsConfig, ports: Ports) -> Self {
        Self {
            platform: platform_of(&config),
            other_platforms: config
                .others
                .possible()
                .map(|arch| (arch.to_owned(), OnceLock::new()))
                .collect(),
            displays: display::Ports::new(&config.settings),
            room: crate::room::Watch::default(),
            writing_back: crate::block_job::WritingBack::default(),
            mending: crate::snapshots::Mending::default(),
            config,
            ports,
            index: Index::default(),
            events: broadcast::channel(EVENTS_KEPT).0,
            monitor_events: broadcast::channel(EVENTS_KEPT).0,
            runtime: tokio::runtime::Handle::current(),
            next_domid: AtomicU32::new(1),
            owners: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// What completing a document of this architecture must know of the host's QEMU.
    pub fn platform(&self, arch: Option<&str>) -> &Platform {
        arch.and_then(|arch| self.other_platform(arch)).unwrap_or(&self.platform)
    }

    /// The same for a document that is yet to be read: a QEMU is asked only where its architecture's word is in the text.
    pub fn platform_for(&self, xml: &str) -> Cow<'_, Platform> {
        let is_named = |arch: &str| {
            xml.contains(arch)
                && ['\'', '"'].iter().any(|quote| xml.contains(&format!("{quote}{arch}{quote}")))
        };
        let named = self.config.others.possible().filter(|arch| is_named(arch));
        let others: Vec<Platform> = named.filter_map(|arch| self.other_platform(arch).cloned()).collect();
        if others.is_empty() {
            return Cow::Borrowed(&self.platform);
        }
        Cow::Owned(Platform { others, ..self.platform.clone() })
    }

    fn other_platform(&self, arch: &str) -> Option<&Platform> {
        let (_, made) = self.other_platforms.iter().find(|(known, _)| known == arch)?;
        if let Some(made) = made.get() {
            return Some(made);
        }
        let capabilities = self.config.others.of(arch)?;
        Some(made.get_or_init(|| platform_by(&self.config, capabilities)))
    }

    /// A number no running guest has. They grow by one per start while the daemon or any guest lives.
    pub fn new_domid(&self) -> u32 {
        self.next_domid.fetch_add(1, Ordering::Relaxed)
    }

    /// Sees to it that later guests get greater numbers than `domid`.
    pub fn domid_in_use(&self, domid: u32) {
        self.next_domid.fetch_max(domid.saturating_add(1), Ordering::Relaxed);
    }

    /// Tells all listeners.
    pub fn publish(&self, entry: &Entry, kind: EventKind) {
        // No listener is no error.
        let (name, domid) = (entry.name(), entry.snapshot.load().domid());
        let _ = self.events.send(DomainEvent { domain: entry.id, name, domid, kind });
    }
}

impl Domains {
    /// Loads all definitions, finishes or undoes what a crash left half done, and takes running guests over.
    /// A guest that does not answer is taken over later, by its own task; it delays nobody.
    pub async fn open(config: DomainsConfig, ports: Ports) -> Result<Self, DomainError> {
        Self::open_known(config, ports, |_| ()).await
    }

    /// The same; `known` gets the domains before anything that a crash left is settled: the ports ask who they are.
    pub async fn open_known(
        config: DomainsConfig,
        ports: Ports,
        known: impl FnOnce(&Self),
    ) -> Result<Self, DomainError> {
        let begun = Instant::now();
        let shared = Arc::new(Shared::new(config, ports));
        known(&Self { shared: Arc::clone(&shared) });
        let found = recover::recover(&shared).await?;
        tracing::info!(
            definitions = found.definitions,
            running = found.running,
            taken_over = found.taken_over,
            sagas = found.sagas,
            invalid = found.invalid,
            took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "domains opened"
        );
        Ok(Self { shared })
    }

    /// Takes over what a libvirt daemon that has ended left since the start: its definitions, its running guests.
    pub async fn take_over_libvirts(&self) -> Result<Vec<recover::libvirt::RunningGuest>, DomainError> {
        recover::take_over_libvirts(&self.shared).await
    }

    /// Lets go of all guests; they run on, and a next [`Domains::open`] takes them over. Jobs at work are let end
    /// for as long as `patience`; what is not done then is for the next daemon.
    pub async fn close(self, patience: Duration) {
        self.shared.closing.cancel();
        self.shared.owners.close();
        if tokio::time::timeout(patience, self.shared.owners.wait()).await.is_err() {
            tracing::warn!("some guests' jobs did not end in time; the next daemon takes them up");
        }
    }

    /// The store that all of it is kept in.
    pub fn store(&self) -> &Store {
        &self.shared.config.store
    }

    /// How long a block job's end waits for the host to write back before it is held back. For tests.
    #[doc(hidden)]
    pub fn set_write_back_patience(&self, patience: Duration) {
        self.shared.writing_back.set_patience(patience);
    }

    /// Every domain's snapshot, by name.
    pub fn list(&self) -> Vec<Arc<Snapshot>> {
        self.shared.index.snapshots()
    }

    /// Every domain, by name.
    pub fn handles(&self) -> Vec<Handle> {
        let all = self.shared.index.all().into_iter().filter(|entry| entry.snapshot.load().exists());
        all.map(|entry| Handle::new(&self.shared, entry)).collect()
    }

    /// A domain by UUID.
    pub fn get(&self, id: DomainId) -> Result<Handle, DomainError> {
        let entry = self.shared.index.by_id(id).filter(|entry| entry.snapshot.load().exists());
        entry
            .map(|entry| Handle::new(&self.shared, entry))
            .ok_or_else(|| DomainError::NoSuchDomain { wanted: id.to_string() })
    }

    /// A domain by exactly this name.
    pub fn by_name(&self, name: &str) -> Result<Handle, DomainError> {
        let entry = self.shared.index.by_name(name).filter(|entry| entry.snapshot.load().exists());
        entry
            .map(|entry| Handle::new(&self.shared, entry))
            .ok_or_else(|| DomainError::NoSuchDomain { wanted: name.to_owned() })
    }

    /// A domain by what a person typed: libvirt's number, UUID or name, tried in virsh's order.
    pub fn find(&self, wanted: &str) -> Result<Handle, DomainError> {
        let by_domid = || {
            let domid: u32 = wanted.parse().ok()?;
            let all = self.shared.index.all();
            all.into_iter().find(|entry| entry.snapshot.load().domid() == Some(domid))
        };
        let by_id = || wanted.parse().ok().and_then(|id| self.shared.index.by_id(id));
        by_domid()
            .or_else(by_id)
            .or_else(|| self.shared.index.by_name(wanted))
            .filter(|entry| entry.snapshot.load().exists())
            .map(|entry| Handle::new(&self.shared, entry))
            .ok_or_else(|| DomainError::NoSuchDomain { wanted: wanted.to_owned() })
    }

    /// Events from now on. A listener that lags is told so, and reads [`Domains::list`].
    pub fn subscribe(&self) -> broadcast::Receiver<DomainEvent> {
        self.shared.events.subscribe()
    }

    /// What guests' QEMUs tell from now on, as they tell it.
    pub fn subscribe_monitor(&self) -> broadcast::Receiver<MonitorEvent> {
        self.shared.monitor_events.subscribe()
    }

    /// `virsh define`: new, or the next boot's document of a known domain. Durable when it returns.
    pub async fn define(&self, xml: &str, options: DefineOptions) -> Result<Handle, DomainError> {
        let domain = crate::define::judge(&self.shared, xml, options.validate)?;
        let managed_save = options.managed_save;
        self.with_entry(domain, |domain| Act::Define { domain, managed_save }, Ticket::default()).await
    }

    /// `virsh create`: starts a guest without a definition (or a known one with this document for this run).
    pub async fn create(
        &self,
        xml: &str,
        options: CreateOptions,
        ticket: Ticket,
    ) -> Result<Handle, DomainError> {
        let domain = crate::define::judge(&self.shared, xml, options.validate)?;
        self.with_entry(domain, |domain| Act::Create { domain, options }, ticket).await
    }

    /// `virsh restore`: goes on from a file that [`Handle::save`] (or libvirt) wrote.
    pub async fn restore(
        &self,
        file: &Path,
        options: RestoreOptions,
        ticket: Ticket,
    ) -> Result<Handle, DomainError> {
        let (domain, options) = save::read_for_restore(&self.shared, file, options).await?;
        let file = file.to_owned();
        self.with_entry(
            domain,
            move |domain| Act::Restore { domain, file: file.clone(), options: options.clone() },
            ticket,
        )
        .await
    }

    /// Starts every domain with an autostart mark that does not run yet, a few at a time; says of each that failed
    /// why. One that is stuck does not hold up the others, nor do those whose disks are looked over first.
    pub async fn autostart(&self) -> Vec<(Arc<str>, DomainError)> {
        let wants = |view: &Arc<Snapshot>| (view.autostart || view.autostart_once) && !view.is_active();
        let marked = self.list().into_iter().filter(wants);
        let (later, now): (Vec<_>, Vec<_>) =
            marked.partition(|view| self.shared.mending.since(view.id).is_some() || view.job.is_some());
        let start_one = |view: Arc<Snapshot>, patience: Option<Duration>| async move {
            let started = async {
                let handle = self.get(view.id)?;
                if view.autostart_once {
                    // Taken away first: a guest that takes the host down must not do so again.
                    handle.set_autostart_once(false).await?;
                }
                handle.start(StartOptions::default(), Ticket { patience, ..Ticket::default() }).await
            };
            let error = started.await.err()?;
            tracing::error!(domain = %view.name, error = %crate::error::chain(&error), "autostart failed");
            Some((Arc::clone(&view.name), error))
        };
        let later = later.into_iter().map(|view| async move {
            self.shared.mending.over(view.id).await;
            start_one(view, Some(AUTOSTART_PATIENCE)).await
        });
        let now = now.into_iter().map(|view| start_one(view, None));
        let now = futures_util::stream::iter(now).buffer_unordered(AUTOSTART_AT_ONCE).collect::<Vec<_>>();
        let (now, later) = tokio::join!(now, futures_util::future::join_all(later));
        now.into_iter().chain(later).flatten().collect()
    }

    /// The name is held by something that is going, or not there yet.
    fn is_in_passing(&self, name: &str) -> bool {
        self.shared.index.by_name(name).is_none_or(|entry| !entry.snapshot.load().exists())
    }

    /// Gives `act` to the domain that the document names, making a place for it if there is none.
    async fn with_entry(
        &self,
        domain: Domain,
        act: impl Fn(Arc<Domain>) -> Act,
        ticket: Ticket,
    ) -> Result<Handle, DomainError> {
        let domain = Arc::new(domain);
        let (id, name) = (crate::define::id_of(&domain), domain.name.clone());
        let mut waits = 500;
        loop {
            let fresh = || Entry::new(Snapshot::embryo(id, &name), Documents::default());
            let entry = match self.shared.index.claim(id, &name, fresh) {
                Ok((entry, _)) => entry,
                // A transient guest that has ended has told so, and gives its name back in a moment.
                Err(DomainError::NameTaken { .. } | DomainError::UuidTaken { .. })
                    if waits > 0 && self.is_in_passing(&name) =>
                {
                    waits -= 1;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match mailbox::ask(&self.shared, &entry, act(Arc::clone(&domain)), ticket.clone()).await {
                // Somebody undefined it between our look and our request: it is a new domain then.
                Err(DomainError::Vanished { .. }) => tokio::task::yield_now().await,
                Err(error) => return Err(error),
                Ok(_) => return Ok(Handle::new(&self.shared, entry)),
            }
        }
    }
}

/// What completing a document must know of this host's QEMU.
fn platform_of(config: &DomainsConfig) -> Platform {
    let launch_security = config.launch_security.clone();
    Platform { launch_security, ..platform_by(config, &config.capabilities) }
}

fn platform_by(config: &DomainsConfig, capabilities: &Capabilities) -> Platform {
    let machine = |machine: &lodge_qemu::qmp::Machine| Machine {
        name: machine.name.clone(),
        alias: machine.alias.clone(),
        is_default: machine.is_default,
        cpu: machine.default_cpu().map(str::to_owned),
    };
    let usual = Platform::default();
    Platform {
        arch: capabilities.arch().to_owned(),
        emulator: capabilities.binary.display().to_string(),
        machines: capabilities.machines.iter().map(machine).collect(),
        firmwares: crate::firmware::installed(capabilities.arch()),
        nvram_dir: config.store.root().nvram().display().to_string(),
        ..usual
    }
}
