//! A real QEMU is asked what it can do.

use std::path::Path;
use std::time::Instant;

use lodge_qemu::{Capabilities, ProbeError};

pub const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// Whether there is a QEMU to test with; says so if not.
pub fn has_qemu() -> bool {
    let there = Path::new(QEMU).exists();
    if !there {
        eprintln!("skipped: no {QEMU} on this machine");
    }
    there
}

#[tokio::test]
async fn a_real_qemu_is_asked_once_and_remembered() {
    if !has_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let asked = Capabilities::probe(Path::new(QEMU), Some(dir.path())).await.unwrap();
    let asking = begun.elapsed();
    assert!(asked.version.at_least(7, 2), "{}", asked.version);
    assert!(asked.has_device("virtio-blk-pci") && asked.machine("q35").is_some() && asked.has_vnc());
    assert!(asked.cpu_model("max").is_some());
    let begun = Instant::now();
    let remembered = Capabilities::probe(Path::new(QEMU), Some(dir.path())).await.unwrap();
    println!("asked in {asking:?}, remembered in {:?}", begun.elapsed());
    assert_eq!(asked, remembered);
    if let Ok(copy) = std::env::var("LODGE_KEEP_CAPABILITIES") {
        std::fs::write(copy, serde_json::to_vec(&asked).unwrap()).unwrap();
    }
}

#[tokio::test]
async fn what_is_no_qemu_is_told() {
    let missing = Capabilities::probe(Path::new("/nonexistent/qemu"), None).await.unwrap_err();
    assert!(matches!(&missing, ProbeError::NoBinary { .. }) && missing.hint().is_some());
    let other = Capabilities::probe(Path::new("/bin/echo"), None).await.unwrap_err();
    assert!(matches!(other, ProbeError::Monitor { .. }), "{other}");
}

#[tokio::test]
async fn the_speed_of_tcg_is_measured() {
    if !has_qemu() {
        return;
    }
    let begun = Instant::now();
    let speed = lodge_qemu::speed::measure(Path::new(QEMU), lodge_qemu::Accelerator::Tcg).await.unwrap();
    println!("TCG takes {:.1} times as long as the host; measured in {:?}", speed.factor, begun.elapsed());
    assert!((1.0..500.0).contains(&speed.factor), "{}", speed.factor);
}
