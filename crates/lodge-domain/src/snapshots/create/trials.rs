//! A snapshot of a guest that is off, failed, repeated, cancelled, panicked and crashed at every step and every note. And
//! what the next daemon does about its images.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_model::snapshot::{DomainSnapshot, Location, SnapshotState};
use lodge_model::xml::WriteOptions;
use lodge_qemu::Capabilities;
use lodge_store::saga::testing::{Scenario, try_everything};
use lodge_store::saga::{self, Step};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::super::inside::Nodes;
use super::super::overlay::{Overlay, put_in};
use super::super::records::Records;
use super::steps::{Plan, Taking, Way, steps};
use crate::domains::{DomainsConfig, Shared};
use crate::error::DomainError;
use crate::index::{Documents, Entry};
use crate::options::{DefineOptions, DestroyOptions, SnapshotCreateOptions, StartOptions, Ticket};
use crate::snapshot::Snapshot;
use crate::support::{World, config_with, has_qemu, qemu_img, state, tiny, tiny_with};

struct Take {
    way: Way,
    id: DomainId,
}

struct Host {
    world: World,
    config: DomainsConfig,
    before: String,
}

impl Take {
    fn image(host: &World) -> PathBuf {
        host.dir.path().join("web1.qcow2")
    }

    fn document(world: &World) -> Domain {
        let disk = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
             <target dev='vda' bus='virtio'/></disk>",
            Self::image(world).display()
        );
        Domain::parse(&tiny_with("web1", "", &disk)).unwrap()
    }

    fn plan(&self, world: &World) -> Plan {
        let document = Self::document(world);
        let mut snapshot = DomainSnapshot { name: Some("s1".to_owned()), ..DomainSnapshot::default() };
        snapshot.complete(1_700_000_000);
        snapshot.set_state(SnapshotState::Shutoff, Location::No);
        let mut tree = SnapshotTree::default();
        tree.insert(snapshot);
        tree.set_current(Some("s1"));
        let overlay = Overlay {
            target: "vda".to_owned(),
            path: world.dir.path().join("web1.s1"),
            backing: Self::image(world),
            backing_format: "qcow2".to_owned(),
            backing_encryption: None,
            encryption: None,
            node: 0,
        };
        let overlays = if self.way == Way::Files { vec![overlay] } else { Vec::new() };
        let mut after = document.clone();
        put_in(&mut after, &overlays, false);
        let records = Records::between("web1", &SnapshotTree::default(), &tree);
        Plan {
            name: "web1".to_owned(),
            snapshot: "s1".to_owned(),
            records: records.with_definition(&document, &after),
            way: self.way,
            images: if self.way == Way::Images { vec![Self::image(world)] } else { Vec::new() },
            keys: Vec::new(),
            nodes: Nodes::default(),
            overlays,
            reuse: false,
            memory: None,
            memory_xml: String::new(),
            was_running: false,
            holds: false,
            goes_on: false,
            socket: None,
        }
    }

    /// Everything a snapshot changes.
    fn look(world: &World) -> String {
        let inside = qemu_img(&["snapshot", "-l", Self::image(world).to_str().unwrap()]).unwrap();
        let inside = inside.lines().skip(2).filter_map(|line| line.split_whitespace().nth(1));
        let definition = std::fs::read_to_string(world.root().domains().join("web1.xml")).unwrap();
        format!(
            "files {:?} inside {:?} on {}",
            world.files(),
            inside.collect::<Vec<_>>(),
            definition.contains("web1.s1")
        )
    }
}

impl Scenario for Take {
    type Context = Taking;
    type World = Host;

    fn world(&self) -> Host {
        let world = World::new();
        let config = config_with(world.dir.path(), Capabilities::none(std::path::Path::new("qemu")));
        qemu_img(&["create", "-q", "-f", "qcow2", Self::image(&world).to_str().unwrap(), "1M"]).unwrap();
        let text = Self::document(&world).to_xml(&WriteOptions::STORED);
        config.store.domains().put("web1", &text).unwrap();
        let before = Self::look(&world);
        Host { world, config, before }
    }

    fn steps(&self) -> Vec<Box<dyn Step<Taking>>> {
        steps(&self.plan(&World::new()))
    }

    fn context(&self, host: &Host, saved: Option<&Value>) -> Taking {
        let shared = Arc::new(Shared::new(host.config.clone(), host.world.fakes.ports()));
        let fresh = || self.plan(&host.world);
        let plan = saved.map_or_else(fresh, |saved| serde_json::from_value(saved.clone()).unwrap());
        let entry = Entry::new(Snapshot::embryo(self.id, "web1"), Documents::default());
        Taking::new(&shared, &entry, plan, None)
    }

