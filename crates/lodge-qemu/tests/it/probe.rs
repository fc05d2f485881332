//! A real QEMU is asked what it can do.

use std::path::Path;
use std::time::Instant;

use lodge_qemu::{Accelerator, Capabilities, ProbeError, Processor};

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
    assert!(asked.cpu_model("max").is_some() && asked.has_display("none"), "{:?}", asked.displays);
    let begun = Instant::now();
    let remembered = Capabilities::probe(Path::new(QEMU), Some(dir.path())).await.unwrap();
    println!("asked in {asking:?}, remembered in {:?}", begun.elapsed());
    assert_eq!(asked, remembered);
    if let Ok(copy) = std::env::var("LODGE_KEEP_CAPABILITIES") {
        std::fs::write(copy, serde_json::to_vec(&asked).unwrap()).unwrap();
    }
}

/// A QEMU that counts how often it was asked by its monitor.
fn counting(dir: &Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let program = dir.join("qemu");
    let count = dir.join("count");
    std::fs::write(
        &program,
        format!("#!/bin/sh\n[ $1 = -display ] || echo >> {}\nexec {QEMU} \"$@\"\n", count.display()),
    )
    .unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    program
}

#[tokio::test]
async fn one_process_answers_all_and_what_is_kept_is_trusted_only_whole() {
    if !has_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("some/cache");
    let program = counting(dir.path());
    let runs = || std::fs::read_to_string(dir.path().join("count")).unwrap().len();
    let all = async || Capabilities::probe(&program, Some(&cache)).await.unwrap();
    let processor = async || Processor::probe(&program, Accelerator::Tcg, Some(&cache)).await.unwrap();
    let (first, emulated) = (all().await, processor().await);
    assert_eq!(runs(), 1);
    assert!(emulated.features.contains("sse2") && emulated.models == first.cpu_models);
    assert_eq!((all().await, processor().await, runs()), (first.clone(), emulated.clone(), 1));

    // Torn, spoiled, empty: asked again, and whole again.
    let files = || std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
    for (nth, part) in [0, 1, 2].into_iter().enumerate() {
        for file in files() {
            let text = std::fs::read(&file).unwrap();
            std::fs::write(&file, &text[..text.len() * part / 3]).unwrap();
        }
        assert_eq!((all().await, processor().await, runs()), (first.clone(), emulated.clone(), nth + 2));
    }
    // Of an older Lodge, with other questions.
    for file in files() {
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen("\"format\":", "\"format\":1", 1)).unwrap();
    }
    assert_eq!((all().await, runs()), (first.clone(), 5));
    // Another program under the same name.
    std::fs::remove_file(&program).unwrap();
    counting(dir.path());
    assert_eq!((all().await, runs()), (first, 6));
    assert_eq!(files().count(), 2, "old answers stay behind");
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
