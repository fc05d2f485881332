//! Changing what is there: the definition, the running guest, or both; and what is refused leaves both alone.

use lodge_domain::control::device::{Given, attach, detach, detach_alias};
use lodge_domain::control::vcpu::{self, iothread};
use lodge_domain::control::{Change, Scope, memory};
use lodge_domain::{DefineOptions, DestroyOptions, DomainError, Handle, StartOptions, Ticket, XmlOptions};

use crate::support::{World, has_qemu};

const BOTH: Scope = Scope { live: true, config: true };

/// A guest with room for a second processor, and a USB controller.
fn document() -> &'static str {
    "<domain type='qemu'><name>web1</name><memory unit='MiB'>64</memory><vcpu current='1'>2</vcpu>\
     <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>\
     <devices><controller type='usb' model='qemu-xhci'/></devices></domain>"
}

async fn refused(guest: &Handle, change: Change) -> String {
    match guest.change(change).await.unwrap_err() {
        DomainError::Refused(refusal) => refusal.text,
        other => panic!("another error: {other}"),
    }
}

async fn texts(guest: &Handle) -> (String, String) {
    let live = guest.xml(XmlOptions::default()).await.unwrap();
    let kept = guest.xml(XmlOptions { inactive: true, ..XmlOptions::default() }).await.unwrap();
    (live, kept)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_changed_and_what_is_refused_leaves_it_alone() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(document(), DefineOptions::default()).await.unwrap();
    let before = texts(&guest).await;
    assert_eq!(refused(&guest, memory::set(1024, Scope::LIVE)).await, "domain is not running");
    assert_eq!(
        refused(&guest, memory::set(99_999_999, Scope::CONFIG)).await,
        "cannot set memory higher than max memory"
    );
    assert_eq!(
        refused(&guest, vcpu::set_count(3, Scope::CONFIG)).await,
        "requested vcpus is greater than max allowable vcpus for the persistent domain: 3 > 2"
    );
    let none = "<disk type='file' device='disk'><target dev='vdz'/></disk>";
    assert_eq!(
        refused(&guest, detach(Given::parse(none).unwrap(), Scope::CONFIG)).await,
        "no target device vdz"
    );
    assert_eq!(texts(&guest).await, before);
    guest.change(memory::set(32 * 1024, Scope::default())).await.unwrap();
    guest.change(vcpu::set_count(2, Scope::default())).await.unwrap();
    guest.change(iothread::add(4, Scope::CONFIG)).await.unwrap();
    let kept = texts(&guest).await.1;
    for wanted in ["<currentMemory unit='KiB'>32768<", "<vcpu placement='static'>2<", "<iothread id='4'/>"] {
        assert!(kept.contains(wanted), "{wanted}: {kept}");
    }
    // Only a document that is kept survives the daemon.
    drop(guest);
    domains.close(std::time::Duration::from_secs(5)).await;
    let again = world.open().await.find("web1").unwrap();
    assert_eq!(texts(&again).await.1, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_guest_gets_devices_and_threads_and_loses_them() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(document(), DefineOptions::default()).await.unwrap();
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    guest.change(iothread::add(2, BOTH)).await.unwrap();
    let answer: serde_json::Value = guest.monitor().unwrap().execute("query-iothreads", ()).await.unwrap();
    assert_eq!(answer[0]["id"], "iothread2");
    assert!(refused(&guest, iothread::add(2, Scope::LIVE)).await.contains("already using iothread_id '2'"));
    guest.change(iothread::remove(2, BOTH)).await.unwrap();
    let mouse = || Given::parse("<input type='mouse' bus='usb'/>").unwrap();
    guest.change(attach(mouse(), BOTH)).await.unwrap();
    let (live, kept) = texts(&guest).await;
    assert!(kept.contains("<input type='mouse' bus='usb'>"), "{kept}");
    assert!(live.contains("<alias name='input"), "{live}");
    let sound = Given::parse("<sound model='ich6'/>").unwrap();
    assert_eq!(
        refused(&guest, attach(sound, Scope::LIVE)).await,
        "live attach of device 'sound' is not supported"
    );
    assert_eq!(
        refused(&guest, detach_alias("nope".to_owned(), Scope::LIVE)).await,
        "no device found with alias nope"
    );
    // USB asks no guest: the device is gone at once, and the document follows.
    guest.change(detach(mouse(), BOTH)).await.unwrap();
    let (live, kept) = texts(&guest).await;
    for text in [&live, &kept] {
        assert!(!text.contains("<input type='mouse' bus='usb'>"), "{text}");
    }
    guest.destroy(DestroyOptions::default()).await.unwrap();
}

#[test]
fn what_is_no_device_is_told() {
    let text = |xml: &str| Given::parse(xml).unwrap_err().text;
    assert_eq!(text("<nope/>"), "unknown device type 'nope'");
    assert!(text("").starts_with("at line 1: Document is empty"));
    // What would end our own frame is no device either.
    assert!(Given::parse("</devices></domain><domain><devices>").is_err());
    assert!(Given::parse("<disk type='file'><target dev='vda'/></disk><disk/>").is_err());
    assert!(Given::parse("<emulator>/bin/sh</emulator>").is_err());
}
