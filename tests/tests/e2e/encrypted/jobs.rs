//! Encrypted files are merged, copied and filled while the guest runs: by block jobs, and by snapshots that go.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, turn};

use super::{
    BOTH, ENCRYPTION, TARGETS, disks_of, files_in, has_secrets, is_encrypted, log_is_silent,
    model::{Model, written},
    snapshot_document, until, virsh, with_locked_guest,
};

/// A file of the disk's chain by its place in it, as the running guest has it.
fn layer(host: &Host, target: &str, at: usize) -> Result<String> {
    let shown = virsh(host, &["dumpxml", "locked"])?;
    let disk = shown.split("<disk ").find(|disk| disk.contains(&format!("<target dev='{target}'")));
    let disk = disk.context("no such disk")?;
    let mut files = disk.split("<source file='").skip(1).filter_map(|rest| rest.split('\'').next());
    files.nth(at).map(str::to_owned).with_context(|| format!("no layer {at} in {disk}"))
}

/// A snapshot of encrypted files, which nothing is kept of but those.
fn stack(host: &Host, dir: &Path, name: &str) -> Result<()> {
    let files = TARGETS.map(|target| dir.join(format!("{target}.{name}")));
    let disks = [(TARGETS[0], Some(files[0].as_path())), (TARGETS[1], Some(files[1].as_path()))];
    let document = snapshot_document(host, name, disks)?;
    host.lodge(&["snapshot-create", "locked", &document, "--disk-only", "--no-metadata"])?.ok()?;
    Ok(())
}

#[test]
fn block_jobs_merge_copy_and_fill_encrypted_files_of_a_guest_that_runs() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let (dir, mut model) = written(&host)?;
    stack(&host, &dir, "a")?;
    model.write(&host, 2, 200, 300)?;
    stack(&host, &dir, "b")?;
    model.write(&host, 3, 400, 300)?;
    has_secrets(&host, 6)?;
    // The one in the middle into the base; then one that is left; then the guest's own.
    for target in TARGETS {
        let (top, base) = (layer(&host, target, 1)?, layer(&host, target, 2)?);
        let args = ["blockcommit", "locked", target, "--top", &top, "--base", &base, "--wait", "--delete"];
        host.lodge(&args)?.ok()?;
        ensure!(!Path::new(&top).exists(), "{top} is left");
    }
    has_secrets(&host, 4)?;
    model.write(&host, 4, 600, 300)?;
    model.holds_in_another_run(&host)?;
    for target in TARGETS {
        host.lodge(&["blockcommit", "locked", target, "--keep-overlay"])?.ok()?;
        host.lodge(&["blockcommit", "locked", target, "--pivot"])?.ok()?;
    }
    has_secrets(&host, 2)?;
    model.write(&host, 5, 800, 300)?;
    // What became the guest's own takes a snapshot again, and a commit, in the same run.
    stack(&host, &dir, "c")?;
    model.write(&host, 6, 1000, 300)?;
    host.lodge(&["blockcommit", "locked", "sda", "--pivot"])?.ok()?;
    host.lodge(&["blockpull", "locked", "sdb", "--wait"])?.ok()?;
    has_secrets(&host, 2)?;
    model.write(&host, 7, 1200, 300)?;
    model.holds_in_another_run(&host)?;
    // To an encrypted file and to a plain one.
    for (target, format) in [("sda", "raw"), ("sdb", "qcow2")] {
        let copy = dir.join(format!("{target}.copy"));
        let text = format!(
            "<disk type='file'><driver type='{format}'/><source file='{}'>{ENCRYPTION}</source></disk>",
            copy.display()
        );
        let document = host.file("copy.xml", &text)?;
        virsh(&host, &["blockcopy", "locked", target, "--xml", &document, "--transient-job", "--wait"])?;
        model.write(&host, 8, 1400, 300)?;
        virsh(&host, &["blockjob", "locked", target, "--pivot"])?;
        ensure!(is_encrypted(&copy)?, "the copy is not encrypted");
    }
    has_secrets(&host, 2)?;
    model.write(&host, 9, 1600, 300)?;
    model.holds_in_another_run(&host)?;
    let plain = dir.join("plain.copy");
    let dest = plain.display().to_string();
    host.lodge(&["blockcopy", "locked", "sdb", "--dest", &dest, "--transient-job", "--pivot"])?.ok()?;
    ensure!(!is_encrypted(&plain)?, "a plain copy is encrypted");
    has_secrets(&host, 1)?;
    model.write(&host, 10, 1800, 300)?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    model.holds(&host)?;
    log_is_silent(&host)
}

