//! Opening the engine: every resource, in the order that crash recovery needs.
//!
//! Store → what this host can do → storage and networks → domains (open sagas finished or undone, running guests
//! adopted) → followers of those that run. Only then may a front listen.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use lodge_disk::worker::WorkerProgram;
use lodge_domain::{Domains, DomainsConfig};
use lodge_host::hostdev::Hostdevs;
use lodge_network::{NetdProgram, NetworkFilters, Networks, NetworksConfig};
use lodge_qemu::Capabilities;
use lodge_storage::{Pools, Storage};
use lodge_store::{Driver, Drivers, Root, Store};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    accelerator, console::Consoles, error::Result, event::Feed, follow::Followers, guest_files, job::Jobs,
    ports,
};

/// Debian's and Fedora's place of QEMU for this machine.
const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// Nobody: a user id that owns no file of the host's.
const SHUT_IN_USER: u32 = 65_533;

/// How long jobs at work on guests may take to end when the daemon stops; the next one takes up what is left.
const LAST_JOBS: Duration = Duration::from_secs(10);

/// What the daemon is told at its start.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Every path lies under this; none: the host's own daemon.
    pub root: Option<PathBuf>,
    /// A document that asks for KVM where it is not usable: `true` runs it under TCG with a warning, `false` refuses.
    pub accelerator_fallback: bool,
    /// The program started as `PROGRAM netd …`; none: the one that runs now.
    pub program: Option<PathBuf>,
    /// What becomes of a start that would make two machines of one identity.
    pub duplicates: DuplicatePolicy,
    /// Networks answer for names that guests give themselves, where nobody else has them.
    pub guest_names: bool,
    /// Guests that stand because the file system below a disk is full wait for somebody, also when there is room again.
    pub stay_when_full: bool,
}

/// What becomes of a start that would make two machines of one identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicatePolicy {
    /// It is told in the log.
    #[default]
    Warn,
    /// It is refused.
    Refuse,
    /// Nobody looks.
    Ignore,
}

/// All use cases. Cheap to clone; every clone is the same engine.
#[derive(Clone)]
pub struct Engine {
    state: Arc<State>,
}

