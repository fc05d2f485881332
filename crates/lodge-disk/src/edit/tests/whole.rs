//! The whole of it: a confined process, a chain of qcow2, partitions, tools in jails.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use lodge_model::guest_disk::{DeviceEdit, Edit};

use super::rig::{Rig, can_run, remove, run, write};
use crate::{
    edit::{EditError, Editor, Outcome, Recovered, worker_main},
    source::{DiskImage, Layer, LayerFormat},
};

/// Not a test: what the tests start as the confined process. Its last argument is the socket.
#[test]
fn become_the_worker() {
    if std::env::var_os("LODGE_TEST_WORKER").is_some() {
        let number = std::env::args().next_back();
        let code = worker_main(number);
        std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
    }
}

/// An ext4 on a partition of a disk, under an empty overlay.
struct House {
    rig: Rig,
    base: PathBuf,
    top: PathBuf,
    empty: PathBuf,
}

const START: u64 = 1 << 20;

const OLD_UUID: &str = "11111111-2222-4333-8444-555555555555";
/// Of the table, the partition and the file system.
const NEW_UUIDS: [&str; 3] = [
    "aaaaaaaa-0000-4000-8000-000000000001",
    "aaaaaaaa-0000-4000-8000-000000000002",
    "aaaaaaaa-0000-4000-8000-000000000003",
];

