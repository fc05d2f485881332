//! Devices of the host's in a guest's life: asked for at a start, kept by the next daemon, given back at the end.

use lodge_domain::control::Scope;
use lodge_domain::control::device::{Given, attach, detach};
use lodge_domain::{DefineOptions, DestroyOptions, DomainError, Handle, StartOptions, Ticket, XmlOptions};

use crate::support::{World, has_qemu, state};

const OPTIONAL: &str = "<hostdev mode='subsystem' type='usb'><source startupPolicy='optional'><vendor id='0x0951'/>\
                        <product id='0x1666'/></source></hostdev>";

fn document(devices: &str) -> String {
    format!(
        "<domain type='qemu'><name>web1</name><memory unit='MiB'>64</memory>\
         <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>\
         <devices><controller type='usb' model='qemu-xhci'/>{devices}</devices></domain>"
    )
}

async fn refused(guest: &Handle, change: lodge_domain::control::Change) -> String {
    match guest.change(change).await.unwrap_err() {
        DomainError::Refused(refusal) => refusal.text,
        other => panic!("another error: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_has_of_the_host_is_its_own_until_it_ends() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let domains = world.open().await;
    let guest = domains.define(&document(OPTIONAL), DefineOptions::default()).await.unwrap();
    guest.start(StartOptions::default(), Ticket::default()).await.unwrap();
    let live = guest.xml(XmlOptions::default()).await.unwrap();
    assert!(live.contains("<source startupPolicy='optional' missing='yes'>"), "{live}");
    let warnings = guest.snapshot().vmm.as_ref().unwrap().warnings.clone();
    assert!(warnings.iter().any(|warning| warning.contains("starts without it")), "{warnings:?}");
    let kept = guest.xml(XmlOptions { inactive: true, ..XmlOptions::default() }).await.unwrap();
    assert!(!kept.contains("missing"), "{kept}");

    let another = || Given::parse(&OPTIONAL.replace("0x1666", "0x1667")).unwrap();
    let text = refused(&guest, attach(another(), Scope::LIVE)).await;
    assert!(text.contains("devices of the host's cannot be hot plugged yet"), "{text}");
    let text = refused(&guest, detach(Given::parse(OPTIONAL).unwrap(), Scope::LIVE)).await;
    assert_eq!(text, "live detach of device 'hostdev' is not supported");
    let keys = Given::parse("<input type='evdev'><source dev='/dev/input/event1'/></input>").unwrap();
    let text = refused(&guest, attach(keys, Scope::LIVE)).await;
    assert!(text.contains("cannot be hot plugged yet"), "{text}");
    let keyboard = Given::parse("<input type='keyboard' bus='ps2'/>").unwrap();
    let text = refused(&guest, detach(keyboard, Scope::LIVE)).await;
    assert_eq!(text, "input device on bus 'ps2' cannot be detached");

    let id = guest.id();
    drop(guest);
    domains.close(std::time::Duration::from_secs(5)).await;
    world.fakes.0.lock().unwrap().devices.clear();
    let domains = world.open().await;
    assert!(world.fakes.0.lock().unwrap().devices.contains(&id), "a new daemon says what is in use");
    let guest = domains.find("web1").unwrap();
    assert_eq!(state(&guest), "running (booted)");
    guest.destroy(DestroyOptions::default()).await.unwrap();
    assert!(world.fakes.0.lock().unwrap().devices.is_empty());
}
