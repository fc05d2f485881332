//! The steps of a start. Both directions of each may run twice, and on a host where an earlier daemon was here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lodge_model::domain::Domain;
use lodge_model::domain::lifecycle::{PausedReason, RunningReason, State};
use lodge_model::xml::WriteOptions;
use lodge_model::{DomainId, Kind};
use lodge_store::saga::{Context, Failure, Step};
use lodge_sys::process::Process;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::advice::{self, Advice};
use super::devices::ClaimDevices;
use super::helpers::{Served, StartHelpers};
use super::spawn::{Spawn, clear_leftovers};
use super::{Launched, Plan, file_failure, live, remove_file, served, transient};
use crate::control::tune::perf::Counters;
use crate::control::tune::resctrl;
use crate::control::tune::threads::{self, Threads};
use crate::define::blocking;
use crate::display::Port;
use crate::domains::Shared;
use crate::error::DomainError;
use crate::ports::{AttachedNic, ClaimedDevice, ClaimedDisk, Passphrase, PortError, SeedDisk, ServedLink};
use crate::record::{Record, replace};
use crate::restore;
use crate::snapshots;
use crate::stop;
use crate::vmm::{LIVE_XML, Policies, Vmm};

/// How long QEMU may take on bare hardware until its monitor answers.
pub(super) const MONITOR_PATIENCE: Duration = Duration::from_secs(10);

/// How the live document is kept.
pub(crate) const LIVE: WriteOptions =
    WriteOptions { inactive: false, security_info: true, migratable: false };
/// The state of a guest whose last step is not done.
pub(super) const STARTING_UP: State = State::Paused { reason: PausedReason::StartingUp };

/// How long another resource may take for its part: a file server that is stuck must not hold a start for ever.
pub(super) const PORT_LIMIT: Duration = Duration::from_mins(2);

/// The steps, in order.
pub(crate) fn steps() -> Vec<Box<dyn Step<Launch>>> {
    vec![
        Box::new(ClaimVolumes),
        Box::new(ClaimDevices),
        Box::new(AttachNics),
        Box::new(WriteSeed),
        Box::new(StartHelpers),
        Box::new(Spawn),
        Box::new(Run),
    ]
}

/// What the steps share. Only the plan outlives the daemon; the rest is asked for again.
pub(crate) struct Launch {
    pub shared: Arc<Shared>,
    pub id: DomainId,
    pub plan: Plan,
    /// The document of this run; becomes the live one.
    pub document: Domain,
    pub disks: Option<Vec<ClaimedDisk>>,
    /// The UEFI variables that a server has.
    pub variables: Option<ServedLink>,
    /// Passphrases of encrypted disks, by target.
    pub passphrases: Vec<Passphrase>,
    /// Devices of the host's. None: not taken (by this daemon).
    pub devices: Option<Vec<ClaimedDevice>>,
    /// Aliases of those that were taken from the host's drivers.
    pub taken: Vec<String>,
    pub nics: Option<Vec<AttachedNic>>,
    pub seed: Seed,
    /// What serves the guest beside QEMU. None: not started (by this daemon).
    pub helpers: Option<Vec<Served>>,
    pub ports: Vec<Port>,
    /// Where numad would have the guest. None: it was not asked (by this daemon).
    pub advice: Option<Advice>,
    pub running: Option<Running>,
    /// What is counted of it.
    counters: Counters,
    /// What QEMU told before the guest was its owner's.
    early: Vec<lodge_qemu::qmp::Event>,
    live: Option<Arc<str>>,
}

/// The first-boot seed of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seed {
    /// The port was not asked (by this daemon).
    NotAsked,
    /// The guest has none.
    None,
    /// This one.
    Written(SeedDisk),
}

/// The QEMU that was spawned or found.
pub(crate) struct Running {
    pub qemu: lodge_qemu::Vmm,
    pub process: Process,
    pub record: Record,
}

impl Context for Launch {
    fn saved(&self) -> Value {
        serde_json::to_value(&self.plan).expect("a plan has string keys only")
    }
}

impl Launch {
    pub fn new(shared: &Arc<Shared>, id: DomainId, plan: Plan, document: Domain) -> Self {
        Self {
            shared: Arc::clone(shared),
            id,
            plan,
            document,
            disks: None,
            variables: None,
            passphrases: Vec::new(),
            devices: None,
            taken: Vec::new(),
            nics: None,
            seed: Seed::NotAsked,
            helpers: None,
            ports: Vec::new(),
            advice: None,
            running: None,
            counters: Counters::default(),
            early: Vec::new(),
            live: None,
        }
    }

