//! Clones and templates by the command line: many at once, from what, standing on what; and a daemon killed amid them.

use std::{collections::BTreeSet, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, document::tiny_with, turn};

/// Defines a guest that is off, with a qcow2 of its own and a card.
fn source(host: &Host, name: &str) -> Result<String> {
    let pool = host.root().join("var/lib/libvirt/images");
    std::fs::create_dir_all(&pool)?;
    let disk = pool.join(format!("{name}.qcow2")).display().to_string();
    let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", &disk, "64M"]).status()?;
    ensure!(made.success(), "qemu-img failed");
    let written =
        Command::new("qemu-io").args(["-f", "qcow2", "-c", "write -q -P 7 0 1M", &disk]).status()?;
    ensure!(written.success(), "qemu-io failed");
    let devices = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>\
         <target dev='vda' bus='virtio'/></disk>\
         <interface type='user'><mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>"
    );
    let document = host.file("source.xml", &tiny_with(name, &devices))?;
    host.lodge(&["define", &document])?.ok()?;
    Ok(disk)
}

fn names(host: &Host) -> Result<BTreeSet<String>> {
    Ok(host.lodge(&["list", "--all", "--name"])?.ok()?.lines().into_iter().collect())
}

fn pool(host: &Host) -> Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(host.root().join("var/lib/libvirt/images"))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// All values of an attribute or element in the documents of these guests.
fn identities(host: &Host, names: &[String]) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for name in names {
        let xml = host.lodge(&["dumpxml", name])?.ok()?.stdout;
        let mac = xml.split("<mac address='").nth(1).and_then(|rest| rest.split('\'').next());
        let uuid = xml.split("<uuid>").nth(1).and_then(|rest| rest.split('<').next());
        let disk = xml.split("<source file='").nth(1).and_then(|rest| rest.split('\'').next());
        for value in [mac, uuid, disk] {
            let value = value.with_context(|| format!("missing in {xml}"))?;
            ensure!(found.insert(value.to_owned()), "`{value}` is there twice");
        }
    }
    Ok(found)
}

#[test]
fn a_template_and_many_clones_of_it() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let disk = source(&host, "web1")?;
    let before = std::fs::read(&disk)?;
    let create = ["template", "create", "web1", "--name", "web"];
    // No Linux is on it: nothing proves that it is nobody, so that must be wished.
    host.lodge(&create)?.fails_saying(&["no Linux was found", "--keep-identity"])?;
    let left = pool(&host)?;
    ensure!(!left.iter().any(|name| name.starts_with("web-v")), "files were left: {left:?}");
    let create = [&create[..], &["--keep-identity"]].concat();
    let made = host.lodge(&create)?.ok()?;
    ensure!(made.stdout.contains("Template 'web:1' made of 'web1'"), "{}", made.stdout);
    host.lodge(&create)?.ok()?;
    let listed = host.json(&["template", "list"])?;
    let versions: Vec<_> =
        listed.as_array().context("a list")?.iter().map(|one| one["version"].clone()).collect();
    ensure!(versions == [2, 1], "{versions:?}");

    host.lodge_for(Duration::from_mins(3), &["clone", "web", "node", "--count", "12"])?.ok()?;
    let clones: Vec<String> = (1..=12).map(|number| format!("node-{number}")).collect();
    let found = identities(&host, &clones)?;
    ensure!(found.len() == 36, "{found:?}");
    ensure!(!found.contains("52:54:00:00:00:01"), "a clone has its source's address");
    ensure!(std::fs::read(&disk)? == before, "the source was written");

    // Its second version carries them, and says so; the first carries nobody.
    let refused = host.lodge(&["template", "rm", "web"])?;
    ensure!(refused.status.code() == Some(7) && refused.stderr.contains("in use"), "{}", refused.stderr);
    host.lodge(&["template", "rm", "web:1"])?.ok()?;
    host.lodge(&["rm", "node-1"])?.ok()?;
    ensure!(!pool(&host)?.contains("node-1.qcow2"), "its disk stayed");
    let log = host.json(&["identity", "log", "node-2"])?;
    ensure!(log[0]["act"] == "clone" && log[0]["source"] == "web:2", "{log}");
    Ok(())
}

