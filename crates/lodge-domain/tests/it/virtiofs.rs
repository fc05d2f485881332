//! Directories that virtiofsd serves: started and ended with the guest, refused by name where something is missing.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_domain::{DefineOptions, DestroyOptions, Domains, Handle, StartOptions, Ticket, UndefineOptions};
use serde_json::Value;

use crate::support::{World, has_qemu, state, tiny_with};

fn guest(binary: &str, rest: &str, source: &str) -> String {
    let filesystem = format!(
        "<filesystem type='mount' accessmode='passthrough'><driver type='virtiofs' queue='512'/>\
         <binary path='{binary}'>{rest}</binary><source {source}/><target dir='share'/></filesystem>"
    );
    let memory = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>";
    tiny_with("share", memory, &filesystem).replace("machine='pc'", "machine='q35'")
}

async fn defined(domains: &Domains, xml: &str) -> Handle {
    domains.define(xml, DefineOptions::default()).await.unwrap()
}

async fn refused(guest: &Handle) -> String {
    let error = guest.start(StartOptions::default(), Ticket::default()).await.unwrap_err();
    lodge_domain::chain(&error)
}

/// A virtiofsd, if this machine has one: `LODGE_TEST_VIRTIOFSD`, or where Debian puts it.
fn virtiofsd() -> Option<PathBuf> {
    let named = std::env::var_os("LODGE_TEST_VIRTIOFSD").map(PathBuf::from);
    let usual = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"].map(PathBuf::from);
    let found = named.into_iter().chain(usual).find(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: there is no virtiofsd");
    }
    found
}

fn program(world: &World, script: &str) -> String {
    let path = world.dir.path().join("program");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_and_nothing_is_left() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let shared = world.dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let shared = format!("dir='{}'", shared.display());
    let failing = program(
        &world,
        "[ \"$1\" = --print-capabilities ] && echo '{\"type\": \"fs\"}' && exit\n\
                                   echo 'no such luck' >&2; exit 3",
    );
    let cases = [
        (
            guest("/nonexistent/virtiofsd", "", &shared),
            "virtiofsd binary '/nonexistent/virtiofsd' is not executable",
        ),
        (
            guest(&failing, "", "dir='/nonexistent'"),
            "the virtiofs export directory '/nonexistent' does not exist",
        ),
        (guest(&failing, "", &shared), "ended with exit status: 3: no such luck"),
        (guest(&failing, "", "socket='/nonexistent/fs.sock'"), "cannot connect to `/nonexistent/fs.sock`"),
        (
            guest(&failing, "", &shared).replace("</filesystem>", "<readonly/></filesystem>"),
            "filesystem[1]/readonly: ",
        ),
    ];
    for (xml, wanted) in cases {
        let guest = defined(&domains, &xml).await;
        let before = world.leavings();
        let said = refused(&guest).await;
        assert!(said.contains("/domain/devices/filesystem[1]") && said.contains(wanted), "{said}");
        let log = world.root().logs().join("share-fs0-virtiofsd.log");
        let _ = std::fs::remove_file(log);
        assert_eq!(world.leavings(), before);
        guest.undefine(UndefineOptions::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_served_while_the_guest_runs() {
    let Some(binary) = virtiofsd().filter(|_| has_qemu()) else { return };
    let world = World::new();
    let domains = world.open().await;
    let shared = world.dir.path().join("shared, too");
    std::fs::create_dir(&shared).unwrap();
    let rest = "<cache mode='none'/><sandbox mode='namespace'/><thread_pool size='2'/>";
    let xml = guest(&binary.display().to_string(), rest, &format!("dir='{}'", shared.display()));
    let guest = defined(&domains, &xml).await;
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    assert!(serves(&world), "{:?}", world.processes());
    let chardevs = guest.monitor().unwrap().execute::<Value>("query-chardev", ()).await.unwrap();
    let is_it = |chardev: &Value| chardev["label"] == "chr-vu-fs0";
    assert!(chardevs.as_array().unwrap().iter().any(is_it), "{chardevs}");
    domains.close(Duration::from_secs(5)).await;
    drop(guest);

    let domains = world.open().await;
    let guest = domains.find("share").unwrap();
    assert_eq!(state(&guest), "running (booted)");
    assert!(serves(&world));
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(world.processes().is_empty() && world.cgroups().is_empty());
    assert!(!Path::new(&world.root().guest(guest.id().0)).exists());
}

fn serves(world: &World) -> bool {
    world.processes().values().any(|name| name == "virtiofsd")
}
