//! `lodge sysprep -a`: the identity goes out of a machine that is no domain, and out of nothing that somebody needs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, document::tiny_with, turn};

use super::identity::{MACHINE_ID, run, source, text};

const PATIENCE: Duration = Duration::from_mins(1);

/// The same bytes as the guest's disk, raw and nobody's.
fn loose(host: &Host) -> Result<PathBuf> {
    let pool = host.root().join("var/lib/libvirt/images");
    let raw = pool.join("loose.raw");
    run("qemu-img", &["convert", "-O", "raw", text(&pool.join("web1.qcow2"))?, text(&raw)?])?;
    Ok(raw)
}

/// A file of the ext4 on it, read by a program that is none of ours.
fn inside(raw: &Path, path: &str) -> Result<String> {
    let read = Command::new("debugfs").args(["-R", &format!("cat {path}"), text(raw)?]).output()?;
    Ok(String::from_utf8(read.stdout)?.trim().to_owned())
}

fn notes(host: &Host) -> Vec<PathBuf> {
    let entries = fs::read_dir(host.root().join("var/lib/lodge/redo")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[test]
fn an_image_that_is_no_domains_is_prepared() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    source(&host, "web1")?;
    let raw = loose(&host)?;
    let (file, before) = (text(&raw)?, fs::read(&raw)?);

    host.lodge(&["sysprep", "-a", file])?.fails_saying(&["loose.raw", "raw"])?;
    host.lodge(&["sysprep", "-a", file, "-a", file, "--format", "raw"])?.fails_saying(&["named twice"])?;
    let told = host.lodge(&["sysprep", "-a", file, "--format", "raw", "--dry-run"])?.ok()?;
    ensure!(told.stdout.contains("/etc/machine-id"), "{}", told.stdout);
    ensure!(fs::read(&raw)? == before, "a dry run changed the image");

    let act = host.json(&["sysprep", "-a", file, "--format", "auto", "--hostname", "master"])?;
    ensure!(act["inside"] == "reset" && act["name"] == file, "{act}");
    ensure!(!inside(&raw, "/etc/machine-id")?.contains(MACHINE_ID));
    ensure!(inside(&raw, "/etc/hostname")? == "master");
    run("e2fsck", &["-fn", file])?;
    ensure!(notes(&host).is_empty(), "notes were left: {:?}", notes(&host));
    let log = host.json(&["identity", "log"])?;
    ensure!(log[0]["act"] == "sysprep" && log[0]["id"] == act["id"], "{log}");

    // No system: not a word of success.
    let empty = host.root().join("empty.raw");
    fs::File::create(&empty)?.set_len(1 << 20)?;
    host.lodge(&["sysprep", "-a", text(&empty)?, "--format", "raw"])?
        .fails_saying(&["nothing was changed", "no Linux"])
        .map(drop)
}

#[test]
fn nothing_that_somebody_needs_is_changed() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    source(&host, "web1")?;
    let pool = host.root().join("var/lib/libvirt/images");
    let disk = pool.join("web1.qcow2");
    let disk = text(&disk)?;
    host.lodge(&["sysprep", "-a", disk, "--format", "qcow2"])?.fails_saying(&["web1", "sysprep -d web1"])?;

    // What stands on a disk sees it change.
    let overlay = pool.join("upper.qcow2");
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", disk, "-F", "qcow2", text(&overlay)?])?;
    let devices = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
         <target dev='vda' bus='virtio'/></disk>",
        overlay.display()
    );
    let document = host.file("upper.xml", &tiny_with("upper", &devices))?;
    host.lodge(&["define", &document])?.ok()?;
    let before = fs::read(disk)?;
    for verb in [&["identity", "reset", "web1"][..], &["sysprep", "-d", "web1"]] {
        host.lodge(verb)?.fails_saying(&["web1.qcow2", "upper.qcow2", "stands on it"])?;
    }
    ensure!(fs::read(disk)? == before, "a disk that another stands on was changed");
    // The one above is nobody's base.
    host.lodge(&["identity", "reset", "upper"])?.ok()?;
    ensure!(fs::read(disk)? == before, "the disk below was changed");
    ensure!(notes(&host).is_empty(), "notes were left: {:?}", notes(&host));
    Ok(())
}

#[test]
fn an_image_is_changed_or_not_when_the_daemon_is_killed_amid_it() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    source(&host, "web1")?;
    let raw = loose(&host)?;
    let (master, file) = (host.root().join("master.raw"), text(&raw)?);
    fs::copy(&raw, &master)?;
    let (mut changed, mut unchanged) = (0, 0);
    for round in 0..10_u64 {
        fs::copy(&master, &raw)?;
        let name = format!("round{round}");
        let redo = host.root().join("var/lib/lodge/redo");
        let is_noted = || {
            let mut entries = fs::read_dir(&redo).into_iter().flatten().flatten();
            entries.any(|entry| entry.path().extension().is_some_and(|kind| kind == "redo"))
        };
        host.cut(&["sysprep", "-a", file, "--format", "raw", "--hostname", &name], |client| {
            let deadline = Instant::now() + PATIENCE;
            while !is_noted() && client.try_wait()?.is_none() && Instant::now() < deadline {
                std::hint::spin_loop();
            }
            // A moment that differs from round to round: the act is at another step each time, in the end behind the last.
            let moment = Instant::now() + Duration::from_millis(30 * round);
            while (Instant::now() < moment || round == 9) && client.try_wait()?.is_none() {
                std::thread::yield_now();
            }
            Ok(())
        })?;
        let id_went = !inside(&raw, "/etc/machine-id")?.contains(MACHINE_ID);
        let is_named = inside(&raw, "/etc/hostname")? == name;
        ensure!(id_went == is_named, "half changed in round {round}");
        run("e2fsck", &["-fn", file]).with_context(|| format!("round {round}"))?;
        ensure!(notes(&host).is_empty(), "notes were left in round {round}: {:?}", notes(&host));
        if id_went {
            changed += 1;
        } else {
            unchanged += 1;
        }
    }
    ensure!(changed > 0 && unchanged > 0, "{changed} rounds changed it, {unchanged} did not");

    // A change that was cut off and cannot be ended: no guest starts on those disks, whoever it is.
    fs::create_dir_all(host.root().join("var/lib/lodge/redo"))?;
    let note = host.root().join("var/lib/lodge/redo/0c9d6a3e-0000-4000-8000-000000000001.disks");
    let named = serde_json::json!([{ "target": "vda", "path": host.root().join("var/lib/libvirt/images/web1.qcow2"),
        "format": "qcow2", "is_encrypted": false }]);
    fs::write(&note, named.to_string())?;
    host.lodge(&["start", "web1"])?.fails_saying(&["was cut off", "restart the daemon"])?;
    fs::remove_file(&note)?;
    host.lodge(&["start", "web1"])?.ok().map(drop)
}
