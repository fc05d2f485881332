//! Another identity for a guest that is there: on its disks while it is off; while it runs only if forced, and then only
//! what can be changed beneath running programs. And a machine id for one that has none.

use std::time::Duration;

use lodge_api::{IdentityAct, IdentityChange, IdentityReset, InsideState, Job, Learnt, PrivateKeys};
use lodge_domain::Handle;
use lodge_identity::{Operations, Step};
use lodge_model::Kind;
use lodge_store::db::{identities::IdentityActRow, now_ms};

use super::{
    cache::keep_made,
    inside::{InsideReport, Wish},
    log::act,
    look::Subject,
    steps,
};
use crate::{
    Caller, Engine,
    clone::unsettled::{self, Unsettled},
    error::{EngineError, Result},
    job::JobHandle,
};

/// How long the guest's own tools may take, on bare hardware.
const PATIENCE: Duration = Duration::from_secs(30);

/// The machine id anew; what is printed last is the new one. dbus-uuidgen(1) where there is one, else a random UUID:
/// systemd-machine-id-setup(1) would take the UUID that the host gave to the machine, which may be the old id.
const ANEW: &str = "set -e; old=$(cat /etc/machine-id 2>/dev/null || cat /var/lib/dbus/machine-id 2>/dev/null || true); \
    rm -f /etc/machine-id /var/lib/dbus/machine-id; \
    if command -v dbus-uuidgen >/dev/null; then dbus-uuidgen --ensure=/etc/machine-id; \
    else tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id; chmod 444 /etc/machine-id; fi; \
    mkdir -p /var/lib/dbus; ln -sf /etc/machine-id /var/lib/dbus/machine-id; \
    echo \"$old\"; cat /etc/machine-id";

impl Engine {
    /// Gives a guest another identity; the job's result is an `IdentityAct`.
    #[crate::boxed]
    pub async fn reset_identity(&self, caller: &Caller, dom: &str, wish: IdentityReset) -> Result<Job> {
        caller.may_change()?;
        refuse_more_than_ensured(&wish)?;
        let handle = self.find_domain(dom)?;
        let name = handle.name().to_string();
        if handle.snapshot().is_active() {
            refuse_running(&name, &wish)?;
        }
        let operations = wish.operations.as_ref().map(|names| self.parse_operations(names)).transpose()?;
        let users = (wish.keep_users.as_slice(), wish.remove_users.as_slice());
        let steps = steps::parse(&wish.steps, users, operations.as_ref())?;
        let (engine, owner, subject) = (self.clone(), caller.clone(), name.clone());
        let work = |job: JobHandle| async move {
            let entry = engine.reset_here(&owner, &job, &handle, (&wish, operations, steps)).await?;
            Ok(serde_json::to_value(entry).unwrap_or_default())
        };
        self.jobs.begin(caller, "identity.reset", &subject, work).await
    }

    async fn reset_here(
        &self,
        caller: &Caller,
        job: &JobHandle,
        handle: &Handle,
        (wish, operations, steps): (&IdentityReset, Option<Operations>, Vec<Step>),
    ) -> Result<IdentityAct> {
        let name = handle.name().to_string();
        let verb = match (wish.ensure, &operations) {
            (true, _) => "ensure",
            (false, Some(_)) => "sysprep",
            (false, None) => "reset",
        };
        let report = if handle.snapshot().is_active() {
            job.tell("asking the guest", None, &name);
            if wish.ensure { self.ensure_running(handle).await? } else { self.reset_running(handle).await? }
        } else {
            job.tell("changing its disks", None, &name);
            let noted = unsettled::find(self.store.db(), handle.id()).await?;
            let wish_inside = match operations {
                None if wish.ensure => Wish::Ensured,
                Some(operations) => Wish::Sysprep {
                    operations,
                    hostname: wish.hostname.clone(),
                    private_keys: wish.private_keys,
                    steps,
                },
                None => another(wish, noted.as_ref()),
            };
            let mut report = self.reset_disks(handle, &wish_inside, wish.dry_run).await?;
            let is_another =
                matches!(wish_inside, Wish::Another { .. }) && report.state == InsideState::Reset;
            if let Some(note) = noted.filter(|_| is_another && !wish.dry_run) {
                report.warnings.extend(self.end_unsettled(handle, &note).await?);
            }
            report
        };
        report.refuse_nothing(&name)?;
        let row = IdentityActRow {
            id: uuid::Uuid::new_v4().to_string(),
            time_ms: now_ms(),
            act: verb.to_owned(),
            guest: handle.id().to_string(),
            name,
            source: String::new(),
            caller: format!("uid {}", caller.uid),
            items: report.items(),
            warnings: serde_json::to_value(&report.warnings).unwrap_or_default(),
        };
        let did_nothing = wish.ensure && report.changes.is_empty();
        if !wish.dry_run && !did_nothing {
            // No start is judged by what it was, and a list does not show it.
            self.watch.forget(handle.id()).await;
            if !handle.snapshot().is_active() {
                keep_made(self.store.db(), handle.id(), &report.changes).await;
            }
            self.store.db().put_identity_act(row.clone()).await?;
            self.feed.publish("identity.reset", row.name.clone(), serde_json::json!({ "act": verb }));
        }
        Ok(act(row))
    }

