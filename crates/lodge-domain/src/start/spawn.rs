//! The step that starts QEMU, and its taking back.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lodge_model::Kind;
use lodge_qemu::LaunchSpec;
use lodge_store::saga::{Failure, Step};
use lodge_sys::process::{Process, boot_id};

use super::advice::Advice;
use super::certificates::Passphrases;
use super::devices::ClaimDevices;
use super::gather::{Draft, Gathered};
use super::helpers::StartHelpers;
use super::places::{self, Chains};
use super::steps::{
    AttachNics, ClaimVolumes, LIVE, Launch, MONITOR_PATIENCE, Running, STARTING_UP, Seed, WriteSeed,
};
use super::{file_failure, live, remove_file, served};
use crate::define::blocking;
use crate::record::{Record, replace, unix_ms};
use crate::stop;
use crate::vmm::{BOOT_XML, LIVE_XML};

/// Starts QEMU, its processors held, and waits for its monitor.
pub(super) struct Spawn;

#[async_trait]
impl Step<Launch> for Spawn {
    fn name(&self) -> &'static str {
        "spawn"
    }

    async fn run(&self, launch: &mut Launch) -> Result<(), Failure> {
        if launch.running.is_some() || launch.find_running().await {
            return Ok(());
        }
        // After a crash the descriptors are gone with the daemon that held them.
        if launch.disks.is_none() {
            ClaimVolumes.run(launch).await?;
        }
        if launch.devices.is_none() {
            ClaimDevices.run(launch).await?;
        }
        if launch.nics.is_none() {
            AttachNics.run(launch).await?;
        }
        if launch.seed == Seed::NotAsked {
            WriteSeed.run(launch).await?;
        }
        if launch.helpers.is_none() {
            StartHelpers.run(launch).await?;
        }
        spawn(launch).await
    }

    async fn undo(&self, launch: &mut Launch) -> Result<(), Failure> {
        launch.running = None;
        launch.ports.clear();
        clear_leftovers(launch).await?;
        for path in std::mem::take(&mut launch.plan.made) {
            remove_file(path.clone()).await.map_err(|error| file_failure("remove", &path, &error))?;
        }
        Ok(())
    }
}

/// Ends whatever runs under this guest's name, and removes its cgroup and directory.
pub(super) async fn clear_leftovers(launch: &Launch) -> Result<(), Failure> {
    let root = launch.shared.config.store.root();
    let (dir, relative) = (root.guest(launch.id.0), stop::cgroup_of(&launch.shared, launch.id));
    // The directory comes first and goes last: without it there is nothing.
    if !dir.exists() {
        return Ok(());
    }
    let stuck = |error: &dyn std::error::Error| Failure::of(Kind::Unavailable, error);
    lodge_qemu::kill_noted(&dir).await.map_err(|error| stuck(&error))?;
    let members = {
        let relative = relative.clone();
        blocking(move || stop::strays(&relative, &dir)).await
    };
    for process in members.map_err(|error| stuck(&error))? {
        stop::kill(&process, Duration::ZERO).await;
    }
    stop::remove_run(&launch.shared, launch.id).await.map_err(|(what, error)| {
        Failure::new(crate::error::io_kind(&error), format!("cannot remove the guest's {what}: {error}"))
    })
}

/// Opens and reserves on a thread that may block: a stuck file server delays this guest only.
async fn gather(launch: &mut Launch) -> Result<Gathered, Failure> {
    let tls_passphrases = Passphrases::of(&launch.shared, &launch.document).await;
    let mut draft = Draft {
        shared: Arc::clone(&launch.shared),
        id: launch.id,
        incoming: launch.plan.restore.is_some(),
        reset_nvram: launch.plan.reset_nvram,
        document: std::mem::take(&mut launch.document),
        disks: launch.disks.take().unwrap_or_default(),
        variables: launch.variables.take(),
        passing: launch.plan.passing.clone(),
        passphrases: std::mem::take(&mut launch.passphrases),
        devices: launch.devices.take().unwrap_or_default(),
        nics: launch.nics.take().unwrap_or_default(),
        seed: launch.seed.clone(),
        helpers: launch.helpers.take().unwrap_or_default(),
        ports: Vec::new(),
        tls_passphrases,
        advice: launch.advice.clone(),
    };
    let (draft, gathered) = blocking(move || {
        let gathered = draft.gather();
        (draft, gathered)
    })
    .await;
    launch.document = draft.document;
    launch.nics = Some(draft.nics);
    launch.ports = draft.ports;
    gathered
}

async fn spawn(launch: &mut Launch) -> Result<(), Failure> {
    let config = launch.shared.config.clone();
    lodge_qemu::assign_aliases(&mut launch.document);
    let chains = Chains::of(launch.disks.as_deref());
    launch.advice = Advice::of(&launch.document).await?;
    let gathered = gather(launch).await?;
    let dir = config.store.root().guest(launch.id.0);
    let spec = LaunchSpec {
        binary: gathered.binary,
        id: launch.id,
        directory: dir.clone(),
        command_line: gathered.command_line,
        descriptors: gathered.descriptors,
        accelerator: gathered.accelerator,
        credentials: gathered.credentials,
        cgroup: gathered.cgroup,
        limited: gathered.limited,
        processors: gathered.processors,
        patience: config.speed.scale(MONITOR_PATIENCE),
    };
    let accelerator = spec.accelerator.to_string();
    let started = SystemTime::now();
    let qemu = lodge_qemu::launch(spec).await.map_err(|error| {
        let hint = served::hint(&launch.document, &error).or_else(|| error.hint());
        Failure::of(error.kind(), &error).with_hint(hint)
    })?;
    // QEMU has its own copies of all descriptors now.
    launch.disks = Some(Vec::new());
    let gone = || Failure::new(Kind::Internal, "QEMU ended right after its monitor had answered");
    let process = Process::hold(qemu.identity()).ok().flatten().ok_or_else(gone)?;
    let identity = process.identity();
    let record = Record {
        domain: launch.id,
        name: launch.plan.name.clone(),
        domid: launch.plan.domid,
        pid: identity.pid,
        start_time: identity.start_time,
        boot_id: boot_id().unwrap_or_default(),
        started_ms: unix_ms(started),
        transient: launch.plan.transient,
        accelerator,
        accelerator_reason: gathered.accelerator_reason,
        warnings: gathered.warnings,
        console: None,
        displays: gathered.displays,
        agent: gathered.agent,
        state: STARTING_UP.virt(),
        autodestroy: launch.plan.autodestroy,
        reboot_wanted: false,
        taken: launch.taken.clone(),
    };
    // A next daemon may go on from here, and cannot ask for the interfaces' names again.
    chains.complete(&mut launch.document);
    places::channels(&mut launch.document, &dir, record.agent.as_deref());
    live::complete(&mut launch.document, &record, launch.nics.as_deref(), &launch.seed);
    let live = launch.document.to_xml(&LIVE);
    let written = replace(&dir.join(BOOT_XML), launch.plan.xml.as_bytes())
        .and_then(|()| replace(&dir.join(LIVE_XML), live.as_bytes()))
        .and_then(|()| record.write(&dir));
    written.map_err(|error| file_failure("write to", &dir, &error))?;
    launch.running = Some(Running { qemu, process, record });
    Ok(())
}
