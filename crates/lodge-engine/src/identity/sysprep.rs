//! What can be taken out of a machine, by virt-sysprep's names, and out of one that is no domain.

use lodge_api::{IdentityAct, ImageSysprep, Job, SysprepOperation};
use lodge_identity::{OPERATIONS, Operations, Step};
use lodge_model::Kind;
use lodge_storage::{Format, ImageFormat, Need};
use lodge_store::db::{identities::IdentityActRow, now_ms};

use super::{
    inside::{GuestDisk, Wish},
    log::act,
    steps,
};
use crate::{
    Caller, Engine,
    error::{EngineError, Result},
    job::JobHandle,
};

/// The disks of a machine that is no domain.
struct Machine {
    name: String,
    disks: Vec<GuestDisk>,
    warnings: Vec<String>,
}

impl Engine {
    /// All operations; one that cannot be done here says why.
    pub fn sysprep_operations(&self, _caller: &Caller) -> Vec<SysprepOperation> {
        let view = |operation: &lodge_identity::Operation| SysprepOperation {
            name: operation.name.to_owned(),
            is_default: operation.is_default,
            about: match operation.unsupported {
                None => operation.description.to_owned(),
                Some(why) => format!("{} (not supported: {why})", operation.description),
            },
        };
        let mut all: Vec<SysprepOperation> = OPERATIONS.iter().map(view).collect();
        // Those of the owner's rules.
        for rule in self.inside.catalogue().rules().filter(|rule| rule.origin.is_some()) {
            if all.iter().all(|known| known.name != rule.operation) {
                all.push(SysprepOperation { name: rule.operation, is_default: true, about: rule.what });
            }
        }
        all
    }

    /// Takes the identity out of a machine that lies on image files; the job's result is an `IdentityAct`.
    #[crate::boxed]
    pub async fn sysprep_images(&self, caller: &Caller, wish: ImageSysprep) -> Result<Job> {
        caller.may_change()?;
        let operations = self.parse_operations(&wish.operations)?;
        let users = (wish.keep_users.as_slice(), wish.remove_users.as_slice());
        let steps = steps::parse(&wish.steps, users, Some(&operations))?;
        let machine = self.machine_of(caller, &wish).await?;
        let (engine, owner, subject) = (self.clone(), caller.clone(), machine.name.clone());
        let work = |job: JobHandle| async move {
            let entry = engine.sysprep_machine(&owner, &job, machine, (&wish, operations, steps)).await?;
            Ok(serde_json::to_value(entry).unwrap_or_default())
        };
        self.jobs.begin(caller, "identity.sysprep", &subject, work).await
    }

    async fn machine_of(&self, caller: &Caller, wish: &ImageSysprep) -> Result<Machine> {
        if wish.disks.is_empty() {
            return Err(EngineError::new(Kind::InvalidInput, "no disk is named"));
        }
        let (mut disks, mut warnings): (Vec<GuestDisk>, _) = (Vec::new(), Vec::new());
        for (at, subject) in wish.disks.iter().enumerate() {
            let (path, format, warned) = self.meant_image(caller, subject).await?;
            warnings.extend(warned);
            let format = match format {
                ImageFormat::Raw => Format::Raw,
                ImageFormat::Qcow2 => Format::Qcow2,
                other => {
                    let text = format!("`{}` is {other}, which cannot be changed in place", path.display());
                    let next =
                        format!("make it qcow2 first: lodge image convert {} NEW.qcow2", path.display());
                    return Err(EngineError::new(Kind::Unsupported, text).with_hint(next));
                }
            };
            for need in self.storage.who_needs(&path).await? {
                if let Need::Defined { guest, .. } = &need {
                    let text = format!("`{}` is a disk of domain `{guest}`", path.display());
                    return Err(EngineError::new(Kind::Conflict, text).with_hint(format!(
                        "name the domain instead, so that all its disks are changed together: lodge sysprep -d {guest}"
                    )));
                }
            }
            if disks.iter().any(|disk| disk.path == path) {
                let text = format!("`{}` is named twice", path.display());
                return Err(EngineError::new(Kind::InvalidInput, text));
            }
            disks.push(GuestDisk { target: target_of(at), path, format, is_encrypted: false });
        }
        let names: Vec<String> = disks.iter().map(|disk| disk.path.display().to_string()).collect();
        Ok(Machine { name: names.join(", "), disks, warnings })
    }

    async fn sysprep_machine(
        &self,
        caller: &Caller,
        job: &JobHandle,
        machine: Machine,
        (wish, operations, steps): (&ImageSysprep, Operations, Vec<Step>),
    ) -> Result<IdentityAct> {
        let Machine { name, disks, warnings } = machine;
        job.tell("changing its disks", None, &name);
        let id = uuid::Uuid::new_v4().to_string();
        let (hostname, private_keys) = (wish.hostname.clone(), wish.private_keys);
        let wish_inside = Wish::Sysprep { operations, hostname, private_keys, steps };
        let mut report = if wish.dry_run {
            self.inside.foretell(&disks, &wish_inside).await?
        } else {
            let log = self.inside.log_of_images(&id, &disks)?;
            self.inside.change_standing(&name, &disks, &wish_inside, log.path()).await?
        };
        report.refuse_nothing(&name)?;
        report.warnings.extend(warnings);
        let row = IdentityActRow {
            id,
            time_ms: now_ms(),
            act: "sysprep".to_owned(),
            guest: String::new(),
            name,
            source: String::new(),
            caller: format!("uid {}", caller.uid),
            items: report.items(),
            warnings: serde_json::to_value(&report.warnings).unwrap_or_default(),
        };
        if !wish.dry_run {
            self.store.db().put_identity_act(row.clone()).await?;
            self.feed.publish("identity.sysprep", row.name.clone(), serde_json::json!({ "act": "sysprep" }));
            for disk in &disks {
                self.changed(&disk.path, "image.sysprepped").await;
            }
        }
        Ok(act(row))
    }
}

/// As a guest that has only these disks would call them: `vda`, `vdb`, … `vdaa`.
fn target_of(at: usize) -> String {
    let letter = |index: usize| char::from(b'a' + u8::try_from(index % 26).unwrap_or_default());
    match at / 26 {
        0 => format!("vd{}", letter(at)),
        more => format!("vd{}{}", letter(more - 1), letter(at)),
    }
}
