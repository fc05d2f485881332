//! Encrypted disks of a guest: it boots from them, they are plugged in and taken out, and nobody who looks at the
//! host sees the passphrase.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, counter, document::tiny_with, finish, trace, turn};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    super::snapshots::count_past, DEVICES, ENCRYPTION, PASSPHRASE, TARGETS, UUID, create_pool, create_volume,
    define_secret, disk, has_secrets, io, is_encrypted, log_is_silent, model::written, opened, qemu_io, tool,
    until, volume_document,
};

#[test]
fn a_guest_boots_from_disks_that_only_its_secret_opens() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    define_secret(&host, UUID, PASSPHRASE)?;
    let dir = create_pool(&host)?;
    let raw = host.root().join("counter.raw");
    fs::write(&raw, counter::disk(1 << 20))?;
    for format in ["raw", "qcow2"] {
        create_volume(&host, format, format, 1, ENCRYPTION)?;
        let image = dir.join(format);
        let mut fill = tool("qemu-img", Some("convert"));
        fill.args(["-n", "-f", "raw", "--target-image-opts"]).arg(&raw).arg(opened(&image, format, "")?);
        finish(&mut fill, Duration::from_mins(1), "qemu-img convert")?.ok()?;
        let vda = disk(&image, format, ("vda", "virtio"), ENCRYPTION);
        let document = host.file("count.xml", &tiny_with("count", &vda))?;
        host.lodge(&["define", &document])?.ok()?;
        host.lodge(&["start", "count"])?.ok()?;
        count_past(&host, 10)?;
        let info = host.json(&["dominfo", "count"])?;
        let pid = info["pid"].as_u64().context("no pid")?;
        let words = fs::read(format!("/proc/{pid}/cmdline"))?;
        ensure!(
            !String::from_utf8_lossy(&words).contains(PASSPHRASE),
            "QEMU's arguments tell the passphrase"
        );
        log_is_silent(&host)?;
        // QEMU would end at it, or have nowhere to put it.
        let inside =
            if format == "raw" { "storage type raw" } else { "QEMU cannot write the guest's memory into it" };
        host.lodge(&["snapshot-create-as", "count", "s1"])?.fails_saying(&[inside])?;
        host.lodge(&["blockresize", "count", "vda", "2M"])?.ok()?;
        host.lodge(&["destroy", "count"])?.ok()?;
        host.lodge(&["pool-refresh", "locked"])?.ok()?;
        let info = host.json(&["vol-info", format, "--pool", "locked"])?;
        ensure!(info["capacity_bytes"].as_u64() == Some(2 << 20), "{info}");
        // The definition says how it is opened, and without that it is not.
        if format == "qcow2" {
            let plain = disk(&image, format, ("vda", "virtio"), "");
            let plain = host.file("count.xml", &tiny_with("count", &plain))?;
            host.lodge(&["undefine", "count"])?.ok()?;
            host.lodge(&["define", &plain])?.ok()?;
            host.lodge(&["start", "count"])?.fails_saying(&["is encrypted, which is not supported"])?;
        }
        host.lodge(&["undefine", "count"])?.ok()?;
    }
    Ok(())
}

/// A disk of a guest that runs; its bus lets go of it without asking the guest.
fn plug(host: &Host, path: &Path, format: &str, target: &str, secret: &str) -> Result<String> {
    let encryption =
        format!("<encryption format='luks'><secret type='passphrase' uuid='{secret}'/></encryption>");
    host.file(&format!("{target}.xml"), &disk(path, format, (target, "scsi"), &encryption))
}

#[test]
fn encrypted_disks_are_plugged_into_a_guest_that_runs_and_taken_out() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    let other = "5f0e6b1d-4a5e-4d0a-9a44-0a7f2a5b7c13";
    let nobodys = "5f0e6b1d-4a5e-4d0a-9a44-0a7f2a5b7c14";
    define_secret(&host, UUID, PASSPHRASE)?;
    define_secret(&host, other, "battery staple")?;
    let dir = create_pool(&host)?;
    let guest = tiny_with("locked", "<controller type='scsi' index='0' model='virtio-scsi'/>");
    let document = host.file("locked.xml", &guest)?;
    host.lodge(&["define", &document])?.ok()?;
    host.lodge(&["start", "locked"])?.ok()?;
    for ((format, target), device) in ["raw", "qcow2"].into_iter().zip(TARGETS).zip(DEVICES) {
        let volume = format!("{format}.img");
        create_volume(&host, &volume, format, 4, ENCRYPTION)?;
        let path = dir.join(&volume);
        // Another passphrase opens nothing, a secret that is not there neither, and nothing is left of them.
        let wrong = plug(&host, &path, format, target, other)?;
        host.lodge(&["attach-device", "locked", &wrong, "--live"])?
            .fails_saying(&["Invalid password, cannot unlock any keyslot"])?;
        let none = plug(&host, &path, format, target, nobodys)?;
        host.lodge(&["attach-device", "locked", &none, "--live"])?.fails_saying(&["no secret"])?;
        has_secrets(&host, 0)?;
        let right = plug(&host, &path, format, target, UUID)?;
        host.lodge(&["attach-device", "locked", &right, "--live"])?.ok()?;
        has_secrets(&host, 1)?;
        let shown = host.lodge(&["dumpxml", "locked"])?.ok()?.stdout;
        ensure!(shown.contains(UUID) && shown.contains("<encryption format='luks'"), "{shown}");
        host.lodge(&["vol-delete", &volume, "--pool", "locked"])?.fails_saying(&["locked"])?;
        io(&host, "locked", device, "write -q -P 7 1M 64k")?;
        if format == "qcow2" {
            // The next daemon finds it and takes it out as well.
            host.kill_daemon()?;
            host.start_daemon()?;
        }
        host.lodge(&["detach-device", "locked", &right, "--live"])?.ok()?;
        has_secrets(&host, 0)?;
        let said = qemu_io(&opened(&path, format, "")?, &["read -P 7 1M 64k"])?;
        ensure!(said.contains("read 65536/65536"), "{said}");
        host.lodge(&["vol-delete", &volume, "--pool", "locked"])?.ok()?;
    }
    log_is_silent(&host)?;
    let plain = dir.join("qcow2.img");
    let made =
        Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&plain).arg("4M").status()?;
    ensure!(made.success(), "qemu-img create failed");
    let not_encrypted = plug(&host, &plain, "qcow2", "sda", UUID)?;
    host.lodge(&["attach-device", "locked", &not_encrypted, "--live"])?
        .fails_saying(&["is not encrypted"])?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    Ok(())
}

