//! The note of a clone with its source's memory that is not wholly another machine yet.
//!
//! ```text
//! noted ▸ known ▸ goes on ▸ another machine inside ▸ noted as such ▸ links up ▸ the book ▸ note gone
//! ```
//!
//! It is there before the clone is known and before its links may go up, so whoever is the daemon when the clone goes on,
//! or when it is found running, ends what was begun; what cannot be ended is told by `lodge identity check`.
//! A clone whose memory is gone is changed as any guest that is off is: by `lodge identity reset`, which ends the note.

use lodge_api::{ClonedGuest, InsideState};
use lodge_domain::{
    DomainEvent, EventKind, Handle, Lifecycle,
    control::{Scope, device},
};
use lodge_model::{
    DomainId,
    domain::{Domain, interface::LinkState},
};
use lodge_store::{Db, db::DbError};
use serde::{Deserialize, Serialize};

use super::{live::MemoryPlan, plan::Plan};
use crate::{
    Caller, Engine,
    error::{Result, chain_of},
    identity::inside::{InsideReport, Wish},
    job::JobHandle,
};

/// What the notes' keys begin with.
const KEY: &str = "unsettled-clone/";
/// The job's kind.
const SETTLE: &str = "guest.settle";

/// What is left to do about such a clone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Unsettled {
    pub memory: MemoryPlan,
    pub wish: Wish,
    /// The entry in the book.
    pub act: String,
    /// What it is so far.
    pub made: ClonedGuest,
    /// It is another machine inside: only its links are to go up.
    #[serde(default)]
    pub is_another: bool,
}

impl Unsettled {
    /// Of a clone that has its source's memory.
    pub fn of(plan: &Plan) -> Option<Self> {
        Some(Self {
            memory: plan.memory()?.clone(),
            wish: plan.wish.clone(),
            act: plan.act.clone(),
            made: ClonedGuest { document: None, ..plan.told() },
            is_another: false,
        })
    }

    /// Adds what became of what lies inside. What was said while nothing was done yet is over.
    pub fn take(&mut self, mut report: InsideReport) {
        self.made.inside = report.state;
        self.made.warnings.retain(|warning| warning != super::live::LATER);
        self.made.changes.append(&mut report.changes);
        self.made.warnings.append(&mut report.warnings);
    }
}

impl Unsettled {
    /// Somebody has seen to it and plugged it in by hand: nothing is left to do.
    fn was_plugged_in(&self, document: &Domain) -> bool {
        let cards = self.memory.up.iter().filter_map(|at| document.devices.interfaces.get(*at));
        let are_up: Vec<bool> =
            cards.map(|card| card.link.as_ref().is_none_or(|link| link.state == LinkState::Up)).collect();
        !self.is_another && !are_up.is_empty() && are_up.iter().all(|is_up| *is_up)
    }
}

fn key(clone: DomainId) -> String {
    format!("{KEY}{clone}")
}

/// Writes the note.
pub(crate) async fn put(db: &Db, clone: DomainId, note: &Unsettled) -> std::result::Result<(), DbError> {
    db.set_value(&key(clone), serde_json::to_vec(note).unwrap_or_default()).await
}

/// The note of a clone, if there is one.
pub(crate) async fn find(db: &Db, clone: DomainId) -> std::result::Result<Option<Unsettled>, DbError> {
    let value = db.value(&key(clone)).await?;
    Ok(value.and_then(|value| {
        let read = serde_json::from_slice(&value);
        read.inspect_err(|error| tracing::error!(%clone, %error, "the note of a clone cannot be read")).ok()
    }))
}

/// Removes the note, if there is one.
pub(crate) async fn remove(db: &Db, clone: DomainId) -> std::result::Result<(), DbError> {
    db.remove_value(&key(clone)).await.map(drop)
}

impl Engine {
    /// Ends what an earlier daemon began: of clones that run now. Forgets those that are no more.
    pub(crate) async fn settle_cut_clones(&self) {
        let notes = match self.store.db().values(KEY).await {
            Ok(notes) => notes,
            Err(error) => return tracing::error!(%error, "clones that were not finished not looked for"),
        };
        for (key, _) in notes {
            let Some(clone) = key.strip_prefix(KEY).and_then(|id| id.parse::<DomainId>().ok()) else {
                continue;
            };
            match self.domains.get(clone) {
                Ok(handle) if handle.snapshot().is_active() => self.settle_noted(clone, true).await,
                Ok(_) => {}
                Err(_) => self.forget_unsettled(clone).await,
            }
        }
    }

