//! How long an identity's edits take on a fresh linked clone: 8 GB of ext4 on a partition, qcow2 on qcow2.
//!
//! `cargo run --release -p lodge-disk --example edit_bench [TREE]`, as root, with e2fsprogs, gdisk and qemu-utils. TREE is
//! copied into the guest: `/usr`, say, for one of a common size; otherwise it has 20,000 small files. Prints the median
//! and the worst of its rounds, each on a new overlay, without and with new UUIDs of the devices. The file system has
//! sums that begin with its UUID and was mounted since it was checked, as a guest's mostly is: once they may stay, with
//! their seed in a field, once they are all to begin with the new one.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use lodge_disk::{
    edit::{Editor, WORKER_ARGUMENT, worker_main},
    source::{DiskImage, Layer, LayerFormat},
};
use lodge_model::guest_disk::{DeviceEdit, Edit, FileEdit, FilePath};

const ROUNDS: usize = 20;
const START: u64 = 1 << 20;
const PART_BYTES: u64 = 8 << 30;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|word| word == WORKER_ARGUMENT) {
        return worker_main(&args[1..]);
    }
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let base = dir.path().join("base");
    template(dir.path(), &base, std::env::args_os().nth(1).as_deref())?;
    let editor = Editor {
        program: std::env::current_exe()?,
        args: vec![WORKER_ARGUMENT.to_owned()],
        empty_root: dir.path().join("empty"),
        user: 65534,
    };
    fs::create_dir(&editor.empty_root)?;
    let runtime = tokio::runtime::Runtime::new()?;
    for (name, edits) in [
        ("15 edits of files", files()?),
        ("and three UUIDs, sums as they are", [files()?, devices(true)].concat()),
        ("and three UUIDs, all sums anew", [files()?, devices(false)].concat()),
    ] {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..ROUNDS {
            let top = dir.path().join("top");
            run(Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
                .args([&base, &top]))?;
            let began = Instant::now();
            runtime
                .block_on(editor.edit(disk(&top, &base)?, edits.clone(), None))
                .map_err(io::Error::other)?;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        println!("{name}: median {:?}, worst {:?}", times[ROUNDS / 2], times[ROUNDS - 1]);
    }
    Ok(())
}

fn template(dir: &Path, base: &Path, tree: Option<&OsStr>) -> io::Result<()> {
    let (root, part, raw) = (dir.join("root"), dir.join("part"), dir.join("raw"));
    for directory in ["etc/ssh", "var/lib/dbus", "var/log/journal/0123456789abcdef", "usr/bin"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::write(root.join("etc/fstab"), "LABEL=root / ext4 defaults 0 1\n")?;
    for file in ["hostname", "machine-id", "hosts", "mailname", "os-release"] {
        fs::write(root.join("etc").join(file), "template\n")?;
    }
    for kind in ["rsa", "ecdsa", "ed25519"] {
        fs::write(root.join(format!("etc/ssh/ssh_host_{kind}_key")), vec![b'k'; 2000])?;
        fs::write(root.join(format!("etc/ssh/ssh_host_{kind}_key.pub")), vec![b'p'; 500])?;
    }
    fs::write(root.join("var/log/journal/0123456789abcdef/system.journal"), vec![1; 8 << 20])?;
    if let Some(tree) = tree {
        run(Command::new("cp")
            .args(["-a", "--no-target-directory", "--"])
            .arg(tree)
            .arg(root.join("usr/tree")))?;
    }
    // As many files as a small guest has.
    for number in 0..if tree.is_none() { 20_000 } else { 0 } {
        let directory = root.join(format!("usr/share/{}", number / 200));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(number.to_string()), "something")?;
    }
    File::create(&part)?.set_len(PART_BYTES)?;
    let features = ["-q", "-F", "-t", "ext4", "-O", "metadata_csum,^metadata_csum_seed,^orphan_file"];
    run(Command::new("mke2fs").args(features).args(["-L", "root", "-d"]).args([&root, &part]))?;
    fs::remove_dir_all(&root)?;
    for request in ["ssv mtime 20260101000000", "ssv lastcheck 20250101000000"] {
        run(Command::new("debugfs").args(["-w", "-R", request]).arg(&part))?;
    }
    let disk = File::create(&raw)?;
    disk.set_len(PART_BYTES + (4 << 20))?;
    let from = File::open(&part)?;
    let mut piece = vec![0; 1 << 20];
    for at in (0..PART_BYTES).step_by(piece.len()) {
        from.read_exact_at(&mut piece, at)?;
        if piece.iter().any(|byte| *byte != 0) {
            disk.write_all_at(&piece, START + at)?;
        }
    }
    fs::remove_file(&part)?;
    run(Command::new("sgdisk").args(["-a", "1", "-n", "1:2048:+8G"]).arg(&raw))?;
    run(Command::new("qemu-img").args(["convert", "-O", "qcow2"]).args([&raw, base]))
}

fn disk(top: &Path, base: &Path) -> io::Result<Vec<DiskImage>> {
    let top = File::options().read(true).write(true).open(top)?;
    let layers = [top, File::open(base)?].map(|file| Layer { file, format: LayerFormat::Qcow2 });
    Ok(vec![DiskImage { name: "vda".to_owned(), layers: layers.into(), writable: true }])
}

fn files() -> io::Result<Vec<Edit>> {
    let path = |text: &str| FilePath::new(text).map_err(io::Error::other);
    let mut edits = Vec::new();
    for file in ["hostname", "machine-id", "hosts", "mailname"] {
        let path = path(&format!("/etc/{file}"))?;
        edits.push(Edit::File(FileEdit::Write { path, bytes: b"web1\n".to_vec(), owner: None }));
    }
    for kind in ["rsa", "ecdsa", "ed25519"] {
        for end in ["", ".pub"] {
            let path = path(&format!("/etc/ssh/ssh_host_{kind}_key{end}"))?;
            edits.push(Edit::File(FileEdit::Write { path, bytes: vec![b'n'; 1500], owner: None }));
        }
    }
    edits.push(Edit::File(FileEdit::Remove(path("/var/log/journal/0123456789abcdef")?)));
    edits.push(Edit::File(FileEdit::Remove(path("/var/lib/systemd/random-seed")?)));
    edits.push(Edit::File(FileEdit::Link {
        path: path("/var/lib/dbus/machine-id")?,
        to: b"/etc/machine-id".to_vec(),
    }));
    let seed = path("/var/lib/cloud/seed/nocloud/meta-data")?;
    edits.push(Edit::File(FileEdit::Write { path: seed, bytes: b"instance-id: 1\n".to_vec(), owner: None }));
    let fstab = b"LABEL=root / ext4 defaults 0 1\n# new\n".to_vec();
    edits.push(Edit::File(FileEdit::Write { path: path("/etc/fstab")?, bytes: fstab, owner: None }));
    Ok(edits)
}

fn devices(may_seed: bool) -> Vec<Edit> {
    let (table, one) = ("vda".to_owned(), "vda1".to_owned());
    let uuid = |last: u8| format!("aaaaaaaa-0000-4000-8000-00000000000{last}");
    [
        DeviceEdit::Table { device: table, uuid: uuid(1) },
        DeviceEdit::Partition { device: one.clone(), uuid: uuid(2) },
        DeviceEdit::Content { device: one, uuid: uuid(3), may_seed },
    ]
    .map(Edit::Device)
    .into()
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    let failed = || io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    if output.status.success() { Ok(()) } else { Err(failed()) }
}
