//! Saved guests to and from libvirt, by hand: libvirtd runs beside it, in namespaces of its own.
//!
//! `LODGE_XML=guest.xml LODGE_SAVE_TO=ours.save cargo test -p lodge-qemu -- --ignored exchange` saves a guest for
//! `virsh restore ours.save`; `LODGE_RESTORE=theirs.save` restores what `virsh save` wrote. Seen to work both ways
//! with libvirt 11.3 and QEMU 10.0.2.

use std::path::{Path, PathBuf};

use lodge_qemu::save_image::{SavedGuest, Saving};
use lodge_qemu::{Accelerator, Descriptors, LaunchSpec, Stop, Vmm, command_line, launch};

use crate::cases::{claims, parse};
use crate::real::{Real, capabilities, spec};

async fn started(dir: &Path, xml: &str, incoming: bool) -> Vmm {
    let domain = parse(xml);
    let known = capabilities().await;
    let base = spec(dir, &domain, &known);
    let mut real = Real { dir: dir.to_owned(), descriptors: Descriptors::default() };
    let mut claims = claims(&domain, Accelerator::Tcg, &mut real);
    claims.incoming = incoming;
    let command_line = command_line(&domain, &known, &claims).unwrap_or_else(|refusals| panic!("{refusals}"));
    launch(LaunchSpec { command_line, descriptors: real.descriptors, ..base }).await.unwrap()
}

#[tokio::test]
#[ignore = "needs a libvirtd beside it"]
async fn exchange_of_a_saved_guest_with_libvirt() {
    let dir = tempfile::tempdir().unwrap();
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if let (Some(xml), Some(to)) = (named("LODGE_XML"), named("LODGE_SAVE_TO")) {
        let xml = std::fs::read_to_string(xml).unwrap();
        let vmm = started(dir.path(), &xml, false).await;
        vmm.monitor().cont().await.unwrap();
        vmm.monitor().stop().await.unwrap();
        let saving = Saving::create(&to, &xml, true).unwrap();
        saving.take_memory(vmm.monitor(), |_| {}).await.unwrap();
        saving.finish().unwrap();
        vmm.stop(Stop::Kill).await.unwrap();
    }
    if let Some(from) = named("LODGE_RESTORE") {
        let saved = SavedGuest::open(&from).unwrap();
        println!("was running: {}, cookie: {:?}", saved.was_running, saved.cookie);
        let vmm = started(dir.path(), &saved.xml, true).await;
        let result = saved.give_memory(vmm.monitor(), |_| {}).await;
        assert!(result.is_ok(), "{:?}: {}", result, vmm.last_words());
        vmm.monitor().cont().await.unwrap();
        assert!(vmm.monitor().status().await.unwrap().running);
        vmm.stop(Stop::Kill).await.unwrap();
    }
}
