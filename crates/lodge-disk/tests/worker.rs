//! The worker as a process of its own, with real disks.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    fs::File,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use lodge_disk::{
    fs::NodeKind,
    source::{DiskImage, Layer, LayerFormat},
    worker::{Worker, WorkerError, WorkerProgram},
};
use lodge_model::{
    Kind,
    guest_disk::{FilePath, Pattern, Wanted},
};

fn program(dir: &Path) -> WorkerProgram {
    let mut program = std::env::current_exe().unwrap();
    program.pop();
    program.pop();
    WorkerProgram {
        program: program.join("examples/worker"),
        root: dir.join("empty"),
        id: 65534,
        patience: Duration::from_secs(30),
    }
}

fn run(dir: &Path, program: &str, args: &[&str]) {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let output = Command::new(program).args(args).current_dir(dir).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn path(text: &str) -> FilePath {
    FilePath::new(text).unwrap()
}

/// A guest whose only disk is an ext4 in a qcow2 on a qcow2.
fn chain(dir: &Path) -> [PathBuf; 2] {
    let tree = dir.join("tree");
    std::fs::create_dir_all(tree.join("etc/deep/er")).unwrap();
    std::fs::write(tree.join("etc/os-release"), "ID=debian\n").unwrap();
    std::fs::write(tree.join("etc/fstab"), "/dev/sda / ext4 rw\n").unwrap();
    std::fs::write(tree.join("etc/big"), "0123456789".repeat(300_000)).unwrap();
    symlink("/etc/big", tree.join("etc/deep/er/link")).unwrap();
    File::create(dir.join("raw")).unwrap().set_len(64 << 20).unwrap();
    run(dir, "mkfs.ext4", &["-q", "-F", "-d", "tree", "raw"]);
    run(dir, "qemu-img", &["convert", "-O", "qcow2", "raw", "base"]);
    run(dir, "qemu-img", &["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top"]);
    [dir.join("top"), dir.join("base")]
}

fn image(files: &[PathBuf]) -> Vec<DiskImage> {
    let layer = |file: &PathBuf| Layer { file: File::open(file).unwrap(), format: LayerFormat::Qcow2 };
    vec![DiskImage { name: "vda".into(), layers: files.iter().map(layer).collect(), writable: false }]
}

#[tokio::test]
async fn one_start_answers_many_requests() {
    let dir = tempfile::tempdir().unwrap();
    let files = chain(dir.path());
    let mut worker = Worker::start(&program(dir.path()), image(&files)).await.unwrap();
    let disks = worker.layout().await.unwrap();
    assert_eq!(disks.gaps, []);
    assert_eq!(disks.layout.disks[0].mount_point.as_deref(), Some("/"));
    let wanted = [Wanted { pattern: Pattern::new("/etc/*").unwrap(), most_bytes: 9 }];
    let told = worker.files(&wanted).await.unwrap();
    assert_eq!(told.bytes("/etc/big"), Some(&b"012345678"[..]));
    assert_eq!(told.nodes.len(), 4);
    let tree = worker.list(None, &path("/etc"), 9).await.unwrap();
    let names: Vec<_> = tree.iter().map(|entry| entry.path.to_string()).collect();
    let wanted =
        ["/etc/big", "/etc/deep", "/etc/deep/er", "/etc/deep/er/link", "/etc/fstab", "/etc/os-release"];
    assert_eq!(names, wanted);
    assert_eq!(tree[3].link.as_deref(), Some(&b"/etc/big"[..]));
    assert_eq!(worker.list(None, &path("/etc"), 1).await.unwrap().len(), 4);
    let (mut content, link) = (Vec::new(), path("/etc/deep/er/link"));
    loop {
        let piece = worker.read(Some("vda"), &link, content.len() as u64).await.unwrap();
        if piece.is_empty() {
            break;
        }
        content.extend(piece);
    }
    assert!(content == "0123456789".repeat(300_000).into_bytes());
    let found = worker.find(None, &link, true).await.unwrap();
    assert_eq!((found.path, found.node.kind, found.node.size), (path("/etc/big"), NodeKind::File, 3_000_000));
    let missing = worker.read(None, &path("/etc/no"), 0).await.unwrap_err();
    assert_eq!(
        (missing.kind(), missing.to_string().as_str()),
        (Kind::NotFound, "/etc/no: no such file or directory in the guest")
    );
    let device = worker.list(Some("vda9"), &path("/"), 1).await.unwrap_err();
    assert_eq!(device.to_string(), "the guest has no device 'vda9'; `lodge disk lsblk` lists them");
}

#[tokio::test]
async fn it_has_nothing_but_the_disks() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a process another root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let files = chain(dir.path());
    let mut worker = Worker::start(&program(dir.path()), image(&files)).await.unwrap();
    worker.layout().await.unwrap();
    let proc = PathBuf::from(format!("/proc/{}", worker.pid()));
    assert_eq!(std::fs::read_link(proc.join("root")).unwrap(), dir.path().join("empty"));
    let status = std::fs::read_to_string(proc.join("status")).unwrap();
    for line in
        ["Uid:\t65534\t65534\t65534\t65534", "Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000"]
    {
        assert!(status.contains(line), "{line} is not in {status}");
    }
    // The socket, the two layers, and what /dev/null stands for.
    let open = std::fs::read_dir(proc.join("fd")).unwrap();
    let open: Vec<_> = open.map(|fd| std::fs::read_link(fd.unwrap().path()).unwrap()).collect();
    let known = |target: &PathBuf| {
        files.contains(target)
            || target == Path::new("/dev/null")
            || target.to_string_lossy().starts_with("socket:")
    };
    assert!(open.len() == 6 && open.iter().all(known), "{open:?}");
    let pid = worker.pid();
    drop(worker);
    let began = Instant::now();
    while std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "the worker lives on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_worker_that_dies_or_hangs_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let files = chain(dir.path());
    let script = |text: &str| {
        let file = dir.path().join("program");
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        WorkerProgram { program: file, patience: Duration::from_millis(300), ..program(dir.path()) }
    };
    let died = Worker::start(&script("exit 3"), image(&files)).await.unwrap_err();
    assert!(matches!(&died, WorkerError::Died { how, .. } if how == "exit status: 3"), "{died}");
    let stuck = Worker::start(&script("exec sleep 600"), image(&files)).await.unwrap_err();
    assert!(matches!(stuck, WorkerError::Stuck { .. }), "{stuck}");
    let nonsense = script("exec 1>&$2; printf '\\002\\000\\000\\000\\000\\000\\000\\000{}'");
    let nonsense = Worker::start(&nonsense, image(&files)).await.unwrap_err();
    assert!(matches!(nonsense, WorkerError::Nonsense { .. } | WorkerError::Died { .. }), "{nonsense}");
    let broken = dir.path().join("broken");
    std::fs::write(&broken, b"QFI\xfb").unwrap();
    let mut both = image(&files);
    both.push(DiskImage { name: "vdb".into(), ..image(std::slice::from_ref(&broken)).remove(0) });
    let mut worker = Worker::start(&program(dir.path()), both).await.unwrap();
    let gaps = worker.layout().await.unwrap().gaps;
    assert_eq!(gaps[0].why, "disk 'vdb', layer 0: the file ends inside the header");
    let refused = Worker::start(&program(dir.path()), image(&[broken])).await.unwrap_err();
    assert_eq!(refused.to_string(), "disk 'vda', layer 0: the file ends inside the header");
    assert_eq!(refused.kind(), Kind::Unsupported);
}

#[tokio::test]
async fn a_fleet_is_gone_over() {
    let dir = tempfile::tempdir().unwrap();
    let files = chain(dir.path());
    let wanted = [Wanted { pattern: Pattern::new("/etc/**").unwrap(), most_bytes: 100 }];
    let began = Instant::now();
    for _ in 0..20 {
        let mut worker = Worker::start(&program(dir.path()), image(&files)).await.unwrap();
        assert_eq!(worker.files(&wanted).await.unwrap().nodes.len(), 7);
    }
    eprintln!("a guest in {:?} (start, layout, files)", began.elapsed() / 20);
}
