//! Instances: an image, a seed and a domain in one act.
//!
//! Whatever step fails, those before it are taken back: no disk, definition or seed of a failed run is left. Nor of one
//! that a crash cut off: the disk's path is noted before the disk is made, and the next daemon undoes what it finds.

use lodge_api::{
    DomainView, ImageBuild, InstanceRemoval, InstanceSpec, Job, SeedSpec, UndefineOptions, UndefineReport,
};
use lodge_domain::{self as verb, Handle, Ticket};
use lodge_model::xml::escaped;
use lodge_model::{DomainId, Kind};

mod network;

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
    job::JobHandle,
};

const MEMORY_KIB: u64 = 1 << 20;
const VCPUS: u32 = 2;
const DISK_BYTES: u64 = 10 << 30;
/// The job's kind.
const RUN: &str = "instance.run";

impl Engine {
    /// Makes and starts an instance; the job's result is a `DomainView`.
    #[crate::boxed]
    pub async fn run_instance(&self, caller: &Caller, spec: InstanceSpec) -> Result<Job> {
        caller.may_change()?;
        let name = match &spec.name {
            Some(name) => name.clone(),
            None => self.free_name(&spec.image),
        };
        if self.domains.find(&name).is_ok() {
            return Err(EngineError::new(Kind::Exists, format!("there is a domain `{name}` already"))
                .with_hint("choose another --name, or remove that one with `lodge rm`"));
        }
        let (engine, subject, owner) = (self.clone(), name.clone(), caller.clone());
        let act = |job| async move {
            let view = engine.make_instance(&owner, &job, name, spec).await?;
            Ok(serde_json::to_value(view).unwrap_or_default())
        };
        self.jobs.begin(caller, RUN, &subject, act).await
    }

    async fn make_instance(
        &self,
        caller: &Caller,
        job: &JobHandle,
        name: String,
        spec: InstanceSpec,
    ) -> Result<DomainView> {
        let (network, starts) = (spec.network.as_deref(), !spec.no_start);
        if self.image(caller, &spec.image).await.is_ok() {
            self.see_to_network(job, network, starts).await?;
        } else {
            if let Some(template) = self.find_template(&spec.image).await? {
                return self.run_template(caller, job, name, &spec, template).await;
            }
            crate::image::recipe(&spec.image)?;
            self.see_to_network(job, network, starts).await?;
            let build = ImageBuild { name: spec.image.clone(), force: false };
            self.build_here(job, &build).await?;
        }
        job.tell("cloning the image", None, &spec.image);
        self.note_disk(&name).await?;
        let disk_bytes = spec.disk_bytes.unwrap_or(DISK_BYTES);
        let volume =
            self.clone_into_pool(&spec.image, &name, Some(disk_bytes), spec.disk_bytes.is_none()).await?;
        let made = self.define_and_start(job, &name, &spec, &volume.path).await;
        if made.is_err() {
            self.discard_volume(&volume.path).await;
        }
        self.store.db().remove_value(&note_of(&name)).await?;
        made
    }

    /// Notes the disk that is about to be made, so that a crash leaves no orphan. A file that is there already is
    /// somebody's, and is never noted.
    async fn note_disk(&self, name: &str) -> Result<()> {
        let path = self.storage.volume_path(name, lodge_storage::Format::Qcow2)?;
        if path.exists() {
            let message = format!("the volume `{}` exists already", path.display());
            return Err(EngineError::new(Kind::Exists, message)
                .with_hint("choose another --name, or remove that file if nothing needs it"));
        }
        let path = path.display().to_string();
        Ok(self.store.db().set_value(&note_of(name), path.into_bytes()).await?)
    }

