//! The steps of a revert, after the guest's end. Both directions may run twice, but for images, which only go back.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_store::saga::{Context, Failure, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::images::{self, Images};
use super::super::overlay::{HasOverlays, MakeOverlays, Overlay};
use super::super::records::{HasRecords, Records, WriteDown};
use crate::domains::Shared;
use crate::error::DomainError;
use crate::index::Entry;
use crate::options::Ticket;
use crate::ports::{LockedFile, SnapshotVerb};
use crate::start::{self, Launched, LoadSnapshot, SavedMemory};

/// How the guest comes up again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Launching {
    pub xml: String,
    pub paused: bool,
    /// The memory in a file of its own.
    pub memory: Option<SavedMemory>,
    /// The memory inside the images: the snapshot's name, the disks it is in.
    pub inside: Option<(String, Vec<String>)>,
    pub transient: bool,
    pub reset_nvram: bool,
}

/// What is to be brought about; saved with the saga.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub name: String,
    pub snapshot: String,
    pub records: Records,
    pub overlays: Vec<Overlay>,
    /// Images that go back to the snapshot in them.
    pub images: Vec<PathBuf>,
    /// Images that the guest's QEMU takes back, as it starts.
    #[serde(default)]
    pub loaded: Vec<PathBuf>,
    /// Files that are encrypted.
    #[serde(default)]
    pub keys: Vec<LockedFile>,
    pub launch: Option<Launching>,
}

impl Plan {
    /// The images that change inside, whoever takes them back.
    pub fn images_inside(&self) -> Vec<PathBuf> {
        let mut images: Vec<_> = self.images.iter().chain(&self.loaded).cloned().collect();
        images.sort();
        images.dedup();
        images
    }

    /// The images that the guest's QEMU takes back.
    pub fn loaded(&self) -> Images<'_> {
        Images { paths: &self.loaded, keys: &self.keys }
    }
}

/// What the steps share.
pub(super) struct Reverting {
    pub shared: Arc<Shared>,
    pub entry: Arc<Entry>,
    pub id: DomainId,
    pub plan: Plan,
    pub ticket: Ticket,
    /// In a lock because it can be sent to another thread and not be shared with one.
    pub launched: Mutex<Option<Launched>>,
    /// A next daemon finishes it: it starts nothing anew.
    pub resumed: bool,
    /// The images went back, and then the guest did not come up.
    pub after: Option<DomainError>,
    /// The start's own words, if it is what failed.
    pub refused: Option<DomainError>,
    /// Where files of others are.
    taken: Vec<PathBuf>,
}

impl Reverting {
    pub fn new(shared: &Arc<Shared>, entry: &Arc<Entry>, plan: Plan, ticket: Ticket) -> Self {
        Self {
            shared: Arc::clone(shared),
            entry: Arc::clone(entry),
            id: entry.id,
            plan,
            ticket,
            launched: Mutex::new(None),
            resumed: false,
            after: None,
            refused: None,
            taken: Vec::new(),
        }
    }
}

impl Context for Reverting {
    fn saved(&self) -> Value {
        serde_json::to_value(&self.plan).expect("a plan has string keys only")
    }
}

impl HasRecords for Reverting {
    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn records(&self) -> &Records {
        &self.plan.records
    }
}

impl HasOverlays for Reverting {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn to_make(&self) -> &[Overlay] {
        &self.plan.overlays
    }

    fn taken(&mut self) -> &mut Vec<PathBuf> {
        &mut self.taken
    }
}

/// The steps, in order: what cannot be taken back is last.
pub(super) fn steps(plan: &Plan) -> Vec<Box<dyn Step<Reverting>>> {
    let mut steps: Vec<Box<dyn Step<Reverting>>> = vec![Box::new(MakeOverlays), Box::new(WriteDown)];
    if !plan.images.is_empty() {
        steps.push(Box::new(ApplyImages));
    }
    if plan.launch.is_some() {
        steps.push(Box::new(Launch));
    }
    steps
}

/// Every image goes back. It was asked before that each can.
struct ApplyImages;

#[async_trait]
impl Step<Reverting> for ApplyImages {
    fn name(&self) -> &'static str {
        "apply-images"
    }

    async fn run(&self, reverting: &mut Reverting) -> Result<(), Failure> {
        let plan = &reverting.plan;
        let images = Images { paths: &plan.images, keys: &plan.keys };
        images::each(&reverting.shared, reverting.id, SnapshotVerb::Apply, images, &plan.snapshot).await
    }

    async fn undo(&self, _reverting: &mut Reverting) -> Result<(), Failure> {
        // What the guest had written since is gone; the snapshot is there, and the revert can be done again.
        Ok(())
    }
}

/// The guest comes up, with its memory if the snapshot has it. Its start is a saga of its own.
struct Launch;

#[async_trait]
impl Step<Reverting> for Launch {
    fn name(&self) -> &'static str {
        "start"
    }

    async fn run(&self, reverting: &mut Reverting) -> Result<(), Failure> {
        let Some(launch) = reverting.plan.launch.clone().filter(|_| !reverting.resumed) else {
            return Ok(());
        };
        let document =
            Domain::parse(&launch.xml).map_err(|faults| Failure::of(lodge_model::Kind::Internal, &faults))?;
        let load = launch.inside.map(|(name, disks)| LoadSnapshot { name, disks });
        let how = start::Reviving {
            paused: launch.paused,
            transient: launch.transient,
            reset_nvram: launch.reset_nvram,
            restore: launch.memory,
            load,
        };
        let launched =
            start::revive(&reverting.shared, &reverting.entry, document, how, &reverting.ticket).await;
        match launched {
            Ok(launched) => {
                reverting.launched = Mutex::new(Some(launched));
                Ok(())
            }
            // What cannot come forward again is not taken back in words either.
            Err(error) if !reverting.plan.images.is_empty() => {
                reverting.after = Some(error);
                Ok(())
            }
            Err(error) => {
                let plan = &reverting.plan;
                images::mend(&reverting.shared, reverting.id, &plan.name, plan.loaded()).await;
                let failure = Failure::of(error.kind(), &error).with_hint(error.hint());
                reverting.refused = Some(error);
                Err(failure)
            }
        }
    }

    async fn undo(&self, _reverting: &mut Reverting) -> Result<(), Failure> {
        // A start that failed has taken itself back, and nothing comes after one that did not.
        Ok(())
    }
}
