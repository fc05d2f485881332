//! A full file system: a tmpfs of half a megabyte in a mount namespace of its own.

use std::path::{Path, PathBuf};

use lodge_model::Kind;
use lodge_store::{Root, Store};

#[test]
#[ignore = "run by the test below as a process of its own"]
fn within() {
    let Some(dir) = std::env::var_os("LODGE_FULL_DIR").map(PathBuf::from) else { return };
    let store = Store::open(&Root::at(&dir).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let db = store.db();
    runtime.block_on(db.set_value("before", vec![7])).unwrap();
    store.domains().put("web1", "<domain>old</domain>").unwrap();

    let ballast = dir.join("ballast");
    fill(&ballast);
    let large = format!("<domain>{}</domain>", " ".repeat(64 << 10));
    let error = store.domains().put("web1", &large).unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted, "{error:?}");
    assert!(error.hint().unwrap().contains("free some space"), "{error:?}");
    assert_eq!(store.domains().load("web1").unwrap().text, "<domain>old</domain>\n");
    let left = std::fs::read_dir(store.root().domains()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");

    let error = runtime.block_on(db.set_value("large", vec![1; 128 << 10])).unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted, "{error:?}");
    assert_eq!(runtime.block_on(db.value("before")).unwrap(), Some(vec![7]));
    assert_eq!(runtime.block_on(db.value("large")).unwrap(), None);

    // With room again, all goes on without a new start.
    std::fs::remove_file(&ballast).unwrap();
    store.domains().put("web1", &large).unwrap();
    runtime.block_on(db.set_value("large", vec![1; 64 << 10])).unwrap();
    println!("\nfull::within passed");
}

fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [64 << 10, 4 << 10, 512] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_full_file_system_is_told_leaves_the_old_and_is_got_over() {
    let dir = tempfile::tempdir().unwrap();
    let child = crate::child("full::within");
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg("mount -t tmpfs -o size=512k lodge-test \"$LODGE_FULL_DIR\" && echo mounted && exec \"$@\"");
    command.arg("sh").arg(child.get_program()).args(child.get_args()).env("LODGE_FULL_DIR", dir.path());
    let Ok(output) = command.output() else {
        eprintln!("skipped: no unshare(1) here");
        return;
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !stdout.starts_with("mounted") {
        eprintln!("skipped: mounting a tmpfs in a namespace of one's own needs root");
        return;
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stdout.contains("full::within passed"), "{stdout}{stderr}");
}