    /// Takes back what runs that were cut off by a crash had made. One that had come as far as a running guest stays.
    pub(crate) async fn undo_cut_instances(&self, cut: &[Job]) {
        for job in cut.iter().filter(|job| job.kind == RUN) {
            let undone = self.undo_cut_instance(&job.subject).await;
            match undone {
                Ok(()) => tracing::info!(job = job.id, domain = %job.subject, "cut run undone"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(job = job.id, domain = %job.subject, error, "cut run not undone");
                }
            }
        }
    }

    async fn undo_cut_instance(&self, name: &str) -> Result<()> {
        let Some(path) = self.store.db().value(&note_of(name)).await? else { return Ok(()) };
        match self.domains.find(name) {
            Ok(handle) if handle.snapshot().is_active() => {}
            Ok(handle) => {
                let all = UndefineOptions {
                    nvram: true,
                    tpm: true,
                    managed_save: true,
                    snapshots_metadata: true,
                    remove_all_storage: true,
                    ..UndefineOptions::default()
                };
                self.undefine(&handle, all).await?;
            }
            Err(_) => self.discard_volume(&String::from_utf8_lossy(&path)).await,
        }
        self.store.db().remove_value(&note_of(name)).await?;
        Ok(())
    }

    async fn define_and_start(
        &self,
        job: &JobHandle,
        name: &str,
        spec: &InstanceSpec,
        disk: &str,
    ) -> Result<DomainView> {
        let document = document(name, spec, disk);
        let handle = self.domains.define(&document, verb::DefineOptions::default()).await?;
        let started = self.seed_and_start(job, &handle, spec).await;
        if started.is_err() {
            let options = UndefineOptions { managed_save: true, nvram: true, ..UndefineOptions::default() };
            if let Err(error) = self.undefine(&handle, options).await {
                tracing::error!(
                    domain = name,
                    error = &error as &dyn std::error::Error,
                    "not undefined again"
                );
            }
        }
        started
    }

    async fn seed_and_start(
        &self,
        job: &JobHandle,
        handle: &Handle,
        spec: &InstanceSpec,
    ) -> Result<DomainView> {
        // Only the keys that were given: the daemon keeps no way into guests of its own.
        let seed = SeedSpec {
            user_data: spec.user_data.clone(),
            ssh_keys: spec.ssh_keys.clone(),
            hostname: spec.hostname.clone(),
        };
        self.keep_seed(handle.id(), &handle.name(), seed).await?;
        if !spec.no_start {
            job.tell("starting", None, "");
            let ticket = Ticket { cancel: job.cancel.clone(), ..Ticket::default() };
            handle.start(verb::StartOptions::default(), ticket).await?;
        }
        Ok(self.view_of(handle))
    }

    /// Removes an instance with all its files.
    #[crate::boxed]
    pub async fn remove_instance(
        &self,
        caller: &Caller,
        dom: &str,
        removal: InstanceRemoval,
    ) -> Result<UndefineReport> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        if handle.snapshot().is_active() && !removal.dry_run {
            if !removal.force {
                return Err(EngineError::new(Kind::InvalidState, format!("domain `{dom}` is running"))
                    .with_hint("shut it down first, or give --force"));
            }
            handle.destroy(verb::DestroyOptions::default()).await?;
        }
        if !handle.snapshot().persistent {
            return Ok(UndefineReport { domain: dom.to_owned(), ..UndefineReport::default() });
        }
        let options = UndefineOptions {
            nvram: true,
            tpm: true,
            managed_save: true,
            snapshots_metadata: true,
            remove_all_storage: true,
            dry_run: removal.dry_run,
            ..UndefineOptions::default()
        };
        self.undefine(&handle, options).await
    }

    /// `debian-12-1`, `debian-12-2` …: the first that no domain has.
    fn free_name(&self, image: &str) -> String {
        // Of a template's `NAME:VERSION` a name of its own.
        let image = image.replace(':', "-");
        let free = (1_u32..).map(|number| format!("{image}-{number}"));
        let mut free = free.filter(|name| self.domains.find(name).is_err());
        free.next().unwrap_or_else(|| DomainId::random().to_string())
    }
}