#[test]
fn what_cannot_be_cloned_is_told_with_the_next_step() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    source(&host, "web1")?;
    let refuse = |args: &[&str], code: i32, words: &str| -> Result<()> {
        let done = host.lodge(args)?;
        let is_so = done.status.code() == Some(code) && done.stderr.contains(words);
        ensure!(is_so, "{args:?}: {:?} {}", done.status.code(), done.stderr);
        Ok(())
    };
    refuse(&["clone", "nobody", "x"], 3, "there is no domain and no template `nobody`")?;
    refuse(&["clone", "web1", "web1"], 4, "there is a domain `web1` already")?;
    refuse(&["clone", "web1", "x", "--linked"], 5, "lodge template create web1")?;
    refuse(&["clone", "web1", "x", "--mac", "52:54:00:00:00:01"], 7, "is another machine's")?;
    refuse(&["clone", "web1", "x", "--mac", "nonsense"], 2, "is no MAC address")?;
    refuse(&["clone", "web1", "x", "--count", "2", "--mac", "random"], 2, "only be given for one clone")?;
    refuse(&["virt-clone", "-o", "web1", "-n", "web1", "--replace"], 2, "by a clone of itself")?;
    refuse(&["virt-clone", "-o", "web1", "-n", "x", "--check", "mac_in_use=off"], 9, "stays on")?;
    refuse(&["virt-clone", "-o", "web1", "-n", "x", "--force-copy", "vdz"], 3, "has no disk vdz")?;
    refuse(&["virt-clone", "--original-xml", "/nothing", "-n", "x"], 3, "/nothing")?;
    refuse(&["template", "info", "web"], 3, "there is no template `web`")?;
    host.lodge(&["start", "web1"])?.ok()?;
    refuse(&["clone", "web1", "x"], 9, "VM generation id")?;
    host.lodge(&["destroy", "web1"])?.ok()?;

    // virt-clone's way, and a document that is only shown.
    let shown = host.lodge(&["virt-clone", "-o", "web1", "--auto-clone", "--print-xml"])?.ok()?;
    ensure!(shown.stdout.contains("<name>web1-clone</name>"), "{}", shown.stdout);
    host.lodge(&["virt-clone", "-o", "web1", "--auto-clone", "-m", "52:54:00:aa:bb:cc"])?.ok()?;
    let xml = host.lodge(&["dumpxml", "web1-clone"])?.ok()?.stdout;
    ensure!(xml.contains("52:54:00:aa:bb:cc") && xml.contains("web1-clone.qcow2"), "{xml}");
    // A copy that stands alone.
    host.lodge(&["clone", "web1", "alone", "--full"])?.ok()?;
    ensure!(
        names(&host)? == ["alone", "web1", "web1-clone"].map(str::to_owned).into(),
        "{:?}",
        names(&host)?
    );
    Ok(())
}