fn children(pid: u32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Stops the child of that number among those that the daemon makes for a client, as soon as it is born.
fn stop_newborn(daemon: u32, before: &[i32], number: usize, client: &mut Child) -> Result<Option<Pid>> {
    let mut born = Vec::new();
    while client.try_wait()?.is_none() {
        for child in children(daemon) {
            if before.contains(&child) || born.contains(&child) {
                continue;
            }
            born.push(child);
            if born.len() > number {
                let child = Pid::from_raw(child).context("a child without a number")?;
                // It may have ended already.
                return Ok(kill_process(child, Signal::STOP).ok().map(|()| child));
            }
        }
    }
    Ok(None)
}

#[test]
fn what_is_told_a_passphrase_ends_with_the_daemon_that_would_have_told_it() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    define_secret(&host, UUID, PASSPHRASE)?;
    create_pool(&host)?;
    let document = volume_document(&host, "sealed", "raw", 1, ENCRYPTION)?;
    let create = ["vol-create", "locked", document.as_str()];
    let is_quiet = |host: &Host| -> Result<()> {
        let has_tools =
            || trace::processes_of(host.root()).iter().any(|(_, words)| words.contains("qemu-img"));
        until("a tool outlives the daemon", || Ok(!has_tools()))?;
        host.lodge(&["vol-delete", "sealed", "--pool", "locked"])?;
        Ok(())
    };
    // The child is on its way into its jail for some milliseconds, and waits a moment for the passphrase then.
    for after_ms in (10..90).step_by(16) {
        host.cut(&create, |_| {
            std::thread::sleep(Duration::from_millis(after_ms));
            Ok(())
        })?;
        is_quiet(&host)?;
    }
    // One that is still on its way when the daemon has ended goes on, and nobody tells it anything.
    let mut held = 0;
    for round in 0..6 {
        let daemon = host.daemon_pid();
        let before = children(daemon);
        host.cut(&create, |client| {
            let Some(child) = stop_newborn(daemon, &before, round % 3, client)? else { return Ok(()) };
            let is = |pid: u32, state: &str| {
                fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(state))
            };
            kill_process(Pid::from_raw(daemon.cast_signed()).context("no daemon")?, Signal::KILL)?;
            until("the daemon does not end", || Ok(is(daemon, ") Z ")))?;
            // One that had asked for it has ended with the daemon.
            let number = child.as_raw_pid().cast_unsigned();
            held += u32::from(is(number, ") T "));
            let _ = kill_process(child, Signal::CONT);
            until("a child outlives the daemon", || Ok(!Path::new(&format!("/proc/{number}")).exists()))
        })?;
        is_quiet(&host)?;
    }
    ensure!(held > 0, "no child was on its way when the daemon ended");
    Ok(())
}

#[test]
fn what_is_written_on_an_encrypted_transient_disk_is_encrypted_and_goes() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let (dir, mut model) = written(&host)?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    let definition = host.lodge(&["dumpxml", "locked", "--inactive"])?.ok()?.stdout;
    let document = host.file("transient.xml", &definition.replace("</disk>", "<transient/></disk>"))?;
    host.lodge(&["define", &document])?.ok()?;
    host.lodge(&["start", "locked"])?.ok()?;
    has_secrets(&host, 4)?;
    let kept = model.clone();
    model.write(&host, 2, 200, 3000)?;
    for name in ["raw.img", "qcow2.img"] {
        let above = dir.join(format!("{name}.TRANSIENT-locked"));
        ensure!(is_encrypted(&above)?, "what the guest writes is plain");
        let bytes = fs::read(&above)?;
        ensure!(!bytes.windows(512).step_by(512).any(|sector| sector == [2; 512]), "it is plain");
    }
    host.lodge(&["destroy", "locked"])?.ok()?;
    kept.holds(&host)?;
    let left = fs::read_dir(&dir)?.count();
    ensure!(left == 2, "{left} files are left");
    // Without its secret it does not start, and leaves nothing.
    host.lodge(&["secret-undefine", UUID])?.ok()?;
    host.lodge(&["start", "locked"])?.fails_saying(&["no secret with matching uuid", UUID])?;
    ensure!(fs::read_dir(&dir)?.count() == 2, "a file is left");
    Ok(())
}