/// Where the disk of a run under way is noted.
fn note_of(name: &str) -> String {
    format!("instance.run/{name}")
}

/// libvirt's document of an instance; what is not said here is completed as libvirt would.
fn document(name: &str, spec: &InstanceSpec, disk: &str) -> String {
    let (name, image, disk) = (escaped(name), escaped(&spec.image), escaped(disk));
    let network = escaped(spec.network.as_deref().unwrap_or(network::DEFAULT));
    let memory_kib = spec.memory_kib.unwrap_or(MEMORY_KIB);
    let cpus =
        std::thread::available_parallelism().map_or(VCPUS, |cpus| u32::try_from(cpus.get()).unwrap_or(VCPUS));
    let vcpus = spec.vcpus.unwrap_or(VCPUS.min(cpus));
    format!(
        "<domain type='kvm'>
  <name>{name}</name>
  <genid/>
  <metadata>
    <lodge:guest xmlns:lodge='{namespace}'>
      <lodge:image name='{image}'/>
    </lodge:guest>
  </metadata>
  <memory unit='KiB'>{memory_kib}</memory>
  <vcpu>{vcpus}</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/></os>
  <features><acpi/><apic/></features>
  <cpu mode='host-model' check='partial'/>
  <clock offset='utc'>
    <timer name='rtc' tickpolicy='catchup'/>
    <timer name='pit' tickpolicy='delay'/>
    <timer name='hpet' present='no'/>
  </clock>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='network'><source network='{network}'/><model type='virtio'/></interface>
    <serial type='pty'/>
    <console type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <memballoon model='virtio'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
",
        namespace = lodge_model::domain::lodge::NAMESPACE,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod tests {
    use std::path::Path;

    use lodge_store::{Root, Store};

    use super::*;
    use crate::Config;

    /// What a daemon that died at work on `name` has left: its job, the note of the disk, and the disk itself.
    async fn cut_off(store: &Store, name: &str) -> std::path::PathBuf {
        let disk = store.root().default_pool().join(format!("{name}.qcow2"));
        std::fs::create_dir_all(disk.parent().unwrap()).unwrap();
        let mut make = std::process::Command::new("qemu-img");
        let made = make.args(["create", "-q", "-f", "qcow2"]).arg(&disk).arg("1M").status();
        assert!(made.unwrap().success());
        store.db().begin_job(RUN, name, "uid 0").await.unwrap();
        let noted = disk.display().to_string().into_bytes();
        store.db().set_value(&note_of(name), noted).await.unwrap();
        disk
    }

    async fn reopened(root: &Path) -> Engine {
        let config = Config { root: Some(root.to_owned()), ..Config::default() };
        Engine::open(config).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_cut_off_run_had_made_is_taken_back() {
        if !Path::new("/usr/bin/qemu-img").exists() {
            eprintln!("skipped: there is no qemu-img");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&Root::at(dir.path()).unwrap()).unwrap();
        let disk_only = cut_off(&store, "disk-only").await;
        let defined = cut_off(&store, "defined").await;
        let spec = InstanceSpec { image: "debian-12".to_owned(), ..InstanceSpec::default() };
        let text = document("defined", &spec, &defined.display().to_string());
        let text = text.replace("<name>", "<uuid>11111111-2222-3333-4444-555555555501</uuid><name>");
        store.domains().put("defined", &text).unwrap();
        // No run was at work on this one.
        let other = store.root().default_pool().join("other.qcow2");
        std::fs::copy(&defined, &other).unwrap();
        drop(store);

        let engine = reopened(dir.path()).await;
        assert!(!disk_only.exists() && !defined.exists() && other.exists());
        assert!(engine.domains.find("defined").is_err());
        for name in ["disk-only", "defined"] {
            assert_eq!(engine.store.db().value(&note_of(name)).await.unwrap(), None);
        }
        engine.close().await;
    }
}