    /// What happens to a guest may be what its note waited for.
    pub(crate) fn settle_at(&self, event: &DomainEvent) {
        let (engine, clone) = (self.clone(), event.domain);
        match event.kind {
            EventKind::Lifecycle(kind @ (Lifecycle::Started | Lifecycle::Resumed), _) => {
                let goes_on = kind == Lifecycle::Resumed || event.kind.detail() == "restored";
                self.spawn(async move { engine.settle_noted(clone, goes_on).await });
            }
            // Whoever has its UUID later is another.
            EventKind::Lifecycle(kind @ (Lifecycle::Undefined | Lifecycle::Stopped), _) => {
                let is_there = self.domains.get(clone).map(|handle| handle.snapshot().is_active());
                let is_gone = match (kind, is_there) {
                    (_, Err(_)) => true,
                    (Lifecycle::Undefined, Ok(is_active)) => !is_active && event.kind.detail() == "removed",
                    (_, Ok(_)) => false,
                };
                if is_gone {
                    self.spawn(async move { engine.forget_unsettled(clone).await });
                }
            }
            _ => {}
        }
    }

    /// Makes a clone that runs another machine, if a note says that it is none yet. `goes_on`: with its source's memory;
    /// one that has booted is left as it is, since what it began with would have to be changed beneath it.
    async fn settle_noted(&self, clone: DomainId, goes_on: bool) {
        let mut reserved = self.reservations.open();
        if !reserved.settling(clone) {
            return;
        }
        let note = match find(self.store.db(), clone).await {
            Ok(Some(note)) if goes_on || note.is_another => note,
            Ok(_) => return,
            Err(error) => {
                return tracing::error!(domain = %clone, %error, "whether it is settled is not known");
            }
        };
        let Ok(handle) = self.domains.get(clone) else { return };
        if handle.document().is_ok_and(|document| note.was_plugged_in(&document)) {
            return self.forget_unsettled(clone).await;
        }
        let (engine, name) = (self.clone(), handle.name());
        let act = |job: JobHandle| async move {
            let _reserved = reserved;
            job.tell("making it another machine", None, "");
            let guest = engine.settle(&handle, note).await?;
            for warning in &guest.warnings {
                tracing::warn!(domain = %guest.name, warning, "told of a clone that was finished");
            }
            Ok(serde_json::to_value(guest).unwrap_or_default())
        };
        if let Err(error) = self.jobs.begin(&Caller::daemon(), SETTLE, &name, act).await {
            tracing::error!(domain = %name, %error, "a clone that is not another machine yet was left so");
        }
    }

    async fn forget_unsettled(&self, clone: DomainId) {
        if let Err(error) = remove(self.store.db(), clone).await {
            tracing::warn!(domain = %clone, %error, "the note of a clone that is gone stays");
        }
    }

    /// Why a guest is not another machine than its source yet, and what to do.
    pub(crate) async fn unfinished(&self, handle: &Handle) -> Option<String> {
        let note = find(self.store.db(), handle.id()).await.ok()??;
        if handle.document().is_ok_and(|document| note.was_plugged_in(&document)) {
            return None;
        }
        let (name, snapshot) = (handle.name(), handle.snapshot());
        Some(if self.reservations.is_settling(handle.id()) {
            "it is being made another machine than its source just now".to_owned()
        } else if note.is_another {
            "it is another machine inside, and its interfaces' links could not be plugged in: see its log \
             (lodge identity log)"
                .to_owned()
        } else if snapshot.is_active() {
            format!(
                "it runs and could not wholly be made another machine than its source (lodge identity log {name}): \
                 lodge shutdown {name}, then lodge identity reset {name}"
            )
        } else if snapshot.managed_save {
            format!(
                "it has its source's memory, and becomes another machine when it goes on: lodge start {name}"
            )
        } else {
            format!("it ended before it was another machine than its source: lodge identity reset {name}")
        })
    }

