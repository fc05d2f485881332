//! A clone and a template, failed, repeated, cancelled, panicked and crashed at every step and every note.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use lodge_api::{CloneSpec, PrivateKeys};
use lodge_store::saga::{
    Step,
    testing::{Scenario, try_everything},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    plan::Plan,
    steps::{Making, steps},
};
use crate::{Caller, Config, Engine, identity::inside::Wish};

const NVRAM: &[u8] = b"variables";

/// A root with the guest `web1`: a disk, UEFI variables, a seed.
struct Host {
    root: Arc<tempfile::TempDir>,
    engine: Engine,
    plan: Plan,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

struct Trial {
    is_template: bool,
    /// Its source's disks are frozen first, as a running guest's are. (The guest is off: what QEMU does is tried with it.)
    is_live: bool,
    /// Its trials are many more, and share one host.
    shared: tokio::sync::OnceCell<(Arc<tempfile::TempDir>, Engine)>,
    runtime: tokio::runtime::Handle,
}

impl Scenario for Trial {
    type Context = Making;
    type World = Host;

    fn world(&self) -> Host {
        let (is_template, is_live) = (self.is_template, self.is_live);
        self.within(async move {
            let new = || async {
                let root = tempfile::tempdir().unwrap();
                prepare(root.path());
                let engine = open_new(root.path()).await;
                (Arc::new(root), engine)
            };
            let (root, engine) =
                if is_live { self.shared.get_or_init(new).await.clone() } else { new().await };
            forget(&engine, root.path()).await;
            let caller = Caller::daemon();
            let mut source = engine.clone_source(&of("web1")).await.unwrap();
            if is_live {
                // In the words that it has after a snapshot too.
                let text = source.document.to_xml(&lodge_model::xml::WriteOptions::STORED);
                engine.domains.define(&text, lodge_domain::DefineOptions::default()).await.unwrap();
                source.live = Some(super::live::Live { with_memory: false, has_agent: false });
            }
            let mut plan = if is_template {
                let mut reserved = engine.reservations.open();
                engine
                    .plan_template(&caller, &source, ("web", PrivateKeys::Keep), &mut reserved)
                    .await
                    .unwrap()
            } else {
                let spec = CloneSpec { source: "web1".into(), name: "web2".into(), ..CloneSpec::default() };
                engine.plan_clones(&caller, &source, &spec).await.unwrap().0.remove(0)
            };
            // Reading disks needs the program itself; what lies inside is tried with it, from outside.
            plan.wish = Wish::Keep;
            let before = files(root.path());
            Host { root, engine, plan, before }
        })
    }

    fn steps(&self) -> Vec<Box<dyn Step<Making>>> {
        steps(self.is_template, self.is_live)
    }

    fn context(&self, host: &Host, saved: Option<&Value>) -> Making {
        let (parts, stop) = (host.engine.clone_parts(), CancellationToken::new());
        match saved {
            None => Making::new(&parts, host.plan.clone(), &stop),
            Some(saved) => Making::taken_up(&parts, serde_json::from_value(saved.clone()).unwrap(), &stop),
        }
    }

    fn is_done(&self, host: &Host) -> Result<(), String> {
        let after = files(host.root.path());
        let lost: Vec<_> =
            host.before.iter().filter(|(path, bytes)| after.get(*path) != Some(bytes)).collect();
        if !lost.is_empty() {
            return Err(format!(
                "the source has changed: {:?}",
                lost.iter().map(|(path, _)| path).collect::<Vec<_>>()
            ));
        }
        let made = host.plan.disks.iter().all(|disk| disk.to.exists());
        let variables = host.plan.nvram.as_ref().is_some_and(|(_, to)| std::fs::read(to).unwrap() == NVRAM);
        let known = self.known(host);
        if made && variables && known {
            Ok(())
        } else {
            Err(format!("{made} {variables} {known}: {:?}", after.keys()))
        }
    }

    fn is_undone(&self, host: &Host) -> Result<(), String> {
        let after = files(host.root.path());
        if after != host.before {
            return Err(format!("before {:?} after {:?}", host.before.keys(), after.keys()));
        }
        if self.known(host) { Err("it is known".to_owned()) } else { Ok(()) }
    }
}

/// Takes away what the trial before has made.
async fn forget(engine: &Engine, root: &Path) {
    for act in engine.store.db().identity_acts(None).await.unwrap() {
        engine.store.db().remove_identity_act(&act.id).await.unwrap();
    }
    let Ok(handle) = engine.domains.by_name("web2") else { return };
    let all = lodge_domain::UndefineOptions { nvram: true, ..lodge_domain::UndefineOptions::default() };
    handle.undefine(all).await.unwrap();
    engine.storage.discard_copy(&root.join("var/lib/libvirt/images/web2.img")).await.unwrap();
}

impl Trial {
    fn of(is_template: bool, is_live: bool) -> Self {
        let (shared, runtime) = (tokio::sync::OnceCell::new(), tokio::runtime::Handle::current());
        Self { is_template, is_live, shared, runtime }
    }

    fn within<T: Send>(&self, act: impl Future<Output = T> + Send) -> T {
        tokio::task::block_in_place(|| self.runtime.block_on(act))
    }

