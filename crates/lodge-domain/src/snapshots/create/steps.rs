//! The steps of taking a snapshot. Both directions of each may run twice, and on a guest that an earlier daemon held.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use lodge_model::Kind;
use lodge_qemu::qmp::Monitor;
use lodge_store::saga::{Context, Failure, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::images::{self, Images};
use super::super::inside::{self, Nodes};
use super::super::overlay::{self, HasOverlays, MakeOverlays, Overlay};
use super::super::records::{HasRecords, Records, WriteDown};
use super::super::{memory, quiesce, switch};
use crate::control::{Refusal, Running};
use crate::define::blocking;
use crate::domains::Shared;
use crate::index::{Documents, Entry};
use crate::ports::{LockedFile, SnapshotVerb};
use crate::record::replace;
use crate::start::LIVE;
use crate::vmm::LIVE_XML;

/// Which steps there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Way {
    /// Inside the images of a guest that is off.
    Images,
    /// Inside the images of a running guest, with its memory.
    Inside,
    /// New files for a guest that is off.
    Files,
    /// New files for a running guest, its memory too if it is asked for.
    Live,
}

/// What is to be brought about; saved with the saga.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub name: String,
    pub snapshot: String,
    pub records: Records,
    pub way: Way,
    /// What is changed inside, by `qemu-img` or the guest's QEMU.
    pub images: Vec<PathBuf>,
    /// Files that are encrypted.
    #[serde(default)]
    pub keys: Vec<LockedFile>,
    pub nodes: Nodes,
    pub overlays: Vec<Overlay>,
    /// The overlays are there already.
    pub reuse: bool,
    /// The memory's file.
    pub memory: Option<PathBuf>,
    /// The document in it.
    pub memory_xml: String,
    /// The guest's processors ran.
    pub was_running: bool,
    /// The guest is held first.
    pub holds: bool,
    /// The guest is let go on at the end.
    pub goes_on: bool,
    /// The agent's socket, if the file systems are to stand still.
    pub socket: Option<PathBuf>,
}

impl Plan {
    pub fn images(&self) -> Images<'_> {
        Images { paths: &self.images, keys: &self.keys }
    }
}

/// What the steps share.
pub(super) struct Taking {
    pub shared: Arc<Shared>,
    pub entry: Arc<Entry>,
    pub plan: Plan,
    pub running: Option<Running>,
    pub thawed: bool,
    /// What went wrong when the snapshot was there.
    pub after: Option<Refusal>,
    /// QEMU's or the agent's words of the step that failed.
    pub refused: Option<Refusal>,
    /// Where files of others are.
    taken: Vec<PathBuf>,
}

impl Context for Taking {
    fn saved(&self) -> Value {
        serde_json::to_value(&self.plan).expect("a plan has string keys only")
    }
}

impl HasRecords for Taking {
    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn records(&self) -> &Records {
        &self.plan.records
    }
}

impl HasOverlays for Taking {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn to_make(&self) -> &[Overlay] {
        if self.plan.reuse { &[] } else { &self.plan.overlays }
    }

    fn taken(&mut self) -> &mut Vec<PathBuf> {
        &mut self.taken
    }
}

impl Taking {
    pub fn new(shared: &Arc<Shared>, entry: &Arc<Entry>, plan: Plan, running: Option<Running>) -> Self {
        Self {
            shared: Arc::clone(shared),
            entry: Arc::clone(entry),
            plan,
            running,
            thawed: false,
            after: None,
            refused: None,
            taken: Vec::new(),
        }
    }

    fn monitor(&self) -> Result<&Monitor, Failure> {
        let gone = || Failure::new(Kind::InvalidState, "the guest has ended meanwhile");
        self.running.as_ref().map(|running| &running.monitor).ok_or_else(gone)
    }

    /// The image that takes the memory.
    fn memorys_place(&self) -> Option<&str> {
        let disks = &self.running.as_ref()?.document.devices.disks;
        let own = disks.iter().find(|disk| inside::node_of(disk).as_ref() == Some(&self.plan.nodes.memory));
        own?.path()
    }

    fn failed(&mut self, refusal: Refusal) -> Failure {
        let failure = Failure::new(refusal.kind(), refusal.text.clone());
        self.refused = Some(refusal);
        failure
    }

    /// Looks for the QEMU of an earlier daemon's guest.
    pub async fn find_running(&mut self) {
        self.running = Running::find(&self.shared, &self.entry).await;
    }

    /// Whether what cannot be taken back was done.
    pub async fn is_past_return(&self) -> bool {
        let Some(running) = &self.running else { return false };
        switch::is_done(&running.monitor, &self.plan.overlays).await.unwrap_or(false)
    }