    fn is_done(&self, host: &Host) -> Result<(), String> {
        let look = Self::look(&host.world);
        let has = |what: &str| look.contains(what);
        let bytes = match self.way {
            Way::Files => has("web1.s1") && has("on true"),
            _ => has("inside [\"s1\"]"),
        };
        if bytes && has("snapshot/web1/s1.xml") { Ok(()) } else { Err(look) }
    }

    fn is_undone(&self, host: &Host) -> Result<(), String> {
        let after = Self::look(&host.world);
        if after == host.before { Ok(()) } else { Err(format!("before {} after {after}", host.before)) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_whole_whatever_happens() {
    if !has_qemu() {
        return;
    }
    for way in [Way::Images, Way::Files] {
        try_everything(&Take { way, id: DomainId::random() }).await.unwrap();
    }
}

/// Counts a cluster as used that nothing names, as an act that was cut off leaves it.
fn lose_a_cluster(image: &Path) {
    const CLUSTER: u64 = 65536;
    let file = std::fs::File::options().read(true).write(true).open(image).unwrap();
    let number = |at: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).unwrap();
        u64::from_be_bytes(bytes)
    };
    // qcow2's specification: the header's refcount_table_offset, the table's first entry, a block of 16-bit numbers.
    let block = number(number(48));
    let lost = file.metadata().unwrap().len().div_ceil(CLUSTER);
    file.write_all_at(&1_u16.to_be_bytes(), block + 2 * lost).unwrap();
    file.set_len((lost + 1) * CLUSTER).unwrap();
}

fn is_sound(image: &Path) -> bool {
    qemu_img(&["check", "-q", image.to_str().unwrap()]).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_looked_over_beside_all_else_after_an_act_that_was_cut_off() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let image = Take::image(&world);
    qemu_img(&["create", "-q", "-f", "qcow2", image.to_str().unwrap(), "1M"]).unwrap();
    let domains = world.open().await;
    let text = Take::document(&world).to_xml(&WriteOptions::STORED);
    let guest = domains.define(&text, DefineOptions::default()).await.unwrap();
    domains.define(&tiny("web2"), DefineOptions::default()).await.unwrap();
    // Its daemon was killed before anything of it was done but for this.
    let plan = Take { way: Way::Images, id: guest.id() }.plan(&world);
    let entry = Entry::new(Snapshot::embryo(guest.id(), "web1"), Documents::default());
    let taking = Taking::new(&domains.shared, &entry, plan, None);
    let db = domains.shared.config.store.db();
    saga::begin(db, super::SAGA, &guest.id().to_string(), None, &taking).await.unwrap();
    lose_a_cluster(&image);
    assert!(!is_sound(&image));
    drop((taking, guest));
    domains.close(Duration::from_secs(5)).await;

    let gate = Arc::new(Semaphore::new(0));
    world.fakes.0.lock().unwrap().mending = Some(Arc::clone(&gate));
    // Whoever breaks it off, the next daemon is at it again.
    for _ in 0..2 {
        let began = Instant::now();
        let domains = world.open().await;
        assert_eq!(domains.list().len(), 2);
        let [guest, other] = ["web1", "web2"].map(|name| domains.by_name(name).unwrap());
        assert_eq!((state(&guest).as_str(), guest.snapshots().len()), ("shut off (unknown)", 0));
        other.start(StartOptions::default(), Ticket::default()).await.unwrap();
        other.destroy(DestroyOptions::default()).await.unwrap();
        guest.set_autostart(true).await.unwrap();
        let soon = || Ticket { patience: Some(Duration::from_millis(50)), ..Ticket::default() };
        let told = guest.start(StartOptions::default(), soon()).await.unwrap_err();
        assert!(matches!(told, DomainError::LookedOver { .. }), "{told}");
        assert!(
            told.to_string().starts_with("cannot start domain `web1` yet: its disks are being looked over")
        );
        let xml = "<domainsnapshot><name>s2</name></domainsnapshot>".to_owned();
        let told = guest.create_snapshot(xml, SnapshotCreateOptions::default(), soon()).await.unwrap_err();
        assert!(matches!(told, DomainError::LookedOver { .. }), "{told}");
        domains.close(Duration::from_secs(5)).await;
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
    assert!(!is_sound(&image));
    let domains = world.open().await;
    let starting = tokio::spawn({
        let domains = domains.clone();
        async move { domains.autostart().await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!starting.is_finished());
    gate.add_permits(1);
    let failed = starting.await.unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    let guest = domains.by_name("web1").unwrap();
    assert_eq!(state(&guest), "running (booted)");
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(is_sound(&image));
    assert!(saga::open_sagas(domains.shared.config.store.db()).await.unwrap().is_empty());
    domains.close(Duration::from_secs(5)).await;
}
