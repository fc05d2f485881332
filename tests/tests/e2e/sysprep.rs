//! `lodge sysprep -a`: the identity goes out of a machine that is no domain, and out of nothing that somebody needs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, document::tiny_with};

use super::identity::{MACHINE_ID, a_host_with_web1, run, text};

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
    let Some((_turn, host)) = a_host_with_web1("", &[])? else { return Ok(()) };
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

/// virt-sysprep's customizations, read back by debugfs, which knows nothing of ours.
#[test]
fn what_is_said_to_be_in_an_image_is_in_it() -> Result<()> {
    let more = [
        ("etc/shadow", "root:*:1:0:99999:7:::\nbob:*:1:0:99999:7:::\n"),
        ("etc/group", "root:x:0:\nbob:x:1000:\n"),
        ("home/bob/.profile", "x"),
        ("root/.ssh/authorized_keys", "ssh-ed25519 OLD\n"),
        ("usr/share/zoneinfo/Europe/London", "TZif"),
        ("etc/timezone", "Etc/UTC\n"),
        ("var/log/one.log", "1"),
        ("srv/data", "data"),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nbob:x:1000:1000::/home/bob:/bin/sh\n"),
    ];
    let Some((_turn, host)) = a_host_with_web1("", &more)? else { return Ok(()) };
    let raw = loose(&host)?;
    let file = text(&raw)?;
    let base = ["sysprep", "-a", file, "--format", "raw"];
    let run_with = |args: &[&str]| host.lodge(&[&base[..], args].concat());
    let before = fs::read(&raw)?;

    // What cannot be done is refused by name, before anything is touched.
    for (args, words) in [
        (&["--run-command", "true"][..], "--run-command is not supported: a program of the guest's"),
        (&["--install", "nginx"], "--install is not supported"),
        (&["--edit", "/etc/hosts:s/a/b/"], "--edit is not supported"),
        (&["--update"], "--update is not supported"),
        (&["--enable", "machine-id", "--write", "/a:b"], "`customize`, which is not wished"),
        (&["--keep-user-accounts", "bob"], "`user-account`, which is not wished"),
        (&["--operations", "script"], "the operation `script` is not supported"),
        (&["--password-crypto", "md5", "--root-password", "password:x"], "md5 is not supported"),
        (&["--chmod", "0644:/never"], "/never is not there"),
        (&["--ssh-inject", "nobody:string:k"], "no user `nobody`"),
        (&["--hostname", "master", "--write", "/etc/hostname:other"], "host-name"),
    ] {
        run_with(args)?.fails_saying(&[words])?;
        ensure!(fs::read(&raw)? == before, "{args:?} was refused and changed the image");
    }

    let local = host.file("motd", "hello there\n")?;
    let script = host.file("first.sh", "#!/bin/sh\necho first\n")?;
    let key = "ssh-ed25519 NEW bob@example.com";
    let steps = [
        "--write=/etc/new/file:content\n",
        "--chmod=0600:/etc/new/file",
        "--append-line=/etc/hosts:192.0.2.7 other",
        &format!("--upload={local}:/etc/motd"),
        "--mkdir=/srv/a/b",
        "--chown=7:8:/srv/a/b",
        "--move=/srv/data:/srv/a",
        "--link=/srv/a/data:/data:/data2",
        "--delete=/var/log/*.log",
        "--touch=/etc/touched",
        "--timezone=Europe/London",
        "--root-password=password:secret",
        "--password=bob:locked:password:other",
        &format!("--ssh-inject=bob:string:{key}"),
        &format!("--ssh-inject=root:string:{key}"),
        &format!("--firstboot={script}"),
        "--firstboot-command=echo second",
    ];
    let done = run_with(&[&steps[..], &["-o", "json"]].concat())?.ok()?;
    for word in ["secret", "other:"] {
        ensure!(!done.stdout.contains(word) && !host.log().contains("secret"), "a password is told");
    }
    ensure!(inside(&raw, "/etc/new/file")? == "content");
    ensure!(inside(&raw, "/etc/hosts")?.ends_with("192.0.2.7 other"), "{}", inside(&raw, "/etc/hosts")?);
    ensure!(inside(&raw, "/etc/motd")? == "hello there");
    ensure!(inside(&raw, "/srv/a/data")? == "data" && inside(&raw, "/srv/data")?.is_empty());
    ensure!(inside(&raw, "/etc/timezone")? == "Europe/London");
    ensure!(inside(&raw, "/home/bob/.ssh/authorized_keys")? == key);
    // The operation ssh-userdir took the old one away before.
    ensure!(
        inside(&raw, "/root/.ssh/authorized_keys")? == key,
        "{}",
        inside(&raw, "/root/.ssh/authorized_keys")?
    );
    let shadow = inside(&raw, "/etc/shadow")?;
    ensure!(shadow.contains("root:$6$") && shadow.contains("bob:!!$6$"), "{shadow}");
    ensure!(inside(&raw, "/usr/lib/lodge/first-boot/0001-first-sh")?.contains("echo first"));
    ensure!(inside(&raw, "/usr/lib/lodge/first-boot/0002-echo-second")?.contains("echo second"));
    let stat = |path: &str| -> Result<String> {
        let said = Command::new("debugfs").args(["-R", &format!("stat {path}"), file]).output()?;
        Ok(String::from_utf8(said.stdout)?)
    };
    ensure!(stat("/etc/new/file")?.contains("Mode:  0600"), "{}", stat("/etc/new/file")?);
    ensure!(
        stat("/home/bob/.ssh")?.contains("Mode:  0700") && stat("/home/bob/.ssh")?.contains("User:  1000")
    );
    let owned = stat("/srv/a/b")?;
    ensure!(owned.contains("User:     7") && owned.contains("Group:     8"), "{owned}");
    ensure!(stat("/data2")?.contains("Fast link dest: \"/srv/a/data\""), "{}", stat("/data2")?);
    ensure!(stat("/var/log/one.log")?.is_empty(), "{}", stat("/var/log/one.log")?);
    run("e2fsck", &["-fn", file])?;

    // The users that people have, with their homes.
    run_with(&["--enable", "user-account"])?.ok()?;
    ensure!(inside(&raw, "/etc/passwd")? == "root:x:0:0:root:/root:/bin/bash");
    ensure!(!inside(&raw, "/etc/shadow")?.contains("bob") && stat("/home/bob")?.is_empty());
    run("e2fsck", &["-fn", file])?;
    // From a file, in its order.
    let commands =
        host.file("commands", "# as virt-builder's\nwrite /etc/order:1\nappend-line /etc/order:2\n")?;
    run_with(&["--enable", "customize", "--commands-from-file", &commands])?.ok()?;
    ensure!(inside(&raw, "/etc/order")? == "1\n2", "{}", inside(&raw, "/etc/order")?);
    run("e2fsck", &["-fn", file])
}

#[test]
fn nothing_that_somebody_needs_is_changed() -> Result<()> {
    let Some((_turn, host)) = a_host_with_web1("", &[])? else { return Ok(()) };
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
    let Some((_turn, mut host)) = a_host_with_web1("", &[])? else { return Ok(()) };
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