#[test]
fn snapshots_of_encrypted_disks_go_while_the_guest_runs() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let dir = with_locked_guest(&host, BOTH)?;
    host.lodge(&["start", "locked"])?.ok()?;
    let mut model = Model::new();
    for (name, byte) in [("e1", 1_u8), ("e2", 2), ("e3", 3)] {
        model.write(&host, byte, 200 * usize::from(byte), 300)?;
        host.lodge(&["snapshot-create-as", "locked", name, "--disk-only"])?.ok()?;
    }
    model.write(&host, 4, 800, 300)?;
    // The lowest, the one below the guest's own, the guest's own.
    for (name, byte) in [("e1", 5_u8), ("e2", 6), ("e3", 7)] {
        host.lodge(&["snapshot-delete", "locked", name])?.ok()?;
        model.write(&host, byte, 200 * usize::from(byte), 300)?;
    }
    ensure!(files_in(&dir)?.len() == 2, "{:?}", files_in(&dir)?);
    has_secrets(&host, 2)?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    model.holds(&host)
}

#[test]
fn a_daemon_that_is_killed_amid_a_job_on_encrypted_files_leaves_it_to_the_next() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    let (dir, mut model) = written(&host)?;
    host.lodge(&["snapshot-create-as", "locked", "s", "--disk-only", "--no-metadata"])?.ok()?;
    model.write(&host, 2, 200, 3000)?;
    for target in TARGETS {
        let args = ["blockcommit", "locked", target, "--active", "--bandwidth", "65536", "--bytes"];
        host.lodge(&args)?.ok()?;
    }
    host.kill_daemon()?;
    host.start_daemon()?;
    has_secrets(&host, 2)?;
    for target in TARGETS {
        let info = host.json(&["blockjob", "locked", target, "--info"])?;
        ensure!(info["ready"] == false, "{info}");
        host.lodge(&["blockjob", "locked", target, "--bandwidth", "0"])?.ok()?;
    }
    model.write(&host, 3, 4000, 300)?;
    for target in TARGETS {
        let ready = || Ok(host.json(&["blockjob", "locked", target, "--info"])?["ready"] == true);
        until("the job is not ready", ready)?;
    }
    // And amid the change over of one disk; the other is told to by the next daemon.
    host.cut(&["blockjob", "locked", "sda", "--pivot"], |_| {
        std::thread::sleep(Duration::from_millis(60));
        Ok(())
    })?;
    let settled = || Ok(host.json(&["blockjob", "locked", "sda", "--info"])?.is_null());
    until("the job did not end", settled)
        .or_else(|_| host.lodge(&["blockjob", "locked", "sda", "--pivot"])?.ok().map(drop))?;
    host.lodge(&["blockjob", "locked", "sdb", "--pivot"])?.ok()?;
    model.write(&host, 4, 4200, 300)?;
    let state = host.lodge(&["domstate", "locked", "--reason"])?.ok()?.stdout;
    ensure!(state.contains("running"), "it does not run: {state}{}", host.log());
    has_secrets(&host, 2)?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    let own: Vec<PathBuf> = disks_of(&host, "locked")?.into_iter().map(|(path, _)| path).collect();
    ensure!(own == [dir.join("raw.img"), dir.join("qcow2.img")], "{own:?}");
    model.holds(&host)
}