impl House {
    /// None, and why, where this machine cannot.
    fn new() -> Option<Self> {
        if !can_run() || ["sgdisk", "qemu-img"].iter().any(|tool| lodge_sys::tool::find(tool).is_none()) {
            eprintln!("skipped: needs gdisk and qemu-utils too");
            return None;
        }
        let rig = Rig::ext(&["-t", "ext4", "-U", OLD_UUID], 96, |root| {
            fs::create_dir_all(root.join("etc")).unwrap();
            fs::create_dir_all(root.join("var/log/journal/0123")).unwrap();
            fs::write(root.join("etc/fstab"), format!("UUID={OLD_UUID} / ext4 defaults 0 1\n")).unwrap();
            fs::write(root.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
            fs::write(root.join("var/log/journal/0123/system.journal"), vec![3; 100_000]).unwrap();
        });
        let raw = rig.path().join("raw");
        let disk = File::create(&raw).unwrap();
        disk.set_len(100 << 20).unwrap();
        disk.write_all_at(&fs::read(&rig.image).unwrap(), START).unwrap();
        run(Command::new("sgdisk").args(["-a", "1", "-n", "1:2048:+96M"]).arg(&raw));
        let (base, top, empty) = (rig.path().join("base"), rig.path().join("top"), rig.path().join("empty"));
        fs::create_dir(&empty).unwrap();
        run(Command::new("qemu-img").args(["convert", "-O", "qcow2"]).args([&raw, &base]));
        let house = Self { rig, base, top, empty };
        house.fresh_top();
        Some(house)
    }

    fn fresh_top(&self) {
        let create = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"];
        run(Command::new("qemu-img").args(create).args([&self.base, &self.top]));
    }

    fn editor(&self) -> Editor {
        let own = std::env::current_exe().unwrap();
        let args = [
            "LODGE_TEST_WORKER=1",
            own.to_str().unwrap(),
            "edit::tests::whole::become_the_worker",
            "--exact",
        ];
        let args = args.map(str::to_owned).into();
        Editor { program: "/usr/bin/env".into(), args, empty_root: self.empty.clone(), user: 65534 }
    }

    fn disk(&self) -> Vec<DiskImage> {
        let file = |path: &Path, write| File::options().read(true).write(write).open(path).unwrap();
        let layers = [file(&self.top, true), file(&self.base, false)];
        let layers = layers.map(|file| Layer { file, format: LayerFormat::Qcow2 }).into();
        vec![DiskImage { name: "vda".to_owned(), layers, writable: true }]
    }

    /// The redo log of an edit, as it is.
    fn log(&self) -> File {
        let path = self.rig.path().join("log");
        File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap()
    }

    /// The disk as the guest would find it; its file system lies ready for the rig's checks.
    fn unpack(&self) -> Vec<u8> {
        // 3: clusters that nobody uses, which a writer that was killed leaves behind; QEMU too.
        let check = Command::new("qemu-img").args(["check", "-q"]).arg(&self.top).status().unwrap();
        assert!(matches!(check.code(), Some(0 | 3)), "{check}");
        let raw = self.rig.path().join("raw");
        run(Command::new("qemu-img").args(["convert", "-O", "raw"]).args([&self.top, &raw]));
        let disk = fs::read(&raw).unwrap();
        let start = usize::try_from(START).unwrap();
        fs::write(&self.rig.image, &disk[start..start + (96 << 20)]).unwrap();
        disk
    }
}

fn edits() -> Vec<Edit> {
    let [table, partition, content] = NEW_UUIDS.map(str::to_owned);
    let fstab = format!("UUID={content} / ext4 defaults 0 1\n");
    vec![
        write("/etc/machine-id", b"fedcba9876543210fedcba9876543210\n", Some((0, 0, 0o444))),
        write("/etc/hostname", b"web1\n", None),
        write("/etc/fstab", fstab.as_bytes(), None),
        remove("/var/log/journal/0123"),
        Edit::Device(DeviceEdit::Table { device: "vda".to_owned(), uuid: table }),
        Edit::Device(DeviceEdit::Partition { device: "vda1".to_owned(), uuid: partition }),
        Edit::Device(DeviceEdit::Content { device: "vda1".to_owned(), uuid: content, may_seed: false }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_another_machine_and_its_base_is_untouched() {
    let Some(house) = House::new() else { return };
    let base = fs::read(&house.base).unwrap();
    let outcomes = house.editor().edit(house.disk(), edits(), None).await.unwrap();
    assert_eq!(outcomes, [Outcome::Changed; 7]);
    assert!(fs::read(&house.base).unwrap() == base);
    run(Command::new("qemu-img").args(["check", "-q"]).arg(&house.top));
    house.unpack();
    house.rig.assert_clean();
    assert!(house.rig.debugfs("stats").contains(NEW_UUIDS[2]));
    assert_eq!(house.rig.debugfs("cat /etc/machine-id"), "fedcba9876543210fedcba9876543210\n");
    assert!(house.rig.debugfs("ls /var/log/journal").trim_end().ends_with(".."));
    let raw = house.rig.path().join("raw");
    let print = Command::new("sgdisk").args(["-v", "-p", "-i", "1"]).arg(raw).output().unwrap();
    let print = String::from_utf8_lossy(&print.stdout).to_lowercase();
    for wanted in ["no problems found", NEW_UUIDS[0], NEW_UUIDS[1]] {
        assert!(print.contains(wanted), "{print}");
    }
    let again = house.editor().edit(house.disk(), edits(), None).await.unwrap();
    assert_eq!(again, [Outcome::Already; 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_fails_leaves_every_byte() {
    let Some(house) = House::new() else { return };
    let top = fs::read(&house.top).unwrap();
    let no_device = DeviceEdit::Content { device: "vdb1".to_owned(), uuid: "x".to_owned(), may_seed: false };
    let editor = house.editor();
    let all = [edits(), vec![Edit::Device(no_device)]].concat();
    let error = editor.edit(house.disk(), all, None).await.unwrap_err();
    assert!(matches!(&error, EditError::NoDevice { device } if device == "vdb1"), "{error}");
    // Its sandbox cannot be made: it says so and does nothing.
    let bad = Editor { empty_root: "/nonexistent".into(), ..editor.clone() };
    let error = bad.edit(house.disk(), edits(), None).await.unwrap_err();
    assert!(error.to_string().contains("is not confined: cannot enter the empty root"), "{error}");
    // It does not run at all.
    let bad = Editor { program: "/bin/false".into(), ..editor };
    let error = bad.edit(house.disk(), edits(), None).await.unwrap_err();
    assert!(matches!(error, EditError::Worker { .. }), "{error}");
    assert!(fs::read(&house.top).unwrap() == top);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_the_log_is_applied_or_dropped() {
    let Some(house) = House::new() else { return };
    let untouched = fs::read(&house.top).unwrap();
    let editor = house.editor();
    editor.edit(house.disk(), edits(), Some(house.log())).await.unwrap();
    let wanted = house.unpack();
    // The image is as it was before: as if the crash had come between the log and the image.
    fs::write(&house.top, &untouched).unwrap();
    assert_eq!(editor.recover(house.disk(), house.log()).await.unwrap(), Recovered::Applied);
    // And in the midst of applying: twice is once.
    assert_eq!(editor.recover(house.disk(), house.log()).await.unwrap(), Recovered::Applied);
    assert!(house.unpack() == wanted);
    // The log itself was not finished.
    fs::write(&house.top, &untouched).unwrap();
    house.log().set_len(house.log().metadata().unwrap().len() - 1).unwrap();
    assert_eq!(editor.recover(house.disk(), house.log()).await.unwrap(), Recovered::Dropped);
    assert!(fs::read(&house.top).unwrap() == untouched);
    let mut other = house.log();
    other.set_len(0).unwrap();
    other.write_all(b"something else entirely").unwrap();
    assert_eq!(editor.recover(house.disk(), other).await.unwrap(), Recovered::Dropped);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_the_disk_is_whole_after_recovery() {
    let Some(house) = House::new() else { return };
    let untouched = fs::read(&house.top).unwrap();
    let editor = house.editor();
    let began = std::time::Instant::now();
    editor.edit(house.disk(), edits(), Some(house.log())).await.unwrap();
    let whole = began.elapsed();
    let new = house.unpack();
    fs::write(&house.top, &untouched).unwrap();
    let old = house.unpack();
    let (mut dropped, mut applied) = (0, 0);
    for moment in 0.. {
        assert!(moment < 200, "it never comes to its end");
        fs::write(&house.top, &untouched).unwrap();
        house.log().set_len(0).unwrap();
        // Dropping the future kills the process and its tool wherever they are.
        let edit = editor.edit(house.disk(), edits(), Some(house.log()));
        let is_done = tokio::time::timeout(whole * moment / 8, edit).await.is_ok();
        match editor.recover(house.disk(), house.log()).await.unwrap() {
            Recovered::Applied => applied += 1,
            Recovered::Dropped => dropped += 1,
        }
        let now = house.unpack();
        if now != old {
            house.rig.assert_clean();
            // Times of files are others than in the first run.
            let differ = now.chunks(4096).zip(new.chunks(4096)).filter(|(now, new)| now != new).count();
            assert!(differ < 40, "moment {moment}: {differ} blocks");
            assert_eq!(house.rig.debugfs("cat /etc/hostname"), "web1\n");
        }
        if is_done {
            break;
        }
    }
    assert!(dropped > 0 && applied > 0, "{dropped} {applied}");
}