    /// Looks for the QEMU that an earlier daemon spawned in this start. `false`: it is not to be used.
    pub async fn find_running(&mut self) -> bool {
        let dir = self.shared.config.store.root().guest(self.id.0);
        if !dir.exists() {
            return false;
        }
        let record = {
            let dir = dir.clone();
            blocking(move || Record::read(&dir)).await
        };
        let Ok(Some(record)) = record else { return false };
        let patience = self.shared.config.speed.scale(MONITOR_PATIENCE);
        let Ok(qemu) = lodge_qemu::adopt(&dir, self.id, patience).await else { return false };
        let Ok(Some(process)) = Process::hold(qemu.identity()) else { return false };
        self.shared.domid_in_use(record.domid);
        self.plan.domid = record.domid;
        self.ports =
            record.displays.iter().filter_map(|display| self.shared.displays.take(display.port)).collect();
        if let Ok(text) = std::fs::read_to_string(dir.join(LIVE_XML))
            && let Ok(document) = Domain::parse(&text)
        {
            self.document = document;
            // Once the record tells another state, the last step was done: what the guest does now is its own.
            if record.last_state() != STARTING_UP {
                self.live = Some(text.into());
            }
        }
        self.running = Some(Running { qemu, process, record });
        true
    }

    /// The saga has ended well: what the owner takes on.
    pub fn into_launched(
        self,
        name: &Arc<str>,
        noted: Option<JoinHandle<()>>,
    ) -> Result<Launched, DomainError> {
        let lost = || DomainError::OwnerFailed { name: Arc::clone(name) };
        let Running { qemu, process, record } = self.running.ok_or_else(lost)?;
        let dir = self.shared.config.store.root().guest(self.id.0);
        let mut vmm = Vmm::connected(qemu, process, record, dir, Policies::of(&self.document));
        vmm.ports = self.ports;
        Ok(Launched {
            vmm: Box::new(vmm),
            live: self.live.ok_or_else(lost)?,
            document: self.document,
            plan: self.plan,
            counters: self.counters,
            early: self.early,
            noted,
        })
    }
}

pub(super) fn refused(error: &PortError) -> Failure {
    Failure::of(error.kind, error).with_hint(error.hint.clone())
}

/// Locks and opens the disks.
pub(super) struct ClaimVolumes;

#[async_trait]
impl Step<Launch> for ClaimVolumes {
    fn name(&self) -> &'static str {
        "claim-volumes"
    }

    fn limit(&self) -> Option<Duration> {
        Some(PORT_LIMIT)
    }

    async fn run(&self, launch: &mut Launch) -> Result<(), Failure> {
        let volumes = Arc::clone(&launch.shared.ports.volumes);
        if !launch.plan.passing.is_empty() {
            // An earlier run's directory notes the same files: it goes, with them, before they are made.
            clear_leftovers(launch).await?;
            transient::make(&launch.shared, &launch.plan.passing).await?;
        }
        let passphrases = volumes.passphrases(&launch.document).await;
        launch.passphrases = passphrases.map_err(|error| refused(&error))?;
        let variables = volumes.served_variables(&launch.document).await;
        launch.variables = variables.map_err(|error| refused(&error))?;
        let claimed = volumes.claim(launch.id, &launch.document).await;
        launch.disks = Some(claimed.map_err(|error| refused(&error))?);
        Ok(())
    }

    async fn undo(&self, launch: &mut Launch) -> Result<(), Failure> {
        launch.disks = None;
        launch.passphrases.clear();
        let released = launch.shared.ports.volumes.release(launch.id).await;
        released.map_err(|error| refused(&error))?;
        transient::remove(&launch.shared, launch.id, &launch.plan.passing).await;
        Ok(())
    }
}

/// Plugs the network cards in.
pub(super) struct AttachNics;

#[async_trait]
impl Step<Launch> for AttachNics {
    fn name(&self) -> &'static str {
        "attach-nics"
    }

    fn limit(&self) -> Option<Duration> {
        Some(PORT_LIMIT)
    }

    async fn run(&self, launch: &mut Launch) -> Result<(), Failure> {
        let attached = launch.shared.ports.nics.attach(launch.id, &launch.document).await;
        launch.nics = Some(attached.map_err(|error| refused(&error))?);
        Ok(())
    }

    async fn undo(&self, launch: &mut Launch) -> Result<(), Failure> {
        launch.nics = None;
        launch.shared.ports.nics.detach(launch.id).await.map_err(|error| refused(&error))
    }
}

/// Writes the first-boot seed, if there is one.
pub(super) struct WriteSeed;