    /// The guest or the template is known, and the book has its one entry.
    fn known(&self, host: &Host) -> bool {
        self.within(async {
            let acts = host.engine.store.db().identity_acts(None).await.unwrap().len();
            let (guest, template) = (
                host.engine.domains.by_name("web2").is_ok(),
                host.engine.find_template("web").await.unwrap().is_some(),
            );
            let is_known = if self.is_template { template && !guest } else { guest && !template };
            assert_eq!(acts, usize::from(is_known), "entries of the book");
            is_known
        })
    }
}

/// Opens a new root. What an engine finds out about the host at its first opening is found out once for all trials.
async fn open_new(root: &Path) -> Engine {
    static FIRST: tokio::sync::OnceCell<tempfile::TempDir> = tokio::sync::OnceCell::const_new();
    let first = FIRST.get_or_init(|| async {
        let first = tempfile::tempdir().unwrap();
        open(first.path()).await.close().await;
        first
    });
    let first = first.await.path().to_owned();
    for below in ["var/cache/lodge", "var/lib/lodge"] {
        let (from, to) = (first.join(below), root.join(below));
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().flatten() {
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    }
    open(root).await
}

fn of(source: &str) -> CloneSpec {
    CloneSpec { source: source.into(), ..CloneSpec::default() }
}

async fn open(root: &Path) -> Engine {
    Engine::open(Config { root: Some(root.to_owned()), ..Config::default() }).await.unwrap()
}

fn prepare(root: &Path) {
    let (pool, nvram) = (root.join("var/lib/libvirt/images"), root.join("var/lib/libvirt/qemu/nvram"));
    let (domains, seeds) = (root.join("etc/libvirt/qemu"), root.join("var/lib/lodge/seeds"));
    for directory in [&pool, &nvram, &domains, &seeds] {
        std::fs::create_dir_all(directory).unwrap();
    }
    let disk = pool.join("web1.img");
    std::fs::write(&disk, vec![7; 64 << 10]).unwrap();
    std::fs::write(nvram.join("web1_VARS.fd"), NVRAM).unwrap();
    let id = "11111111-1111-4111-8111-111111111111";
    std::fs::write(
        seeds.join(format!("{id}.json")),
        r#"{"instance_id":"i","hostname":"web1","user_data":null,"ssh_keys":[]}"#,
    )
    .unwrap();
    let document = format!(
        "<domain type='qemu'><name>web1</name><uuid>{id}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>
          <os><type arch='x86_64'>hvm</type><loader readonly='yes' type='pflash'>/ovmf</loader>
            <nvram>{}</nvram></os><features><acpi/></features>
          <devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/>
            <target dev='vda' bus='virtio'/></disk>
          <interface type='user'><mac address='52:54:00:00:00:01'/></interface></devices></domain>",
        nvram.join("web1_VARS.fd").display(),
        disk.display(),
    );
    std::fs::write(domains.join("web1.xml"), document).unwrap();
}

/// Every file but the database and what the daemon writes of its own run.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut rest: Vec<PathBuf> = ["etc", "var/lib/libvirt", "var/lib/lodge/seeds", "var/lib/lodge/images"]
        .iter()
        .map(|below| root.join(below))
        .collect();
    while let Some(directory) = rest.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                rest.push(entry.path());
            } else {
                found.insert(entry.path(), std::fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_whole_or_gone_and_its_source_untouched() {
    try_everything(&Trial::of(false, false)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_whole_or_gone_and_its_source_untouched() {
    try_everything(&Trial::of(true, false)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_frozen_is_as_before_whatever_became_of_its_clone() {
    try_everything(&Trial::of(false, true)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_another_made_meanwhile_stay() {
    let trial = Trial::of(false, false);
    for at in 0..2 {
        let host = trial.world();
        let (disk, variables) = (&host.plan.disks[0].to, &host.plan.nvram.as_ref().unwrap().1);
        let (foreign, own) = if at == 0 { (disk, variables) } else { (variables, disk) };
        std::fs::write(foreign, b"another's").unwrap();
        let (parts, stop) = (host.engine.clone_parts(), CancellationToken::new());
        let error = super::steps::make(&parts, host.plan.clone(), &stop).await.unwrap_err();
        assert_eq!(error.kind(), lodge_model::Kind::Exists, "{error}");
        assert!(error.to_string().contains(&foreign.display().to_string()), "{error}");
        assert_eq!(std::fs::read(foreign).unwrap(), b"another's");
        assert!(!own.exists() && !trial.known(&host));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_taken_is_not_changed() {
    let trial = Trial::of(false, false);
    let host = trial.world();
    let (root, engine) = (&host.root, &host.engine);
    let taken = root.path().join("taken.img");
    std::fs::write(&taken, vec![9; 64 << 10]).unwrap();
    let spec = CloneSpec {
        source: "web1".into(),
        name: "web3".into(),
        files: vec![taken.display().to_string()],
        preserve_data: true,
        ..CloneSpec::default()
    };
    let source = engine.clone_source(&of("web1")).await.unwrap();
    let plan = engine.plan_clones(&Caller::daemon(), &source, &spec).await.unwrap().0.remove(0);
    let made = super::steps::make(&engine.clone_parts(), plan, &CancellationToken::new()).await.unwrap();
    assert_eq!(made.view.inside, lodge_api::InsideState::Kept);
    assert!(made.view.warnings.iter().any(|warning| warning.contains("lodge identity reset web3")));
    assert!(std::fs::read(&taken).unwrap() == vec![9; 64 << 10]);
}
