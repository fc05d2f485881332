//! A clone that goes on with its source's memory becomes another machine while it runs.
//!
//! ```text
//! start, its links down ▸ agent ▸ randomness ▸ files ▸ cards ▸ programs told ▸ links up ▸ the book
//! ```
//!
//! Its links go up only when all of that is done and was read back, or somebody forces it: two machines of one address or
//! one name on a network harm both. Nothing here takes the clone away: it is whole, and what is left to do is told, and
//! noted for the next daemon ([`super::unsettled`]).

use std::time::{Duration, Instant};

use lodge_api::{ClonedGuest, IdentityChange, InsideState, StartOptions};
use lodge_domain::{Handle, control::device};
use lodge_model::{DomainId, domain::lifecycle::State};
use lodge_qemu::agent::Agent;
use lodge_store::db::identities::IdentityActRow;

use super::unsettled::{self, Unsettled};
use crate::{
    Caller, Engine,
    error::{EngineError, Result, chain_of},
    identity::{
        alter,
        inside::{InsideReport, Wish},
    },
};

/// How long the agent may take to be there again, on bare hardware.
const AGENT: Duration = Duration::from_secs(10);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How long the guest's own tools may take.
const TOOLS: Duration = Duration::from_secs(30);
/// How long the guest may take to let a card go.
const CARD: Duration = Duration::from_secs(10);

impl Engine {
    /// Lets the clone go on, and makes it another machine.
    pub(super) async fn settle_clone(&self, guest: &mut ClonedGuest, clone: DomainId) -> Result<()> {
        let mut reserved = self.reservations.open();
        // Its start is an event that others see to.
        reserved.settling(clone);
        let name = guest.name.clone();
        self.start_domain(&Caller::daemon(), &name, StartOptions::default()).await.map_err(|error| {
            let text = format!("the clone `{name}` was made and does not go on: {error}");
            EngineError::new(error.kind(), text).with_hint(format!("`lodge start {name}` tries again"))
        })?;
        let handle = self.find_domain(&name)?;
        if let Some(note) = unsettled::find(self.store.db(), clone).await? {
            *guest = self.settle(&handle, note).await?;
        }
        Ok(())
    }

    /// All but the links. Says what became of it, and whether all of it was done.
    pub(super) async fn alter_clone(&self, handle: &Handle, note: &Unsettled) -> (InsideReport, bool) {
        let mut report = InsideReport::default();
        if !matches!(handle.snapshot().state, State::Running { .. }) {
            report.warnings.push(
                "it is paused, as its source was: its identity inside is its source's, and nobody can change it so".to_owned(),
            );
            return (report, false);
        }
        let agent = match self.await_agent(handle).await {
            Ok(agent) => agent,
            Err(why) => {
                report.warnings.push(format!(
                    "its identity inside is its source's ({why}): machine id, host name, keys, and random numbers unless its \
                     kernel heard of the new VM generation id"
                ));
                self.renew_cards(handle, None, note, &mut report).await;
                return (report, false);
            }
        };
        let patience = self.accelerator.speed.scale(TOOLS);
        let mut is_done = reseed(&agent, patience, &mut report).await;
        match self.inside.change_running(&handle.name(), &agent, &note.wish, patience).await {
            Ok(mut changed) => {
                is_done &= changed.state == InsideState::Reset;
                report.state = changed.state;
                report.changes.append(&mut changed.changes);
                report.warnings.append(&mut changed.warnings);
            }
            Err(error) => {
                is_done = false;
                report.warnings.push(format!("its identity inside is its source's: {}", chain_of(&error)));
            }
        }
        is_done &= self.renew_cards(handle, Some(&agent), note, &mut report).await;
        is_done &= tell_programs(&agent, &note.wish, patience, &mut report).await;
        report.warnings.push(
            "programs that ran in its source keep what they have in memory (machine id, names, keys, random numbers of their \
             own, the UUID of the hardware) until they begin anew: restart it when that suits"
                .to_owned(),
        );
        report.warnings.push(
            "the UUIDs of its disks and file systems are its source's; `lodge identity reset` changes them while it is off"
                .to_owned(),
        );
        if !is_done {
            report.state = InsideState::NotReset;
        }
        (report, is_done)
    }

