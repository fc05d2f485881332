//! An emulated TPM: made once, served as long as the guest runs, gone with it; a daemon and swtpm killed in between.

use std::path::PathBuf;
use std::time::Duration;

use lodge_domain::{
    CreateOptions, DefineOptions, DestroyOptions, Domains, Handle, StartOptions, Ticket, UndefineOptions,
};
use lodge_model::Kind;
use lodge_sys::process::{Identity, Process};
use serde_json::Value;

use crate::support::{World, has_qemu, has_swtpm, state, tiny_with};

const UUID: &str = "7b1f0f3a-2c36-4f0e-9d0e-6a53c1f0a001";

fn with_tpm(name: &str, backend: &str) -> String {
    let tpm = format!("<tpm model='tpm-crb'><backend type='emulator' {backend}</backend></tpm>");
    tiny_with(name, &format!("<uuid>{UUID}</uuid>"), &tpm).replace("machine='pc'", "machine='q35'")
}

fn of_guest(world: &World) -> PathBuf {
    world.root().swtpm_state(UUID.parse().unwrap())
}

/// How often a TPM was made.
fn times_made(world: &World, name: &str) -> usize {
    let log = world.root().swtpm_logs().join(format!("{name}-swtpm.log"));
    std::fs::read_to_string(log).unwrap_or_default().matches("Starting vTPM manufacturing").count()
}

async fn start(guest: &Handle) {
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
}

async fn tpms(guest: &Handle) -> Value {
    guest.monitor().unwrap().execute::<Value>("query-tpm", ()).await.unwrap()
}

/// The pid of the guest's swtpm.
fn swtpm(world: &World) -> Option<Identity> {
    let mut found = world.processes().into_iter().filter(|(_, name)| name == "swtpm");
    let (pid, _) = found.next()?;
    assert!(found.next().is_none());
    Identity::of(pid).unwrap()
}

async fn end(identity: Identity) {
    let process = Process::hold(identity).unwrap().unwrap();
    process.kill().unwrap();
    tokio::time::timeout(Duration::from_secs(20), process.ended()).await.unwrap().unwrap();
}