    /// After a daemon's end: what the saga left is what the documents say.
    pub async fn settle_documents(&mut self, entry: &Entry) {
        let is_past_return = self.is_past_return().await;
        if let Some(running) = &mut self.running {
            if is_past_return {
                overlay::put_in(&mut running.document, &self.plan.overlays, true);
            }
            let dir = self.shared.config.store.root().guest(self.entry.id.0);
            let text = running.document.to_xml(&LIVE);
            if let Err(error) = blocking(move || replace(&dir.join(LIVE_XML), text.as_bytes())).await {
                tracing::warn!(domain = self.plan.name, %error, "the live document could not be kept");
            }
        }
        let (definitions, name) = (self.shared.config.store.domains().clone(), self.plan.name.clone());
        let read = blocking(move || definitions.load(&name)).await;
        if let (Ok(found), true) = (read, entry.documents.load().inactive.is_some()) {
            let mut documents = Documents::clone(&entry.documents.load());
            documents.inactive = Some(found.text.into());
            entry.documents.store(Arc::new(documents));
        }
    }
}

/// The steps of a way, in order.
pub(super) fn steps(plan: &Plan) -> Vec<Box<dyn Step<Taking>>> {
    match plan.way {
        Way::Images => vec![Box::new(TakeImages), Box::new(WriteDown)],
        Way::Inside => vec![Box::new(Hold), Box::new(TakeInside), Box::new(WriteDown), Box::new(GoOn)],
        Way::Files => vec![Box::new(MakeOverlays), Box::new(WriteDown)],
        Way::Live => vec![
            Box::new(MakeOverlays),
            Box::new(WriteDown),
            Box::new(Freeze),
            Box::new(Hold),
            Box::new(TakeMemory),
            Box::new(Switch),
            Box::new(GoOn),
        ],
    }
}

/// A snapshot inside each image.
struct TakeImages;

#[async_trait]
impl Step<Taking> for TakeImages {
    fn name(&self) -> &'static str {
        "take-images"
    }

    async fn run(&self, taking: &mut Taking) -> Result<(), Failure> {
        let plan = &taking.plan;
        images::each(&taking.shared, taking.entry.id, SnapshotVerb::Create, plan.images(), &plan.snapshot)
            .await
    }

    async fn undo(&self, taking: &mut Taking) -> Result<(), Failure> {
        let plan = &taking.plan;
        images::each(&taking.shared, taking.entry.id, SnapshotVerb::Delete, plan.images(), &plan.snapshot)
            .await
    }
}

/// Holds the guest's processors, if they run.
struct Hold;

#[async_trait]
impl Step<Taking> for Hold {
    fn name(&self) -> &'static str {
        "hold"
    }

    async fn run(&self, taking: &mut Taking) -> Result<(), Failure> {
        if !taking.plan.holds {
            return Ok(());
        }
        let held = taking.monitor()?.stop().await;
        held.map_err(|error| taking.failed(error.into()))
    }

    async fn undo(&self, taking: &mut Taking) -> Result<(), Failure> {
        let stands = taking.plan.holds || taking.plan.memory.is_some();
        if !(taking.plan.was_running && stands) {
            return Ok(());
        }
        // A guest that has ended needs nobody.
        let Some(running) = &taking.running else { return Ok(()) };
        match running.monitor.cont().await {
            Err(error) if !matches!(error, lodge_qemu::qmp::MonitorError::Lost { .. }) => {
                Err(Failure::of(error.kind(), &error))
            }
            _ => Ok(()),
        }
    }
}

/// QEMU's own snapshot, the memory with it.
struct TakeInside;

#[async_trait]
impl Step<Taking> for TakeInside {
    fn name(&self) -> &'static str {
        "take-inside"
    }

    async fn run(&self, taking: &mut Taking) -> Result<(), Failure> {
        let (monitor, plan) = (taking.monitor()?.clone(), taking.plan.clone());
        let taken = async {
            // One of a try that was cut short; the guest has stood still since.
            inside::remove(&monitor, &plan.snapshot, &plan.nodes.disks).await?;
            inside::save(&monitor, &plan.snapshot, &plan.nodes).await
        };
        let taken = taken.await;
        taken.map_err(|mut refusal| {
            // QEMU says what went wrong, and not where.
            if let Some(place) = taking.memorys_place() {
                refusal.text = format!("{} (the memory goes into '{place}')", refusal.text);
            }
            taking.failed(refusal)
        })
    }

    async fn undo(&self, taking: &mut Taking) -> Result<(), Failure> {
        let Some(running) = &taking.running else { return Ok(()) };
        if running.monitor.status().await.is_err_and(|error| error.is_lost()) {
            // It has ended; its images are looked over then.
            return Ok(());
        }
        let removed = inside::remove(&running.monitor, &taking.plan.snapshot, &taking.plan.nodes.disks).await;
        removed.map_err(|refusal| Failure::new(refusal.kind(), refusal.text))
    }
}