    /// A clone that is off was made another machine: its links are to be up when it starts.
    pub(crate) async fn end_unsettled(&self, handle: &Handle, note: &Unsettled) -> Result<Vec<String>> {
        let left = self.plug_in(handle, &note.memory.up, Scope { live: false, config: true }).await;
        if left.is_empty() {
            remove(self.store.db(), handle.id()).await?;
        }
        Ok(left)
    }

    /// Plugs interfaces in; says of each that stays unplugged.
    pub(super) async fn plug_in(&self, handle: &Handle, cards: &[usize], scope: Scope) -> Vec<String> {
        let mut left = Vec::new();
        for at in cards {
            if let Err(error) = handle.change(device::set_link(*at, true, scope)).await {
                left.push(format!("the link of interface {at} stays down: {}", chain_of(&error)));
            }
        }
        left
    }

    /// Makes a clone that runs another machine, and lets it onto the network.
    pub(super) async fn settle(&self, handle: &Handle, mut note: Unsettled) -> Result<ClonedGuest> {
        let (db, clone) = (self.store.db(), handle.id());
        if !note.is_another {
            let (report, is_done) = self.alter_clone(handle, &note).await;
            note.take(report);
            if !is_done && !note.memory.force {
                if !note.memory.up.is_empty() {
                    note.made.warnings.push(format!(
                        "its interfaces' links are down, since it is not wholly another machine yet: see to that from its \
                         console, and then plug them in (virsh domif-setlink {} INTERFACE up, and the same with --config)",
                        handle.name()
                    ));
                }
                // The note stays as it was: what is tried again begins anew.
                self.amend_book(&note).await?;
                return Ok(note.made);
            }
            note.is_another = true;
            put(db, clone, &note).await?;
        }
        let left = self.plug_in(handle, &note.memory.up, Scope { live: true, config: true }).await;
        let is_plugged_in = left.is_empty();
        note.made.warnings.extend(left);
        if note.made.inside != InsideState::Reset {
            tracing::warn!(domain = %handle.name(), "a clone was let onto the network as it is, since that was asked for");
        }
        self.amend_book(&note).await?;
        if is_plugged_in {
            remove(db, clone).await?;
        }
        Ok(note.made)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod tests {
    use super::*;

    fn note() -> Unsettled {
        let memory = MemoryPlan {
            taken: "/a".into(),
            kept: "/b".into(),
            hardware: String::new(),
            up: vec![0, 2],
            force: false,
        };
        let made =
            ClonedGuest { warnings: vec![super::super::live::LATER.to_owned()], ..ClonedGuest::default() };
        Unsettled { memory, wish: Wish::Keep, act: "1".to_owned(), made, is_another: false }
    }

    fn document(links: &[&str]) -> Domain {
        let card = |link: &&str| format!("<interface type='user'><link state='{link}'/></interface>");
        let cards: String = links.iter().map(card).collect();
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os><devices>{cards}</devices></domain>"
        );
        Domain::parse(&text).unwrap()
    }

    #[test]
    fn what_somebody_plugged_in_is_his_to_answer_for() {
        let mut note = note();
        assert!(note.was_plugged_in(&document(&["up", "down", "up"])));
        assert!(!note.was_plugged_in(&document(&["up", "up", "down"])));
        // A card that was out when the daemon was killed says nothing.
        assert!(!note.was_plugged_in(&document(&[])));
        assert!(note.was_plugged_in(&document(&["up"])));
        // Plugged in by us, and cut off before the note was gone.
        note.is_another = true;
        assert!(!note.was_plugged_in(&document(&["up", "down", "up"])));
    }

    #[test]
    fn what_was_said_before_it_ran_is_over_once_it_was_tried() {
        let mut note = note();
        let report =
            InsideReport { warnings: vec!["its agent is silent".to_owned()], ..InsideReport::default() };
        note.take(report);
        assert_eq!(note.made.warnings, ["its agent is silent"]);
        let bytes = serde_json::to_vec(&note).unwrap();
        let read: Unsettled = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((read.made, read.memory.up), (note.made, vec![0, 2]));
    }
}