async fn defined(domains: &Domains, backend: &str) -> Handle {
    domains.define(&with_tpm("vault", backend), DefineOptions::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_is_made_once_and_served_while_the_guest_runs() {
    if !has_qemu() || !has_swtpm() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = defined(&domains, "version='2.0'><active_pcr_banks><sha384/></active_pcr_banks>").await;
    let before = world.leavings();
    start(&guest).await;
    let seen = tpms(&guest).await;
    assert_eq!((&seen[0]["model"], &seen[0]["options"]["type"]), (&"tpm-crb".into(), &"emulator".into()));
    assert!(of_guest(&world).join("tpm2/tpm2-00.permall").exists() && swtpm(&world).is_some());
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(world.processes().is_empty() && world.cgroups().is_empty());
    start(&guest).await;
    assert_eq!(times_made(&world, "vault"), 1);
    let log = std::fs::read_to_string(world.root().swtpm_logs().join("vault-swtpm.log")).unwrap();
    assert!(log.contains("Successfully activated PCR banks sha384"), "{log}");
    guest.destroy(DestroyOptions::default()).await.unwrap();

    let kept = UndefineOptions { keep_tpm: true, ..UndefineOptions::default() };
    guest.undefine(kept).await.unwrap();
    assert!(of_guest(&world).exists());
    let guest = defined(&domains, "version='2.0'>").await;
    let dry = UndefineOptions { dry_run: true, ..UndefineOptions::default() };
    let going = guest.undefine(dry).await.unwrap();
    assert!(going.files.iter().any(|file| file.what == "TPM" && file.path == of_guest(&world)), "{going:?}");
    assert!(of_guest(&world).exists());
    guest.undefine(UndefineOptions::default()).await.unwrap();
    let _again = defined(&domains, "version='2.0'>").await;
    assert_eq!(world.leavings(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_the_daemons_nor_swtpms_end_takes_the_guest_along() {
    if !has_qemu() || !has_swtpm() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = defined(&domains, "version='2.0'>").await;
    start(&guest).await;
    let first = swtpm(&world).unwrap();
    domains.close(Duration::from_secs(5)).await;
    drop(guest);

    let domains = world.open().await;
    let guest = domains.find("vault").unwrap();
    assert_eq!(state(&guest), "running (booted)");
    assert_eq!(swtpm(&world), Some(first));
    end(first).await;
    assert_eq!(state(&guest), "running (booted)");
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(world.processes().is_empty() && world.cgroups().is_empty());

    // QEMU ends while no daemon is there, and cannot tell swtpm so.
    start(&guest).await;
    let helper = swtpm(&world).unwrap();
    let qemu = guest.snapshot().vmm.clone().unwrap().process;
    domains.close(Duration::from_secs(5)).await;
    drop(guest);
    rustix::process::kill_process(pid_of(helper), rustix::process::Signal::STOP).unwrap();
    end(qemu).await;
    assert_eq!(swtpm(&world), Some(helper));
    let domains = world.open().await;
    assert_eq!(state(&domains.find("vault").unwrap()), "shut off (crashed)");
    assert!(world.processes().is_empty() && world.cgroups().is_empty());
    assert_eq!(times_made(&world, "vault"), 1);
}

fn pid_of(identity: Identity) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(i32::try_from(identity.pid).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_opens_the_state_and_stands_in_no_argument() {
    if !has_qemu() || !has_swtpm() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let secret = format!("version='2.0'><encryption secret='{UUID}'/>");
    let guest = defined(&domains, &secret).await;
    start(&guest).await;
    let passphrase = String::from_utf8_lossy(crate::support::PASSPHRASE).into_owned();
    let arguments = std::fs::read(format!("/proc/{}/cmdline", swtpm(&world).unwrap().pid)).unwrap();
    let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
    assert!(arguments.contains("--key pwdfd=") && !arguments.contains(&passphrase), "{arguments}");
    guest.destroy(DestroyOptions::default()).await.unwrap();
    start(&guest).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    // Without it the state is of no use, and the start says who says so.
    let guest = defined(&domains, "version='2.0'>").await;
    let before = world.leavings();
    let refused = guest.start(StartOptions::default(), Ticket::default()).await.unwrap_err();
    let text = lodge_domain::chain(&refused);
    assert!(text.contains("tpm-emulator"), "{text}");
    assert_eq!(world.leavings(), before);
    let guest = defined(&domains, &secret).await;
    world.fakes.fail(Some("passphrase"));
    let refused = guest.start(StartOptions::default(), Ticket::default()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound);
    world.fakes.fail(None);
    assert_eq!(world.leavings(), before);
    start(&guest).await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tpm_of_a_guest_without_a_definition_goes_with_it_unless_it_persists() {
    if !has_qemu() || !has_swtpm() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let before = world.leavings();
    let brief = |backend: &'static str| {
        let domains = domains.clone();
        async move {
            let xml = with_tpm("vault", backend).replace("tpm-crb", "tpm-tis");
            let guest = domains.create(&xml, CreateOptions::default(), Ticket::default()).await.unwrap();
            guest.destroy(DestroyOptions::default()).await.unwrap();
        }
    };
    brief("version='1.2' persistent_state='yes'>").await;
    assert!(of_guest(&world).join("tpm1.2/tpm-00.permall").exists());
    brief("version='1.2'>").await;
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while world.leavings() != before {
        assert!(std::time::Instant::now() < deadline, "{} is not {before}", world.leavings());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_goes_where_the_document_has_it() {
    if !has_qemu() || !has_swtpm() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    for (kind, place) in [("dir", "elsewhere/dir"), ("file", "elsewhere/file")] {
        let path = world.dir.path().join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let backend = format!("version='2.0'><source type='{kind}' path='{}'/>", path.display());
        let guest = defined(&domains, &backend).await;
        let before = world.leavings();
        start(&guest).await;
        start_again(&guest).await;
        guest.destroy(DestroyOptions::default()).await.unwrap();
        let made = if kind == "dir" { path.join("tpm2-00.permall") } else { path.clone() };
        assert!(made.metadata().unwrap().len() > 0 && !of_guest(&world).exists());
        guest.undefine(UndefineOptions::default()).await.unwrap();
        let _again = defined(&domains, &backend).await;
        assert_eq!(world.leavings(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_no_tpm_that_it_made() {
    if !has_qemu() || !has_swtpm() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let broken = with_tpm("vault", "version='2.0'>").replace(crate::support::QEMU, "/bin/false");
    let guest = domains.define(&broken, DefineOptions::default()).await.unwrap();
    let before = world.leavings();
    let refused = guest.start(StartOptions::default(), Ticket::default()).await.unwrap_err();
    assert!(lodge_domain::chain(&refused).contains("QEMU ended"), "{refused}");
    assert_eq!((world.leavings(), times_made(&world, "vault")), (before.clone(), 1));
    // There a TPM cannot be made; what is in the way stays.
    let place = world.root().swtpm_state(UUID.parse().unwrap());
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(&place, "in the way").unwrap();
    let refused = guest.start(StartOptions::default(), Ticket::default()).await.unwrap_err();
    assert!(lodge_domain::chain(&refused).contains(&place.display().to_string()), "{refused}");
    assert_eq!(std::fs::read(&place).unwrap(), b"in the way");
    std::fs::remove_file(&place).unwrap();
    assert_eq!(world.leavings(), before);
}

async fn start_again(guest: &Handle) {
    guest.destroy(DestroyOptions::default()).await.unwrap();
    start(guest).await;
}