/// The file systems stand still.
struct Freeze;

#[async_trait]
impl Step<Taking> for Freeze {
    fn name(&self) -> &'static str {
        "freeze"
    }

    async fn run(&self, taking: &mut Taking) -> Result<(), Failure> {
        let Some(socket) = taking.plan.socket.clone().filter(|_| !taking.thawed) else { return Ok(()) };
        let frozen = quiesce::freeze(&taking.shared, &socket).await;
        frozen.map_err(|refusal| taking.failed(refusal))
    }

    async fn undo(&self, taking: &mut Taking) -> Result<(), Failure> {
        let Some(socket) = taking.plan.socket.clone().filter(|_| taking.running.is_some()) else {
            return Ok(());
        };
        let thawed = quiesce::thaw(&taking.shared, &socket, &taking.plan.name).await;
        taking.thawed = thawed.is_ok();
        thawed.map_err(|refusal| Failure::new(refusal.kind(), refusal.text))
    }
}

/// The memory, to its file.
struct TakeMemory;

#[async_trait]
impl Step<Taking> for TakeMemory {
    fn name(&self) -> &'static str {
        "take-memory"
    }

    async fn run(&self, taking: &mut Taking) -> Result<(), Failure> {
        let Some(file) = taking.plan.memory.clone() else { return Ok(()) };
        let (monitor, plan) = (taking.monitor()?.clone(), &taking.plan);
        let written = memory::write(&monitor, &file, &plan.memory_xml, plan.goes_on);
        if plan.holds || !plan.was_running {
            return written.await;
        }
        // The guest runs on meanwhile, and may never let its memory be written to the end.
        tokio::select! {
            biased;
            written = written => written,
            never = memory::hold_busy(&monitor) => match never {},
        }
    }

    async fn undo(&self, taking: &mut Taking) -> Result<(), Failure> {
        let Some(file) = taking.plan.memory.clone() else { return Ok(()) };
        memory::take_back(taking.running.as_ref().map(|running| &running.monitor), &file).await
    }
}

/// From here on the guest writes the new files.
struct Switch;

#[async_trait]
impl Step<Taking> for Switch {
    fn name(&self) -> &'static str {
        "switch"
    }

    async fn run(&self, taking: &mut Taking) -> Result<(), Failure> {
        let Some(running) = &mut taking.running else {
            return Err(Failure::new(Kind::InvalidState, "the guest has ended meanwhile"));
        };
        if taking.plan.overlays.is_empty() {
            return Ok(());
        }
        match switch::switch(running, &taking.plan.overlays).await {
            Ok(()) => {
                switch::restack(running, &taking.plan.overlays).await;
                Ok(())
            }
            Err(refusal) => Err(taking.failed(refusal)),
        }
    }

    async fn undo(&self, taking: &mut Taking) -> Result<(), Failure> {
        if taking.is_past_return().await {
            return Err(Failure::new(Kind::InvalidState, "the guest writes the new files already"));
        }
        Ok(())
    }
}

/// File systems and processors go on. It fails only in words: the snapshot is there.
struct GoOn;

#[async_trait]
impl Step<Taking> for GoOn {
    fn name(&self) -> &'static str {
        "go-on"
    }

    async fn run(&self, taking: &mut Taking) -> Result<(), Failure> {
        let stands = taking.plan.holds || taking.plan.memory.is_some();
        if stands
            && taking.plan.goes_on
            && let Some(running) = &taking.running
            && let Err(error) = running.monitor.cont().await
        {
            tracing::error!(domain = taking.plan.name, error = %crate::error::chain(&error), "resuming after snapshot failed");
            taking.after = Some(Refusal::new(crate::control::Sort::Failed, "resuming after snapshot failed"));
        }
        if let Some(socket) = taking.plan.socket.clone().filter(|_| !taking.thawed) {
            match quiesce::thaw(&taking.shared, &socket, &taking.plan.name).await {
                Ok(()) => taking.thawed = true,
                Err(refusal) => taking.after = Some(refusal),
            }
        }
        Ok(())
    }

    async fn undo(&self, _taking: &mut Taking) -> Result<(), Failure> {
        Ok(())
    }
}
