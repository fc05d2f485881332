//! Bad input of every kind: a message that names the place and the cause, an exit code, and nothing left half-made.

use std::path::Path;

use anyhow::{Result, ensure};
use lodge_tests::{
    Host, Trace,
    document::{nat_network, tiny, tiny_with},
    turn_alone,
};

/// Everything under the daemon's root that an act may make, by path and size; logs and the database change by themselves.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if name.contains("lodge.db")
                || name.contains("log/")
                || name.starts_with("documents")
                || name == "daemon.out"
                // The daemon's own note of this boot, which it writes beside serving.
                || name.ends_with("/autostarted")
            {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            } else {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

/// Runs `lodge ARGS`, which must fail with these words and change nothing.
fn refused(host: &Host, args: &[&str], words: &[&str]) -> Result<()> {
    let (files_before, trace) = (files(host.root()), Trace::look(host.root()));
    let done = host.lodge(args)?.fails_saying(words)?;
    ensure!(done.status.code().is_some_and(|code| code != 0), "no exit code: {}", done.status);
    let files_after = files(host.root());
    ensure!(
        files_before == files_after,
        "`{}` changed files:\n{files_before:#?}\n{files_after:#?}",
        done.command
    );
    trace.is_unchanged(host.root())
}

#[test]
fn documents_that_make_no_sense_are_refused_by_place() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let host = Host::start()?;
    let cases = [
        ("not-xml", "<domain><name>x</name>".to_owned(), &["line 1"][..]),
        ("not-a-domain", "<network/>".to_owned(), &["domain"]),
        ("no-name", tiny("x").replace("<name>x</name>", ""), &["name"]),
        ("bad-memory", tiny("x").replace("'MiB'>64", "'MiB'>lots"), &["memory", "lots"]),
        ("slash", tiny("a/b"), &["name", "/"]),
        (
            "two-vda",
            tiny_with("x", &"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/x'/><target dev='vda' bus='virtio'/></disk>".repeat(2)),
            &["vda"],
        ),
        (
            // One MAC address for two cards is none: those of a team have one.
            "one-place",
            tiny_with("x", &"<interface type='user'><address type='pci' domain='0' bus='0' slot='9'/></interface>".repeat(2)),
            &["interface[2]", "0000:00:09.0"],
        ),
    ];
    for (name, document, words) in cases {
        let path = host.file(&format!("{name}.xml"), &document)?;
        refused(&host, &["define", &path], words)?;
    }
    refused(&host, &["define", "/nonexistent.xml"], &["/nonexistent.xml", "No such file"])?;
    Ok(())
}

#[test]
fn taken_names_and_missing_parts_are_told() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let host = Host::start()?;
    let one = host.file("one.xml", &tiny("one"))?;
    host.lodge(&["define", &one])?.ok()?;
    let uuid = host.lodge(&["domuuid", "one"])?.ok()?.lines().concat();

    let two = tiny("two").replace("<memory", &format!("<uuid>{uuid}</uuid><memory"));
    let path = host.file("two.xml", &two)?;
    refused(&host, &["define", &path], &[&uuid, "one"])?;

    let other = tiny("one").replace("<memory", "<uuid>11111111-2222-4333-8444-555555555555</uuid><memory");
    let path = host.file("other.xml", &other)?;
    refused(&host, &["define", &path], &["one", &uuid])?;

    let disk = "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/nonexistent.qcow2'/><target dev='vda' bus='virtio'/></disk>";
    let path = host.file("nodisk.xml", &tiny_with("nodisk", disk))?;
    host.lodge(&["define", &path])?.ok()?;
    refused(&host, &["start", "nodisk"], &["/nonexistent.qcow2"])?;

    let junk = host.file("junk.qcow2", "this is no image")?;
    let disk = disk.replace("/nonexistent.qcow2", &junk);
    let path = host.file("junk.xml", &tiny_with("junk", &disk))?;
    host.lodge(&["define", &path])?.ok()?;
    refused(&host, &["start", "junk"], &["junk.qcow2", "qcow2"])?;

    let nic = "<interface type='network'><source network='nowhere'/></interface>";
    let path = host.file("nonet.xml", &tiny_with("nonet", nic))?;
    host.lodge(&["define", &path])?.ok()?;
    refused(&host, &["start", "nonet"], &["nowhere"])?;

    let path = host.file("machine.xml", &tiny("machine").replace("'q35'", "'pc-q35-99.9'"))?;
    refused(&host, &["define", &path], &["pc-q35-99.9"])?;
    refused(&host, &["start", "unheard-of"], &["unheard-of"])?;
    refused(&host, &["migrate", "one", "qemu+ssh://elsewhere/system"], &["another host yet", "dumpxml"])?;
    Ok(())
}

#[test]
fn taken_bridges_and_subnets_are_told() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let host = Host::start()?;
    let path = host.file("net.xml", &nat_network("first", "lgt-b0", 199))?;
    host.lodge(&["net-define", &path])?.ok()?;
    host.lodge(&["net-start", "first"])?.ok()?;

    // Two guests with one MAC on one network: the second one is refused by the first one's name.
    for name in ["mac1", "mac2"] {
        let nic = "<interface type='network'><mac address='52:54:00:aa:bb:cc'/><source network='first'/></interface>";
        let path = host.file(&format!("{name}.xml"), &tiny_with(name, nic))?;
        host.lodge(&["define", &path])?.ok()?;
    }
    host.lodge(&["start", "mac1"])?.ok()?;
    refused(&host, &["start", "mac2"], &["52:54:00:aa:bb:cc", "mac1"])?;
    host.lodge(&["destroy", "mac1"])?.ok()?;

    // Another root's daemon must not take the bridge of this one, nor its subnet.
    let other = Host::start()?;
    let path = other.file("net.xml", &nat_network("second", "lgt-b0", 198))?;
    other.lodge(&["net-define", &path])?.ok()?;
    refused(&other, &["net-start", "second"], &["lgt-b0"])?;
    let path = other.file("net3.xml", &nat_network("third", "lgt-b1", 199))?;
    other.lodge(&["net-define", &path])?.ok()?;
    refused(&other, &["net-start", "third"], &["192.168.199"])?;
    Ok(())
}

#[test]
fn a_second_daemon_on_the_same_root_is_refused() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let host = Host::start()?;
    let mut second = std::process::Command::new(lodge_tests::host::lodge_program()?);
    second.args(["daemon", "--root"]).arg(host.root());
    let done = lodge_tests::host::finish(&mut second, std::time::Duration::from_secs(20), "lodge daemon")?;
    done.fails_saying(&["locked by process", &host.daemon_pid().to_string()])?;
    host.lodge(&["list", "--all"])?.ok()?;
    Ok(())
}

#[test]
fn a_full_file_system_is_told_and_nothing_is_half_made() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    // A root of 24 MiB: the daemon starts, and a clone or a define finds no room once it is filled.
    let Some(small) = lodge_tests::SmallDisk::new(24)? else { return Ok(()) };
    let host = Host::start_in(small.path())?;
    let path = host.file("one.xml", &tiny("one"))?;
    small.fill()?;
    refused(&host, &["define", &path], &["No space left"])?;
    small.free()?;
    host.lodge(&["define", &path])?.ok()?;
    Ok(())
}