/// What all use cases share. Resources keep their own state; nothing here is written after the start.
pub struct State {
    pub(crate) store: Store,
    pub(crate) domains: Domains,
    pub(crate) networks: Networks,
    pub(crate) storage: Storage,
    pub(crate) pools: Pools,
    pub(crate) jobs: Jobs,
    pub(crate) feed: Feed,
    pub(crate) followers: Followers,
    pub(crate) consoles: Consoles,
    pub(crate) agent_waits: crate::guest::Waits,
    pub(crate) taints: crate::guest::Taints,
    pub(crate) host: Arc<lodge_host::Host>,
    pub(crate) secrets: Arc<crate::secret::Secrets>,
    pub(crate) filters: NetworkFilters,
    pub(crate) reservations: crate::clone::reserve::Reservations,
    pub(crate) inside: crate::identity::inside::Inside,
    pub(crate) watch: crate::identity::starts::Watch,
    pub(crate) hostdevs: Hostdevs,
    pub(crate) accelerator: accelerator::Choice,
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) started: SystemTime,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Deref for Engine {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Engine {
    /// Opens the store, finishes or undoes what a crash left, adopts what runs. Listen only after this.
    #[crate::boxed]
    pub async fn open(config: Config) -> Result<Self> {
        let root = Root::new(config.root.clone())?;
        let store = {
            let root = root.clone();
            tokio::task::spawn_blocking(move || Store::open(&root))
                .await
                .expect("opening a store does not panic")?
        };
        crate::adopt::take_drivers(&store);
        // What is wrong with the owner's rules is told before anything is begun.
        let catalogue = crate::identity::rules::catalogue(&root)?;
        let settings = Arc::new(lodge_domain::Settings::read(&root)?);
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        let feed = Feed::new(store.db().clone());
        let (jobs, cut) = Jobs::open(store.db().clone(), feed.clone()).await?;
        sweep_builds(&root);
        let capabilities = Arc::new(capabilities(&root).await);
        let accelerator = accelerator::choose(&capabilities, store.db(), config.accelerator_fallback).await;
        let storage = Storage::open(&store).await?;
        let secrets = Arc::new(crate::secret::Secrets::open(store.root().secrets()));
        let keys = Arc::new(crate::storage_secrets::Keys(Arc::clone(&secrets)));
        let pools = Pools::open_with(&store, &storage, keys).await?;
        let filters = {
            let (root, ours) = (root.clone(), store.drivers().is_ours(Driver::Network));
            tokio::task::spawn_blocking(move || NetworkFilters::open(&root, ours))
                .await
                .expect("reading filters does not panic")
        };
        let networks = NetworksConfig {
            root: root.clone(),
            netd: netd_program(&config),
            guest_names: config.guest_names,
            filters: filters.clone(),
        };
        let networks = Networks::open(networks).await?;
        if store.drivers().is_ours(lodge_store::Driver::Network) {
            networks.take_over_libvirts().await;
        }
        let known = guest_files::Known::new(store.root(), &pools);
        storage.set_guests(Arc::new(known.clone()));
        let watch =
            crate::identity::starts::Watch::new(config.duplicates, store.db().clone(), redo(store.root()));
        let devices = Hostdevs::open(root.host_devices());
        let ports = ports::wire(&store, (&storage, &pools), &networks, &secrets, &devices, watch.clone());
        let others = lodge_qemu::Others::usual(&root.cache());
        let host = crate::host::known(store.root(), &capabilities, &others, accelerator.kvm);
        let domains = Domains::open_known(
            DomainsConfig {
                store: store.clone(),
                capabilities: Arc::clone(&capabilities),
                others: others.clone(),
                host_words: crate::host::firmware_words(&host),
                launch_security: lodge_host::security::kinds(&capabilities),
                resctrl: lodge_sys::resctrl::Host::default(),
                accelerator: accelerator.for_domains(),
                speed: accelerator.speed,
                own_users: true,
                settings,
                stay_when_full: config.stay_when_full,
            },
            ports,
            |domains| {
                known.set(domains.clone());
                watch.set(domains.clone());
            },
        )
        .await?;
        // One that still has its directory is its owner's to settle.
        devices.sweep(|guest| root.guest(guest.0).exists()).await;
        storage.collect_images().await?;
        let followers = Followers::new(accelerator.speed);
        let inside = inside(&config, &root, &storage, catalogue);
        let state = State {
            store,
            domains,
            networks,
            storage,
            pools,
            jobs,
            feed,
            followers,
            consoles: Consoles::default(),
            agent_waits: crate::guest::Waits::default(),
            taints: crate::guest::Taints::default(),
            host,
            secrets,
            filters,
            reservations: crate::clone::reserve::Reservations::default(),
            inside,
            watch,
            hostdevs: devices,
            accelerator,
            capabilities,
            started: SystemTime::now(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        };
        let engine = Self { state: Arc::new(state) };
        engine.end_cut_changes().await;
        engine.undo_cut_clones().await;
        engine.undo_cut_instances(&cut).await;
        engine.follow_domains().await;
        engine.settle_cut_clones().await;
        engine.tell_of_networks();
        engine.tell_of_pools();
        engine.tell_of_secrets();
        engine.watch_storage();
        Ok(engine)
    }

    /// Where the REST socket is to be.
    pub fn rest_socket(&self) -> PathBuf {
        self.store.root().rest_socket()
    }

    /// Starts what is marked for autostart, if no daemon did since the host's start; called once the fronts listen.
    #[crate::boxed]
    pub async fn autostart(&self) {
        for (pool, error) in self.pools.autostart().await {
            tracing::error!(pool, %error, "pool not started");
        }
        let drivers = self.store.drivers();
        if drivers.may_autostart(Driver::Network) {
            for (network, error) in self.networks.autostart().await {
                tracing::error!(network, %error, "network not started");
            }
            note_autostart(drivers, Driver::Network);
        }
        if drivers.may_autostart(Driver::Qemu) {
            self.domains.autostart().await;
            note_autostart(drivers, Driver::Qemu);
        }
    }

    /// Ends the engine's own tasks. Guests and networks go on.
    #[crate::boxed]
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.domains.clone().close(LAST_JOBS).await;
    }

    /// Runs `task` until it ends or the engine closes.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Publishes what happens to networks.
    fn tell_of_networks(&self) {
        let (feed, mut events) = (self.feed.clone(), self.networks.subscribe());
        self.spawn(async move {
            use tokio::sync::broadcast::error::RecvError;
            loop {
                match events.recv().await {
                    Ok((_, name, event)) => {
                        let data = serde_json::to_value(&event).unwrap_or_default();
                        let kind = data["event"].as_str().unwrap_or("changed").replace('-', "_");
                        feed.publish(format!("network.{kind}"), name, data);
                    }
                    Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "network events missed"),
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }
}

/// The marks have been followed on this boot.
fn note_autostart(drivers: &Drivers, driver: Driver) {
    if let Err(error) = drivers.note_autostart(driver) {
        tracing::warn!(driver = driver.directory(), %error, "the next daemon will not know what was started with the host");
    }
}

/// What a build that was cut off left behind.
fn sweep_builds(root: &Root) {
    match lodge_build::sweep(&root.images()) {
        Ok(swept) => {
            for path in swept {
                tracing::info!(path = %path.display(), "leftover of an image build removed");
            }
        }
        Err(error) => tracing::warn!(%error, "leftovers of image builds not looked for"),
    }
}

/// What the host's QEMU can do. Without a QEMU the daemon serves all that needs none; a start then says what to do.
async fn capabilities(root: &Root) -> Capabilities {
    let binary = Path::new(QEMU);
    match Capabilities::probe(binary, Some(&root.cache())).await {
        Ok(capabilities) => capabilities,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "no usable QEMU");
            Capabilities::none(binary)
        }
    }
}

/// Who reads and edits guests' disks: this program again, shut in.
fn inside(
    config: &Config,
    root: &Root,
    storage: &Storage,
    catalogue: lodge_identity::Catalogue,
) -> crate::identity::inside::Inside {
    let (program, empty) = (program(config), root.run().join("empty"));
    let reader = WorkerProgram {
        program: program.clone(),
        root: empty.clone(),
        id: SHUT_IN_USER,
        patience: lodge_disk::worker::ANSWER,
    };
    let editor = lodge_disk::edit::Editor {
        program,
        args: vec![lodge_disk::edit::WORKER_ARGUMENT.to_owned()],
        empty_root: empty,
        user: SHUT_IN_USER,
    };
    let readers = crate::guest_disk::Readers::new(reader);
    crate::identity::inside::Inside::new(storage, (readers, editor), catalogue, redo(root))
}

/// Where changes of guests' disks are noted before they happen.
fn redo(root: &lodge_store::Root) -> PathBuf {
    root.state().join("redo")
}

fn program(config: &Config) -> PathBuf {
    let running = || std::env::current_exe().unwrap_or_else(|_| "/usr/bin/lodge".into());
    config.program.clone().unwrap_or_else(running)
}

fn netd_program(config: &Config) -> NetdProgram {
    NetdProgram { program: program(config), args: vec!["netd".into()] }
}
