//! A start with real QEMU, failed, repeated, cancelled, panicked and crashed at every step and every note.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_qemu::Capabilities;
use lodge_store::saga::testing::{MemoryLog, Scenario, try_everything};
use lodge_store::saga::{self, Step};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Launch, Plan, SAGA, steps, transient};
use crate::domains::{Domains, DomainsConfig, Shared};
use crate::support::{QEMU, World, config_with, has_qemu, has_swtpm, tiny, tiny_with};

/// The file of a guest's disk, in its world.
const DISK: &str = "disk.raw";

struct Start {
    capabilities: Capabilities,
    id: DomainId,
    document: Domain,
    /// QEMU, and what serves it.
    processes: usize,
    /// The state of its TPM, made beforehand: each of the many starts would look for primes.
    tpm: Option<tempfile::TempDir>,
}

struct Host {
    world: World,
    config: DomainsConfig,
    before: String,
}

impl Scenario for Start {
    type Context = Launch;
    type World = Host;

    fn world(&self) -> Host {
        let world = World::new();
        let config = config_with(world.dir.path(), self.capabilities.clone());
        if let Some(tpm) = &self.tpm {
            let dir = world.root().swtpm_state(self.id.0).join("tpm2");
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::copy(tpm.path().join("tpm2-00.permall"), dir.join("tpm2-00.permall")).unwrap();
            std::fs::write(dir.join(".lock"), "").unwrap();
        }
        std::fs::write(world.dir.path().join(DISK), [0; 4096]).unwrap();
        let before = world.leavings();
        Host { world, config, before }
    }

    fn steps(&self) -> Vec<Box<dyn Step<Launch>>> {
        steps()
    }

    fn context(&self, host: &Host, saved: Option<&Value>) -> Launch {
        let shared = Arc::new(Shared::new(host.config.clone(), host.world.fakes.ports()));
        let fresh = || Plan::new(&shared, &self.document, None, false, false);
        let plan = saved.map_or_else(fresh, |saved| serde_json::from_value(saved.clone()).unwrap());
        let mut launch = Launch::new(&shared, self.id, plan, self.document.clone());
        for disk in &mut launch.document.devices.disks {
            let path = host.world.dir.path().join(DISK).display().to_string();
            disk.source.get_or_insert_default().file = Some(path);
        }
        launch.plan.passing = transient::choose(&mut launch).unwrap();
        launch
    }

    fn is_done(&self, host: &Host) -> Result<(), String> {
        let processes = host.world.processes();
        let live = host.world.root().guest(self.id.0).join("live.xml");
        let held = host.world.fakes.0.lock().unwrap();
        let has_all =
            [&held.volumes, &held.devices, &held.nics, &held.seeds].iter().all(|set| set.contains(&self.id));
        let above = host.world.dir.path().join(format!("{DISK}.TRANSIENT-web1"));
        let has_file = above.exists() != self.document.devices.disks.is_empty();
        if processes.len() == self.processes && live.exists() && has_all && has_file {
            Ok(())
        } else {
            Err(format!("processes {processes:?}, live {}, held {held:?}", live.exists()))
        }
    }

    fn is_undone(&self, host: &Host) -> Result<(), String> {
        let after = host.world.leavings();
        if after == host.before { Ok(()) } else { Err(format!("before {} after {after}", host.before)) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_whole_whatever_happens() {
    if !has_qemu() {
        return;
    }
    let capabilities = Capabilities::probe(Path::new(QEMU), None).await.unwrap();
    let mut document = Domain::parse(&tiny("web1")).unwrap();
    let id = DomainId::random();
    document.uuid = Some(id);
    try_everything(&Start { capabilities, id, document, processes: 1, tpm: None }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_tpm_is_whole_whatever_happens() {
    if !has_qemu() || !has_swtpm() {
        return;
    }
    let capabilities = Capabilities::probe(Path::new(QEMU), None).await.unwrap();
    let tpm = "<tpm model='tpm-tis'><backend type='emulator' version='2.0'/></tpm>";
    let mut document = Domain::parse(&tiny_with("web1", "", tpm)).unwrap();
    let (id, state) = (DomainId::random(), tempfile::tempdir().unwrap());
    document.uuid = Some(id);
    let mut setup = std::process::Command::new("swtpm_setup");
    let made = setup.args(["--tpm2", "--tpm-state"]).arg(state.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    try_everything(&Start { capabilities, id, document, processes: 2, tpm: Some(state) }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_transient_disk_is_whole_whatever_happens() {
    if !has_qemu() {
        return;
    }
    let capabilities = Capabilities::probe(Path::new(QEMU), None).await.unwrap();
    let disk = "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/nonexistent'/>\
                <target dev='vda' bus='virtio'/><transient/></disk>";
    let mut document = Domain::parse(&tiny_with("web1", "", disk)).unwrap();
    let id = DomainId::random();
    document.uuid = Some(id);
    try_everything(&Start { capabilities, id, document, processes: 1, tpm: None }).await.unwrap();
}

/// Says why a test is skipped, where there is no passt, or nothing that it could lead to.
fn has_passt() -> bool {
    let leads_out = std::fs::read_to_string("/proc/net/route")
        .is_ok_and(|routes| routes.lines().any(|route| route.split_whitespace().nth(1) == Some("00000000")));
    let there = lodge_sys::tool::find("passt").is_some() && leads_out;
    if !there {
        eprintln!("skipped: there is no passt, or no default route");
    }
    there
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_passt_is_whole_whatever_happens() {
    if !has_qemu() || !has_passt() {
        return;
    }
    let capabilities = Capabilities::probe(Path::new(QEMU), None).await.unwrap();
    let card = "<interface type='user'><mac address='52:54:00:00:00:01'/><backend type='passt'/>\
                <model type='e1000'/></interface>";
    let mut document = Domain::parse(&tiny_with("web1", "", card)).unwrap();
    let id = DomainId::random();
    document.uuid = Some(id);
    try_everything(&Start { capabilities, id, document, processes: 2, tpm: None }).await.unwrap();
}

/// The guest runs and the note that its start is over never came to the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_tied_guest_goes_also_when_the_end_of_its_start_was_not_noted() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let config = world.config().await;
    let before = world.leavings();
    {
        let shared = Arc::new(Shared::new(config.clone(), world.fakes.ports()));
        let (mut document, id) = (Domain::parse(&tiny("web1")).unwrap(), DomainId::random());
        document.uuid = Some(id);
        let mut plan = Plan::new(&shared, &document, None, false, true);
        plan.autodestroy = true;
        let mut launch = Launch::new(&shared, id, plan, document);
        saga::begin(config.store.db(), SAGA, &id.to_string(), None, &launch).await.unwrap();
        let mut elsewhere = MemoryLog::default();
        saga::drive(&steps(), &mut launch, &mut elsewhere, &CancellationToken::new()).await.unwrap();
    }
    assert_eq!(world.processes().len(), 1);
    let domains = Domains::open(config, world.fakes.ports()).await.unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while !domains.list().is_empty() {
        assert!(Instant::now() < deadline, "the guest outlived its caller");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.leavings(), before);
}