#[test]
fn virt_clones_options_mean_what_they_mean_there() -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let disk = source(&host, "web1")?;
    let before = std::fs::read(&disk)?;
    let seed = host.root().join("var/lib/libvirt/images/seed.img");
    std::fs::write(&seed, vec![1; 4096])?;
    let read_only = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/>\
         <target dev='vdb' bus='virtio'/><readonly/></disk></devices>",
        seed.display()
    );
    let document = host.lodge(&["dumpxml", "web1"])?.ok()?.stdout.replace("</devices>", &read_only);
    let document = host.file("web1.xml", &document)?;
    host.lodge(&["define", &document])?.ok()?;

    // What both may have is copied where that is asked for.
    host.lodge(&["virt-clone", "-o", "web1", "-n", "shares", "--auto-clone"])?.ok()?;
    let xml = host.lodge(&["dumpxml", "shares"])?.ok()?.stdout;
    ensure!(xml.contains("/seed.img'") && xml.contains("/shares.qcow2'"), "{xml}");
    host.lodge(&["virt-clone", "-o", "web1", "-n", "own", "--force-copy=vdb", "--auto-clone"])?.ok()?;
    let xml = host.lodge(&["dumpxml", "own"])?.ok()?.stdout;
    ensure!(!xml.contains("/seed.img'") && xml.contains("/own-vdb.img'"), "{xml}");

    // All space from the beginning.
    host.lodge(&["virt-clone", "-o", "web1", "-n", "full", "--nonsparse", "--auto-clone"])?.ok()?;
    let file = host.root().join("var/lib/libvirt/images/full.qcow2").metadata()?;
    ensure!(file.blocks() * 512 >= file.len(), "{} blocks of {} bytes", file.blocks(), file.len());
    host.lodge(&["virt-clone", "-o", "web1", "-n", "x", "--nonsparse", "--reflink"])?
        .fails_saying(&["--reflink"])?;

    // Another in the place of one, which runs; its disk stays.
    let old = host.lodge(&["domuuid", "shares"])?.ok()?.stdout;
    host.lodge(&["start", "shares"])?.ok()?;
    host.lodge(&["virt-clone", "-o", "web1", "-n", "shares", "--auto-clone"])?.fails_saying(&["already"])?;
    host.lodge(&["virt-clone", "-o", "web1", "-n", "shares", "--replace", "--print-xml"])?.ok()?;
    ensure!(host.lodge(&["domuuid", "shares"])?.ok()?.stdout == old, "it was replaced by a look");
    host.lodge(&["virt-clone", "-o", "web1", "-n", "shares", "--replace", "--auto-clone"])?.ok()?;
    ensure!(host.lodge(&["domuuid", "shares"])?.ok()?.stdout != old, "it was not replaced");
    ensure!(host.lodge(&["domstate", "shares"])?.ok()?.stdout.trim() == "shut off");
    let xml = host.lodge(&["dumpxml", "shares"])?.ok()?.stdout;
    ensure!(xml.contains("/shares-1.qcow2'") && pool(&host)?.contains("shares.qcow2"), "{xml}");

    // A document alone is enough: nobody is defined by it, but nobody may be writing to its disks.
    host.lodge(&["start", "web1"])?.ok()?;
    host.lodge(&["virt-clone", "--original-xml", &document, "--auto-clone"])?
        .fails_saying(&["web1.qcow2"])?;
    host.lodge(&["destroy", "web1"])?.ok()?;
    host.lodge(&["undefine", "web1"])?.ok()?;
    host.lodge(&["virt-clone", "--original-xml", &document, "--auto-clone"])?.ok()?;
    let xml = host.lodge(&["dumpxml", "web1-clone"])?.ok()?.stdout;
    ensure!(xml.contains("/web1-clone.qcow2'") && !xml.contains("52:54:00:00:00:01"), "{xml}");
    host.lodge(&["virt-clone", "-o", "web1-clone", "--auto-clone", "--print-xml"])?.ok()?;
    ensure!(std::fs::read(&disk)? == before, "the source was written");
    Ok(())
}

#[test]
fn clones_are_whole_or_gone_when_the_daemon_is_killed_amid_them() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    let disk = source(&host, "web1")?;
    let before = std::fs::read(&disk)?;
    for round in 0..5_u64 {
        let prefix = format!("r{round}");
        host.cut(&["clone", "web1", &prefix, "--count", "40"], |_| {
            // A moment that differs from round to round: the clones are at other steps each time.
            std::thread::sleep(Duration::from_millis(120 + 61 * round));
            Ok(())
        })?;
        ensure!(std::fs::read(&disk)? == before, "the source was written in round {round}");
        // Each disk has its guest and each guest its disk: none is half made.
        let guests: BTreeSet<String> =
            names(&host)?.into_iter().map(|name| format!("{name}.qcow2")).collect();
        let disks = pool(&host)?;
        ensure!(guests == disks, "round {round}: guests {guests:?}, files {disks:?}");
    }
    Ok(())
}