    async fn await_agent(&self, handle: &Handle) -> std::result::Result<Agent, String> {
        let until = Instant::now() + self.accelerator.speed.scale(AGENT);
        let look = self.accelerator.speed.scale(AGENT);
        loop {
            let why = match self.look_at(handle.clone()).agent() {
                Ok(agent) => match agent.inner().ping(look).await {
                    Ok(()) => return Ok(agent.inner().clone()),
                    Err(error) => error.to_string(),
                },
                Err(refusal) => refusal.to_string(),
            };
            let has_agent = handle.snapshot().vmm.as_ref().is_some_and(|vmm| vmm.agent_socket.is_some());
            if !has_agent || Instant::now() >= until {
                return Err(why);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Each card anew, with the address of the clone's document: the memory had the source's in it.
    async fn renew_cards(
        &self,
        handle: &Handle,
        agent: Option<&Agent>,
        note: &Unsettled,
        report: &mut InsideReport,
    ) -> bool {
        let Wish::Another { macs, .. } = &note.wish else { return true };
        // One that nobody answers for is asked, and not waited for long.
        let patience = if agent.is_some() { self.accelerator.speed.scale(CARD) } else { CARD / 2 };
        let mut are_done = true;
        for (at, (old, new)) in macs.iter().enumerate() {
            let mut change = IdentityChange {
                item: format!("mac-address {at} in use"),
                place: String::new(),
                old: old.to_string(),
                new: new.to_string(),
                verified: "the card was taken out of the running guest and put in again".to_owned(),
            };
            let Err(error) = handle.change(device::renew_interface(at, patience)).await else {
                report.changes.push(change);
                continue;
            };
            let why = chain_of(&error);
            let set = match agent {
                Some(agent) => {
                    set_address(agent, (&change.old, &change.new), self.accelerator.speed.scale(TOOLS)).await
                }
                None => false,
            };
            if set {
                "set and read back by the guest's agent".clone_into(&mut change.verified);
                report.changes.push(change);
            } else {
                are_done = false;
                report.warnings.push(format!(
                    "interface {at} has its source's address {old} until the clone is shut down and started: {why}"
                ));
            }
        }
        are_done
    }

    /// What is written of the clone's making is what it is now.
    pub(super) async fn amend_book(&self, note: &Unsettled) -> Result<()> {
        let (db, guest) = (self.store.db(), &note.made);
        let rows = db.identity_acts(Some(&guest.uuid)).await?;
        let Some(row) = rows.into_iter().find(|row| row.id == note.act) else { return Ok(()) };
        let report = InsideReport {
            state: guest.inside,
            changes: guest.changes.clone(),
            warnings: guest.warnings.clone(),
            to_fill: guest.to_fill.clone(),
        };
        let warnings = serde_json::to_value(&report.warnings).unwrap_or_default();
        db.put_identity_act(IdentityActRow { items: report.items(), warnings, ..row }).await?;
        Ok(())
    }
}

async fn reseed(agent: &Agent, patience: Duration, report: &mut InsideReport) -> bool {
    let change = |verified: &str| IdentityChange {
        item: "random-numbers".to_owned(),
        place: "the kernel".to_owned(),
        old: "its source's".to_owned(),
        new: "its own".to_owned(),
        verified: verified.to_owned(),
    };
    match alter::reseed(agent, patience).await {
        Ok(done) if done.anew => {
            report
                .changes
                .push(change("the guest's kernel took randomness of the host's and began anew from it"));
            true
        }
        Ok(done) if done.hears_generation => {
            report
                .changes
                .push(change("the guest's kernel listens to the VM generation id, which is another"));
            true
        }
        Ok(done) => {
            let what = if done.stirred {
                "the host's randomness was mixed in, and counts when the guest's kernel next renews its own, within minutes"
            } else {
                "the guest has no tool that could renew its kernel's randomness"
            };
            report.warnings.push(format!("its random numbers are its source's for a while: {what}"));
            false
        }
        Err(error) => {
            report
                .warnings
                .push(format!("its random numbers are its source's for a while: {}", chain_of(&error)));
            false
        }
    }
}

async fn set_address(agent: &Agent, (old, new): (&str, &str), patience: Duration) -> bool {
    let ran = agent.run("/bin/sh", &["-c", alter::ADDRESS, "sh", old, new], patience).await;
    ran.is_ok_and(|ran| {
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        said.lines().count() == 1 && said.trim().eq_ignore_ascii_case(new)
    })
}

/// Services that were told of by files hear of it.
async fn tell_programs(agent: &Agent, wish: &Wish, patience: Duration, report: &mut InsideReport) -> bool {
    let Wish::Another { hostname: Some(wanted), .. } = wish else { return true };
    let failed = match agent.run("/bin/sh", &["-c", alter::TELL], patience).await {
        Ok(ran) => {
            let now: String = String::from_utf8_lossy(&ran.stdout).trim().escape_debug().take(253).collect();
            let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
            if short(&now).eq_ignore_ascii_case(&short(wanted)) {
                report.changes.push(IdentityChange {
                    item: "host-name in use".to_owned(),
                    place: "the kernel".to_owned(),
                    old: String::new(),
                    new: now,
                    verified: "told by the guest's agent".to_owned(),
                });
                return true;
            }
            format!("its host name in use is `{now}`")
        }
        Err(error) => chain_of(&error),
    };
    report.warnings.push(format!("what runs in it was not told of its new names: {failed}"));
    false
}
