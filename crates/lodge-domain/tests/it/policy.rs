//! What follows when the guest itself switches off, resets or crashes: a boot sector of a few bytes does it.

use std::time::Duration;

use lodge_domain::{
    DefineOptions, DestroyOptions, Domains, Handle, PowerOptions, StartOptions, Ticket, UndefineOptions,
};

use crate::support::{Listener, QEMU, World, has_qemu, state, until};

/// Writes 0x2000 to the PM control port of the PC: power off.
const POWER_OFF: &[u8] = &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4, 0xeb, 0xfd];
/// Pulses the reset line through the keyboard controller.
const RESET: &[u8] = &[0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd];
/// Tells pvpanic.
const PANIC: &[u8] = &[0xba, 0x05, 0x05, 0xb0, 0x01, 0xee, 0xf4, 0xeb, 0xfd];

async fn define(world: &World, domains: &Domains, code: &[u8], policies: &str) -> Handle {
    let mut sector = code.to_vec();
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(1_474_560, 0);
    let floppy = world.dir.path().join("floppy.img");
    std::fs::write(&floppy, sector).unwrap();
    let xml = format!(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>g</name>\
         <memory unit='MiB'>16</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>\
         <features><acpi/></features>{policies}<devices><emulator>{QEMU}</emulator>\
         <controller type='usb' model='none'/><memballoon model='none'/><panic model='isa'/></devices>\
         <qemu:commandline><qemu:arg value='-drive'/>\
         <qemu:arg value='file={},format=raw,if=floppy'/><qemu:arg value='-boot'/><qemu:arg value='a'/>\
         </qemu:commandline></domain>",
        floppy.display()
    );
    domains.define(&xml, DefineOptions::default()).await.unwrap()
}

async fn start(guest: &Handle) {
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_powers_off_is_off() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let mut listener = Listener::new(&domains);
    let guest = define(&world, &domains, POWER_OFF, "").await;
    let before = world.leavings();
    start(&guest).await;
    listener.wait_for("shutdown guest").await;
    listener.wait_for("stopped shutdown").await;
    assert_eq!(state(&guest), "shut off (shutdown)");
    assert_eq!(world.leavings(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_off_while_no_daemon_is_there_is_told_by_the_next() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = define(&world, &domains, POWER_OFF, "").await;
    guest.start(StartOptions { paused: true, ..StartOptions::default() }, Ticket::default()).await.unwrap();
    let pid = guest.snapshot().vmm.clone().unwrap().process;
    domains.close(Duration::from_secs(5)).await;
    drop(guest);
    // Let it run on behind everybody's back.
    let dir = std::fs::read_dir(world.root().guests()).unwrap().next().unwrap().unwrap().path();
    let monitor =
        lodge_qemu::qmp::Monitor::connect(&dir.join("monitor.sock"), Duration::from_secs(10)).await.unwrap();
    let mut events = monitor.events();
    monitor.cont().await.unwrap();
    while events.recv().await.unwrap().name != "SHUTDOWN" {}
    drop((events, monitor));
    assert!(pid.alive());
    let domains = world.open().await;
    let guest = domains.find("g").unwrap();
    until(&guest, "off", |view| !view.is_active()).await;
    assert_eq!(state(&guest), "shut off (shutdown)");
    assert!(world.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_poweroff_restart_boots_again() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let mut listener = Listener::new(&domains);
    let guest = define(&world, &domains, POWER_OFF, "<on_poweroff>restart</on_poweroff>").await;
    start(&guest).await;
    let pid = guest.snapshot().vmm.clone().unwrap().process;
    for _ in 0..2 {
        listener.wait_for("resumed unpaused").await;
    }
    assert_eq!(guest.snapshot().vmm.clone().unwrap().process, pid, "the same QEMU boots again");
    guest.destroy(DestroyOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_resets_goes_on_or_ends_by_its_policy() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let mut listener = Listener::new(&domains);
    let guest = define(&world, &domains, RESET, "").await;
    start(&guest).await;
    listener.wait_for("reboot ").await;
    assert!(guest.snapshot().is_active());
    guest.destroy(DestroyOptions::default()).await.unwrap();
    guest.undefine(UndefineOptions::default()).await.unwrap();
    let guest = define(&world, &domains, RESET, "<on_reboot>destroy</on_reboot>").await;
    start(&guest).await;
    listener.wait_for("stopped shutdown").await;
    assert!(!guest.snapshot().is_active());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_panics_ends_or_is_kept_by_its_policy() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let mut listener = Listener::new(&domains);
    let guest = define(&world, &domains, PANIC, "<on_crash>destroy</on_crash>").await;
    start(&guest).await;
    listener.wait_for("crashed panicked").await;
    listener.wait_for("stopped crashed").await;
    guest.undefine(UndefineOptions::default()).await.unwrap();
    let guest = define(&world, &domains, PANIC, "<on_crash>preserve</on_crash>").await;
    start(&guest).await;
    listener.wait_for("crashed panicked").await;
    until(&guest, "crashed", |_| state(&guest) == "crashed (panicked)").await;
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert_eq!(state(&guest), "shut off (destroyed)");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_and_reboot_ask_and_do_not_wait() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = define(&world, &domains, &[0xf4, 0xeb, 0xfd], "").await;
    start(&guest).await;
    guest.shutdown(PowerOptions::default()).await.unwrap();
    guest.reboot(PowerOptions::default()).await.unwrap();
    let agent = PowerOptions { modes: vec![lodge_domain::PowerMode::Agent] };
    assert!(guest.shutdown(agent).await.unwrap_err().to_string().contains("no guest agent channel"));
    assert!(guest.snapshot().is_active(), "firmware does not listen to the power button");
    guest.destroy(DestroyOptions::default()).await.unwrap();
}
