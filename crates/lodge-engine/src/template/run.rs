//! `lodge run TEMPLATE`: a linked clone with what was asked for laid over the template's document, seeded and started.

use lodge_api::{CloneSpec, DomainView, InstanceSpec, SeedSpec};
use lodge_domain::{self as verb, Ticket};
use lodge_model::{
    Bytes, Kind,
    domain::{Domain, cpu::Vcpu, interface::InterfaceKind, memory::Memory},
    xml::WriteOptions,
};

use super::Template;
use crate::{
    Caller, Engine,
    clone::{plan::Plan, source::Source, steps},
    error::{EngineError, Result},
    job::JobHandle,
};

impl Engine {
    /// Makes and starts an instance of a template, within a job that is running.
    pub(crate) async fn run_template(
        &self,
        caller: &Caller,
        job: &JobHandle,
        name: String,
        spec: &InstanceSpec,
        template: Template,
    ) -> Result<DomainView> {
        if let Some(network) = &spec.network {
            self.see_network(network, !spec.no_start)?;
        }
        job.tell("cloning the template", None, &template.said());
        let source = Source::of_template(template)?;
        let clone = CloneSpec {
            source: source.said(),
            name: name.clone(),
            hostname: spec.hostname.clone(),
            ..CloneSpec::default()
        };
        let (plans, _reserved) = self.plan_clones(caller, &source, &clone).await?;
        let mut plan = plans.into_iter().next().ok_or_else(|| EngineError::new(Kind::Internal, "no plan"))?;
        lay_over(&mut plan, spec)?;
        self.refuse_small(&plan).await?;
        steps::make(&self.clone_parts(), plan, &job.cancel).await?;
        let handle = self.find_domain(&name)?;
        if !spec.no_start {
            job.tell("starting", None, "");
            let ticket = Ticket { cancel: job.cancel.clone(), ..Ticket::default() };
            if let Err(error) = handle.start(verb::StartOptions::default(), ticket).await {
                // As with images: of a run that failed nothing is left.
                let all = lodge_api::UndefineOptions {
                    nvram: true,
                    managed_save: true,
                    snapshots_metadata: true,
                    remove_all_storage: true,
                    ..lodge_api::UndefineOptions::default()
                };
                if let Err(left) = self.undefine(&handle, all).await {
                    tracing::error!(
                        domain = name,
                        error = &left as &dyn std::error::Error,
                        "not undefined again"
                    );
                }
                return Err(error.into());
            }
        }
        Ok(self.view_of(&handle))
    }
}

impl Engine {
    /// A disk smaller than what it stands on would have lost its end.
    async fn refuse_small(&self, plan: &Plan) -> Result<()> {
        for disk in &plan.disks {
            let Some(size) = disk.size else { continue };
            let least =
                self.storage.guest_length(&disk.from, disk.from_format, disk.encryption.is_some()).await?;
            if size < least {
                let text = format!("disk {} of the template has {least}, and {size} is less", disk.target);
                return Err(
                    EngineError::new(Kind::InvalidInput, text).with_hint("leave --disk out, or give more")
                );
            }
        }
        Ok(())
    }
}

/// What was asked for goes before what the template says.
fn lay_over(plan: &mut Plan, spec: &InstanceSpec) -> Result<()> {
    let mut document = Domain::parse(&plan.document)?;
    if let Some(kib) = spec.memory_kib {
        let size = Bytes(kib.saturating_mul(1024));
        document.memory = Memory { size, ..document.memory };
        document.current_memory = None;
    }
    if let Some(count) = spec.vcpus {
        // Topology and the like hold for the template's number.
        document.vcpu = Some(Vcpu { count, ..Vcpu::default() });
        if let Some(cpu) = document.cpu.as_deref_mut() {
            cpu.topology = None;
        }
    }
    if let Some(network) = &spec.network {
        let card = document.devices.interfaces.first_mut().ok_or_else(|| {
            EngineError::new(
                Kind::InvalidInput,
                "the template has no interface that a network could be given to",
            )
        })?;
        card.kind = InterfaceKind::Network;
        let source = card.source.get_or_insert_default();
        **source = lodge_model::domain::interface::InterfaceSource {
            network: Some(network.clone()),
            ..lodge_model::domain::interface::InterfaceSource::default()
        };
    }
    plan.document = document.to_xml(&WriteOptions::STORED);
    if let (Some(bytes), Some(disk)) = (spec.disk_bytes, plan.disks.first_mut()) {
        disk.size = Some(Bytes(bytes));
    }
    let is_asked = spec.user_data.is_some() || spec.hostname.is_some() || !spec.ssh_keys.is_empty();
    plan.seed = is_asked.then(|| SeedSpec {
        user_data: spec.user_data.clone(),
        ssh_keys: spec.ssh_keys.clone(),
        hostname: spec.hostname.clone(),
    });
    Ok(())
}
