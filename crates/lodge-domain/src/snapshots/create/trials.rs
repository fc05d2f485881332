//! A snapshot of a guest that is off, failed, repeated, cancelled, panicked and crashed at every step and every note.

use std::path::PathBuf;
use std::sync::Arc;

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_model::snapshot::{DomainSnapshot, Location, SnapshotState};
use lodge_model::xml::WriteOptions;
use lodge_qemu::Capabilities;
use lodge_store::saga::Step;
use lodge_store::saga::testing::{Scenario, try_everything};
use serde_json::Value;

use super::super::inside::Nodes;
use super::super::overlay::{Overlay, put_in};
use super::super::records::Records;
use super::steps::{Plan, Taking, Way, steps};
use crate::domains::{DomainsConfig, Shared};
use crate::index::{Documents, Entry};
use crate::snapshot::Snapshot;
use crate::support::{World, config_with, has_qemu, qemu_img, tiny_with};

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
