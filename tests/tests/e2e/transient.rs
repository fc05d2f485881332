//! A guest on a transient disk: what it writes is gone with its run, however that ends.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, document::tiny_with, turn};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    served::{SECTOR, writing_disk},
    snapshots::count_past,
};

#[test]
fn what_a_guest_writes_on_a_transient_disk_is_gone_with_its_run() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    let disk = host.root().join("base.raw");
    fs::write(&disk, writing_disk())?;
    let above = host.root().join("base.raw.TRANSIENT-count");
    let element = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/>\
         <target dev='vda' bus='virtio'/><transient/></disk>",
        disk.display()
    );
    let document = host.file("count.xml", &tiny_with("count", &element))?;
    host.lodge(&["define", &document])?.ok()?;
    let untouched = || -> Result<()> {
        let bytes = fs::read(&disk)?;
        ensure!(
            bytes[SECTOR..2 * SECTOR].iter().all(|byte| *byte == 0),
            "the guest wrote the disk's own file"
        );
        Ok(())
    };

    host.lodge(&["start", "count"])?.ok()?;
    count_past(&host, 10)?;
    ensure!(above.exists(), "there is no file for what the guest writes");
    let live = host.lodge(&["dumpxml", "count"])?.ok()?.stdout;
    ensure!(live.contains("base.raw.TRANSIENT-count") && live.contains("<transient/>"), "{live}");
    let kept = host.lodge(&["dumpxml", "count", "--inactive"])?.ok()?.stdout;
    ensure!(!kept.contains("TRANSIENT"), "{kept}");
    let save = host.root().join("saved").to_string_lossy().into_owned();
    for (act, words) in [
        (&["save", "count", &save][..], "migration with transient disk is not supported"),
        (&["managedsave", "count"], "migration with transient disk is not supported"),
        (&["snapshot-create-as", "count", "s1", "--disk-only"], "transient disk 'vda'"),
        (&["blockpull", "count", "vda"], "block jobs are not supported on transient disk 'vda'"),
    ] {
        host.lodge(act)?.fails_saying(&[words])?;
    }
    host.lodge(&["destroy", "count"])?.ok()?;
    ensure!(!above.exists(), "the file outlived the run");
    untouched()?;

    // The daemon and QEMU die together: the next daemon takes the file away.
    host.lodge(&["start", "count"])?.ok()?;
    count_past(&host, 10)?;
    let pid = host.json(&["dominfo", "count"])?["pid"].as_u64().context("no pid")?;
    host.kill_daemon()?;
    let pid = Pid::from_raw(i32::try_from(pid)?).context("no pid")?;
    kill_process(pid, Signal::KILL)?;
    host.start_daemon()?;
    let state = host.json(&["dominfo", "count"])?;
    ensure!(!above.exists(), "the file outlived QEMU: {state}");
    untouched()?;

    // One that a power failure left is taken away; one that is somebody's is not.
    make_overlay(&above, &disk)?;
    host.lodge(&["start", "count"])?.ok()?;
    host.lodge(&["destroy", "count"])?.ok()?;
    ensure!(!above.exists(), "the file outlived the run");
    fs::write(&above, "somebody's")?;
    host.lodge(&["start", "count"])?.fails_saying(&["base.raw.TRANSIENT-count"])?;
    ensure!(fs::read_to_string(&above)? == "somebody's", "somebody's file was touched");
    untouched()
}

fn make_overlay(path: &Path, backing: &Path) -> Result<()> {
    let mut command = std::process::Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).args([backing, path]);
    ensure!(command.status()?.success(), "qemu-img made no file");
    Ok(())
}