#[async_trait]
impl Step<Launch> for WriteSeed {
    fn name(&self) -> &'static str {
        "write-seed"
    }

    fn limit(&self) -> Option<Duration> {
        Some(PORT_LIMIT)
    }

    async fn run(&self, launch: &mut Launch) -> Result<(), Failure> {
        let written = launch.shared.ports.seeds.write(launch.id, &launch.document).await;
        launch.seed = written.map_err(|error| refused(&error))?.map_or(Seed::None, Seed::Written);
        Ok(())
    }

    async fn undo(&self, launch: &mut Launch) -> Result<(), Failure> {
        launch.seed = Seed::NotAsked;
        launch.shared.ports.seeds.discard(launch.id).await.map_err(|error| refused(&error))
    }
}

/// Brings the memory back if there is one, and lets the processors run.
struct Run;

#[async_trait]
impl Step<Launch> for Run {
    fn name(&self) -> &'static str {
        "run"
    }

    async fn run(&self, launch: &mut Launch) -> Result<(), Failure> {
        if let Some(running) = &launch.running {
            let counters = Counters::of(&launch.document, running.process.identity().pid);
            launch.counters = counters.map_err(|refusal| Failure::new(refusal.kind(), refusal.text))?;
        }
        if launch.live.is_some() {
            return forget_managed_save(launch).await;
        }
        let dir = launch.shared.config.store.root().guest(launch.id.0);
        let Some(running) = &mut launch.running else {
            return Err(Failure::new(Kind::Internal, "there is no QEMU to run"));
        };
        let monitor = running.qemu.monitor().clone();
        let words = running.qemu.clone();
        let refused = move |error: &lodge_qemu::qmp::MonitorError| {
            let said = words.last_words();
            let mut failure = Failure::of(error.kind(), error);
            if !said.is_empty() {
                failure.message = format!("{} (QEMU said: {said})", failure.message);
            }
            failure
        };
        let mut told = monitor.events();
        let document = advice::taken(&launch.document, launch.advice.as_ref());
        if threads::is_tuned(&document) {
            let document = document.into_owned();
            let cgroup = stop::cgroup_of(&launch.shared, launch.id);
            let threads = Threads::of(&monitor, running.process.identity().pid).await;
            let (host, dir, domid) = (launch.shared.config.resctrl.clone(), dir.clone(), launch.plan.domid);
            let tuned = blocking(move || {
                let threads = threads?;
                threads.apply(&document, &cgroup, |_| true)?;
                resctrl::make(&host, &dir, &document, domid)?;
                resctrl::place(&dir, threads.vcpus())
            });
            tuned.await.map_err(|refusal| Failure::new(refusal.kind(), refusal.text))?;
        }
        served::judge(&monitor, &launch.document).await?;
        if let Some(memory) = &launch.plan.restore {
            restore::load(&monitor, memory).await?;
        }
        if let Some(load) = &launch.plan.load {
            snapshots::load_inside(&monitor, &launch.document, load).await?;
        }
        // The terminals are not asked before the guest runs but with it: each answer costs a change of process.
        let paused = launch.plan.paused;
        let go = async { if paused { Ok(()) } else { monitor.cont().await } };
        // Asked to be smaller, a guest may not be yet, or have nothing that would make it so.
        let smaller = live::is_to_be_smaller(&launch.document);
        let size = async { if smaller { monitor.balloon().await.ok() } else { None } };
        let (chardevs, size, went) = tokio::join!(monitor.chardevs(), size, go);
        let chardevs = chardevs.map_err(|error| refused(&error))?;
        went.map_err(|error| refused(&error))?;
        live::terminals(&mut launch.document, running, &chardevs);
        live::size(&mut launch.document, size);
        launch.early.extend(std::iter::from_fn(|| told.try_recv().ok()));
        let text = launch.document.to_xml(&LIVE);
        let state = if paused {
            State::Paused { reason: PausedReason::User }
        } else {
            State::Running { reason: RunningReason::Booted }
        };
        running.record.state = state.virt();
        let written = replace(&dir.join(LIVE_XML), text.as_bytes()).and_then(|()| running.record.write(&dir));
        written.map_err(|error| file_failure("write to", &dir, &error))?;
        launch.live = Some(text.into());
        forget_managed_save(launch).await
    }

    async fn undo(&self, _launch: &mut Launch) -> Result<(), Failure> {
        // What ran goes with its process, which the step before takes back.
        Ok(())
    }
}

/// The guest runs on from here: an old memory with newer disks must never be used again.
async fn forget_managed_save(launch: &Launch) -> Result<(), Failure> {
    let Some(memory) = launch.plan.restore.as_ref().filter(|memory| memory.managed) else { return Ok(()) };
    let path = memory.file.clone();
    remove_file(path.clone()).await.map_err(|error| file_failure("remove", &path, &error))
}