    /// Only where it has none: what a program that began without one uses is nobody's.
    async fn ensure_running(&self, handle: &Handle) -> Result<InsideReport> {
        let looked = self.look_into(&Subject::Guest(handle.clone()), false, None).await;
        if looked.learnt != Learnt::Agent {
            let why = looked.gaps.first().map_or("its agent tells nothing", String::as_str);
            let text = format!("whether `{}` has a machine id is not known: {why}", handle.name());
            return Err(EngineError::new(Kind::InvalidState, text)
                .with_hint("shut it down and ask again then: its disks are read"));
        }
        if lodge_identity::machine_id(&looked.identity).is_some() {
            return Ok(InsideReport { state: InsideState::Kept, ..InsideReport::default() });
        }
        let mut report = self.reset_running(handle).await?;
        report.warnings = vec!["programs that run began without it: restart the guest soon".to_owned()];
        Ok(report)
    }

    async fn reset_disks(&self, handle: &Handle, wish: &Wish, dry_run: bool) -> Result<InsideReport> {
        let document = handle.definition()?.ok_or_else(|| {
            let text = format!("domain `{}` has no definition", handle.name());
            EngineError::new(Kind::InvalidState, text)
        })?;
        if handle.snapshot().managed_save {
            let text = format!(
                "domain `{}` has saved memory, which would go on with its old identity",
                handle.name()
            );
            return Err(EngineError::new(Kind::InvalidState, text)
                .with_hint(format!("give it up first: lodge managedsave-remove {}", handle.name())));
        }
        let mut gaps = Vec::new();
        let disks = self.disks_inside(&document, &mut gaps);
        let mut report = if dry_run {
            self.inside.foretell(&disks, wish).await?
        } else {
            let log = self.inside.log_of(&handle.id().to_string());
            self.inside.change_standing(&handle.name(), &disks, wish, &log).await?
        };
        report.warnings.extend(gaps);
        Ok(report)
    }

    pub(super) fn parse_operations(&self, names: &[String]) -> Result<Operations> {
        let parsed = self.inside.catalogue().operations(&names.join(","));
        parsed.map_err(|error| EngineError::of(Kind::InvalidInput, error.hint(), error))
    }

    /// Only the machine id: keys and addresses are in use by programs that would not notice.
    async fn reset_running(&self, handle: &Handle) -> Result<InsideReport> {
        let agent = self.look_at(handle.clone()).agent()?;
        let patience = self.accelerator.speed.scale(PATIENCE);
        let ran = agent.inner().run("/bin/sh", &["-c", ANEW], patience).await?;
        let output = String::from_utf8_lossy(&ran.stdout).into_owned();
        let is_id = |line: &&str| line.len() == 32 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let lines: Vec<&str> = output.lines().collect();
        let new = lines.last().copied().filter(is_id);
        let (Some(new), Some(0)) = (new, ran.exit_code) else {
            let said: String = String::from_utf8_lossy(&ran.stderr).escape_debug().take(200).collect();
            let text = format!("the guest `{}` made no new machine id: {said}", handle.name());
            return Err(EngineError::new(Kind::Internal, text)
                .with_hint("shut it down and reset it then: that changes its disks"));
        };
        let old = lines.first().copied().filter(is_id).unwrap_or_default();
        let change = IdentityChange {
            item: "machine-id".to_owned(),
            place: "/etc/machine-id".to_owned(),
            old: old.to_owned(),
            new: new.to_owned(),
            verified: "told by the guest's agent".to_owned(),
        };
        let warnings = vec![
            "only the machine id was changed; all else needs the guest to be off".to_owned(),
            "programs that run still have the old machine id: restart the guest soon".to_owned(),
        ];
        Ok(InsideReport { state: InsideState::Reset, changes: vec![change], warnings, to_fill: Vec::new() })
    }
}

/// Another machine. A clone that was to become one and did not becomes the one that it was to be.
fn another(wish: &IdentityReset, noted: Option<&Unsettled>) -> Wish {
    let (hostname, private_keys) = (wish.hostname.clone(), wish.private_keys);
    match noted.map(|note| note.wish.clone()) {
        Some(Wish::Another { hostname: planned, macs, addresses, .. }) => {
            Wish::Another { hostname: hostname.or(planned), macs, addresses, private_keys }
        }
        _ => Wish::Another { hostname, macs: Vec::new(), addresses: Vec::new(), private_keys },
    }
}

/// A wish for a machine id is a wish for nothing else.
fn refuse_more_than_ensured(wish: &IdentityReset) -> Result<()> {
    let more = [
        (wish.operations.is_some(), "operations"),
        (wish.hostname.is_some(), "a host name"),
        (wish.private_keys != PrivateKeys::Keep, "a policy of private keys"),
        (wish.dry_run, "a dry run"),
    ];
    match more.into_iter().find(|(is_given, _)| *is_given && wish.ensure) {
        None => Ok(()),
        Some((_, what)) => Err(EngineError::new(
            Kind::InvalidInput,
            format!("`ensure` is about the machine id alone: {what} cannot be given with it"),
        )),
    }
}

fn refuse_running(name: &str, wish: &IdentityReset) -> Result<()> {
    if wish.ensure {
        return Ok(());
    }
    if !wish.force {
        let text = format!(
            "domain `{name}` runs: programs in it keep the machine id they began with, and a change beneath them \
             makes them unstable or ends them"
        );
        return Err(EngineError::new(Kind::InvalidState, text).with_hint(format!(
            "shut it down first (lodge shutdown {name}); --force changes the machine id all the same, and nothing else"
        )));
    }
    if wish.operations.is_some()
        || wish.hostname.is_some()
        || wish.private_keys != PrivateKeys::Keep
        || wish.dry_run
    {
        let text = format!("domain `{name}` runs: nothing but its machine id can be changed");
        return Err(EngineError::new(Kind::InvalidState, text).with_hint(format!("lodge shutdown {name}")));
    }
    Ok(())
}
