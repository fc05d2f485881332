//! A whole Debian guest in the seed's document: disk chain, agent, saving and restoring while it lives.
//! Takes a minute and an image: `LODGE_TEST_IMAGE=…/debian-12.qcow2 cargo test -p lodge-qemu -- --ignored guest`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lodge_qemu::agent::{Agent, AgentError, ShutdownMode};
use lodge_qemu::save_image::{SavedGuest, Saving};
use lodge_qemu::{
    Accelerator, Claims, Descriptors, FdNumber, LaunchSpec, Link, Stop, Vmm, command_line, launch,
};

use crate::cases::{Host, claims, parse};
use crate::documents::RHEL8;
use crate::probe::has_qemu;
use crate::real::{Real, capabilities, spec, with_user_network};

const LONG: Duration = Duration::from_mins(3);

fn chain(image: &Path, overlay: &Path, descriptors: &mut Descriptors) -> Vec<Link> {
    let mut open = |path: &Path, write: bool| -> FdNumber {
        descriptors.pass(std::fs::OpenOptions::new().read(true).write(write).open(path).unwrap())
    };
    vec![Link::file(open(overlay, true), "qcow2", false), Link::file(open(image, false), "qcow2", true)]
}

async fn started(dir: &Path, image: &Path, incoming: bool) -> Vmm {
    let domain = parse(&document());
    let known = capabilities().await;
    let base = spec(dir, &domain, &known);
    let mut real = Real { dir: dir.to_owned(), descriptors: Descriptors::default() };
    let mut claims: Claims = claims(&domain, Accelerator::Tcg, &mut real as &mut dyn Host);
    claims.disks.insert("vda".to_owned(), chain(image, &dir.join("overlay"), &mut real.descriptors));
    claims.incoming = incoming;
    let command_line = command_line(&domain, &known, &claims).unwrap();
    launch(LaunchSpec { command_line, descriptors: real.descriptors, ..base }).await.unwrap()
}

fn document() -> String {
    with_user_network(RHEL8).replace("KiB'>4194304", "KiB'>1048576")
}

async fn agent_up(agent: &Agent) {
    let begun = Instant::now();
    loop {
        match agent.ping(Duration::from_secs(3)).await {
            Ok(()) => return println!("agent answers after {:?}", begun.elapsed()),
            Err(error) => assert!(begun.elapsed() < LONG, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
#[ignore = "takes a minute and an image, named by LODGE_TEST_IMAGE"]
async fn a_debian_guest_lives_is_saved_restored_and_shut_down() {
    let (true, Some(image)) = (has_qemu(), std::env::var_os("LODGE_TEST_IMAGE").map(PathBuf::from)) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let overlay = dir.path().join("overlay");
    let mut create = Command::new("qemu-img");
    create.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]);
    assert!(create.arg(&image).arg(&overlay).status().unwrap().success());
    let vmm = started(dir.path(), &image, false).await;
    vmm.monitor().cont().await.unwrap();
    let agent = Agent::new(&dir.path().join("agent.sock"));
    agent_up(&agent).await;
    println!("{:?}", agent.os(LONG).await.unwrap());
    println!("{:?}", agent.timezone(LONG).await.unwrap());
    println!("{:?}", agent.interfaces(LONG).await.unwrap());
    let disks =
        agent.run("/bin/sh", &["-c", "lsblk -dno NAME,SIZE,RO; cat /proc/cmdline"], LONG).await.unwrap();
    println!("{}", String::from_utf8_lossy(&disks.stdout));
    assert!(String::from_utf8_lossy(&disks.stdout).starts_with("vda"), "the document's disk is the first");
    let boot_id = agent.read_file("/proc/sys/kernel/random/boot_id", 4096, LONG).await.unwrap();
    assert_eq!(boot_id.len(), 37);
    let endless = agent.read_file("/dev/zero", 1 << 20, LONG).await;
    assert!(matches!(endless, Err(AgentError::TooLong { .. })));

    let path = dir.path().join("guest.save");
    vmm.monitor().stop().await.unwrap();
    let begun = Instant::now();
    let saving = Saving::create(&path, &document(), true).unwrap();
    saving.take_memory(vmm.monitor(), |_| {}).await.unwrap();
    saving.finish().unwrap();
    println!("saved {} MiB in {:?}", std::fs::metadata(&path).unwrap().len() >> 20, begun.elapsed());
    vmm.stop(Stop::Kill).await.unwrap();

    let vmm = started(dir.path(), &image, true).await;
    let begun = Instant::now();
    SavedGuest::open(&path).unwrap().give_memory(vmm.monitor(), |_| {}).await.unwrap();
    vmm.monitor().cont().await.unwrap();
    println!("restored in {:?}", begun.elapsed());
    let agent = Agent::new(&dir.path().join("agent.sock"));
    agent_up(&agent).await;
    let again = agent.read_file("/proc/sys/kernel/random/boot_id", 4096, LONG).await.unwrap();
    assert_eq!(again, boot_id, "the same boot goes on");

    agent.shutdown(ShutdownMode::Powerdown, Duration::from_secs(5)).await.unwrap();
    let begun = Instant::now();
    while vmm.monitor().status().await.unwrap().status.as_str() != "shutdown" {
        assert!(begun.elapsed() < LONG, "the guest does not shut down");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("shut down in {:?}", begun.elapsed());
    vmm.stop(Stop::Quit(LONG)).await.unwrap();
}
