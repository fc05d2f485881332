//! A daemon killed amid changes of identity: a guest's disks are all of the old machine or all of the new one, a template is
//! whole or gone, and what they were made of is untouched.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lodge_tests::Host;

use super::identity::{a_host_with_web1, run, text};

/// Of these three, a reset changes each.
const PLACES: [&str; 3] = ["/etc/machine-id", "/var/lib/dbus/machine-id", "/etc/hostname"];
const PATIENCE: Duration = Duration::from_mins(1);

fn disk(host: &Host, name: &str) -> PathBuf {
    host.root().join("var/lib/libvirt/images").join(format!("{name}.qcow2"))
}

/// What the guest is known by, read from its disk.
fn known_by(host: &Host, name: &str) -> Result<Vec<String>> {
    let read = |path: &&str| Ok(host.lodge(&["disk", "cat", name, path])?.ok()?.stdout);
    PLACES.iter().map(read).collect()
}

/// Where changes of disks are noted before they happen.
fn redo(host: &Host) -> PathBuf {
    host.root().join("var/lib/lodge/redo")
}

fn notes(redo: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(redo).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// The image and the file system in it have no fault.
fn check(host: &Host, name: &str) -> Result<()> {
    let (disk, raw) = (disk(host, name), host.root().join("checked.raw"));
    run("qemu-img", &["check", "-q", text(&disk)?])?;
    run("qemu-img", &["convert", "-O", "raw", text(&disk)?, text(&raw)?])?;
    run("e2fsck", &["-fn", text(&raw)?])?;
    Ok(fs::remove_file(&raw)?)
}

/// Runs `lodge ARGS` and kills its daemon: `after` it began, or once a note of a change is there and then so much later.
fn kill_amid(host: &mut Host, args: &[&str], after: Duration, at_note: bool) -> Result<()> {
    let redo = redo(host);
    host.cut(args, |client| {
        let deadline = Instant::now() + PATIENCE;
        while at_note && notes(&redo).is_empty() && client.try_wait()?.is_none() && Instant::now() < deadline
        {
            std::hint::spin_loop();
        }
        // A moment that differs from round to round: the act is at another step each time.
        std::thread::sleep(after);
        Ok(())
    })
}

#[test]
fn a_reset_is_whole_or_never_was_when_the_daemon_is_killed_amid_it() -> Result<()> {
    let Some((_turn, mut host)) = a_host_with_web1("", &[])? else { return Ok(()) };
    let (mut old, mut changed, mut unchanged) = (known_by(&host, "web1")?, 0, 0);
    for round in 0..16_u64 {
        let hostname = format!("round{round}");
        let at_note = round % 2 == 0;
        let after = if at_note { Duration::from_millis(round) } else { Duration::from_millis(15 * round) };
        kill_amid(&mut host, &["identity", "reset", "web1", "--hostname", &hostname], after, at_note)?;
        let now = known_by(&host, "web1")?;
        let differ = now.iter().zip(&old).filter(|(now, old)| now != old).count();
        ensure!(differ == 0 || differ == PLACES.len(), "half changed in round {round}: {old:?}, {now:?}");
        let left = notes(&redo(&host));
        ensure!(left.is_empty(), "notes were left in round {round}: {left:?}");
        check(&host, "web1").with_context(|| format!("round {round}"))?;
        if differ == 0 {
            unchanged += 1;
        } else {
            changed += 1;
        }
        old = now;
    }
    // Killed once its note is whole, the next daemon ends what was begun.
    ensure!(changed > 0 && unchanged > 0, "{changed} rounds changed it, {unchanged} did not");
    host.lodge(&["identity", "reset", "web1"])?.ok()?;
    ensure!(known_by(&host, "web1")? != old, "it is not reset any more");

    // A note that cannot be followed: whoever started the guest now would lose what it writes.
    let uuid = host.lodge(&["domuuid", "web1"])?.ok()?.stdout.trim().to_owned();
    let note = redo(&host).join(format!("{uuid}.redo"));
    fs::create_dir_all(&note)?;
    host.lodge(&["start", "web1"])?.fails_saying(&["was cut off", "restart the daemon"])?;
    fs::remove_dir(&note)?;
    host.lodge(&["start", "web1"])?.ok().map(drop)
}

#[test]
fn a_template_is_whole_or_gone_when_the_daemon_is_killed_amid_it() -> Result<()> {
    let Some((_turn, mut host)) = a_host_with_web1("", &[])? else { return Ok(()) };
    let before = fs::read(disk(&host, "web1"))?;
    let mut known = versions(&host)?;
    for round in 0..8_u64 {
        let files = images(&host)?;
        let after = Duration::from_millis(20 + 37 * round);
        kill_amid(&mut host, &["template", "create", "web1", "--name", "web"], after, false)?;
        ensure!(fs::read(disk(&host, "web1"))? == before, "the source was written in round {round}");
        let now = versions(&host)?;
        if now == known {
            ensure!(images(&host)? == files, "files were left in round {round}: {:?}", images(&host)?);
        } else {
            let clone = format!("node{round}");
            host.lodge(&["clone", "web", &clone])?.ok()?;
            check_id(&host, &clone)?;
        }
        known = now;
    }
    Ok(())
}

/// A clone of a template has a machine id that is not the source's.
fn check_id(host: &Host, name: &str) -> Result<()> {
    let ids = known_by(host, name)?;
    ensure!(ids[0].trim().len() == 32 && !ids[0].contains(super::identity::MACHINE_ID), "{name}: {ids:?}");
    Ok(())
}

fn versions(host: &Host) -> Result<usize> {
    Ok(host.json(&["template", "list"])?.as_array().context("a list")?.len())
}

/// All files of images, clones and templates.
fn images(host: &Host) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for place in ["var/lib/libvirt/images", "var/lib/lodge"] {
        let listed = Command::new("find")
            .arg(host.root().join(place))
            .args(["-type", "f", "-not", "-name", "lodge.db*"])
            .output()?;
        let listed = String::from_utf8(listed.stdout)?;
        found.extend(listed.lines().map(|line| Path::new(line).to_owned()));
    }
    Ok(found)
}
