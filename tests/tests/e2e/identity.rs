//! Identities by the command line: what a guest that is off is known by, clones that are other machines inside, and what
//! an audit finds.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, Turn, document::tiny_with, skip, turn};
use serde_json::Value;

pub(super) const MACHINE_ID: &str = "17f2e0698e844e31b12ccd3f9aa4d94a";
const PATIENCE: Duration = Duration::from_mins(5);

/// A guest that is off, with an ext4 disk of a small Debian's files where an identity is kept; no file system is mounted.
fn source(host: &Host, name: &str) -> Result<()> {
    source_with(host, name, &[])
}

/// The same with more files.
fn source_with(host: &Host, name: &str, more: &[(&str, &str)]) -> Result<()> {
    let tree = tempfile::tempdir()?;
    let file = |path: &str, text: &str| -> Result<()> {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().context("a parent")?)?;
        Ok(fs::write(path, text)?)
    };
    file("etc/os-release", "ID=debian\nVERSION_ID=12\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n")?;
    file("etc/debian_version", "12.5\n")?;
    file("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")?;
    file("etc/machine-id", &format!("{MACHINE_ID}\n"))?;
    file("var/lib/dbus/machine-id", &format!("{MACHINE_ID}\n"))?;
    file("etc/hostname", "web1\n")?;
    file("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 web1\n")?;
    file("etc/fstab", "/dev/vda / ext4 defaults 0 1\n")?;
    file("usr/lib/systemd/systemd", "")?;
    more.iter().try_for_each(|(path, text)| file(path, text))?;
    fs::create_dir_all(tree.path().join("bin"))?;
    let pool = host.root().join("var/lib/libvirt/images");
    fs::create_dir_all(&pool)?;
    let (raw, disk) = (pool.join(format!("{name}.raw")), pool.join(format!("{name}.qcow2")));
    run("mke2fs", &["-q", "-t", "ext4", "-d", text(tree.path())?, text(&raw)?, "64M"])?;
    run("qemu-img", &["convert", "-O", "qcow2", text(&raw)?, text(&disk)?])?;
    fs::remove_file(&raw)?;
    let devices = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
         <target dev='vda' bus='virtio'/></disk><interface type='user'><model type='virtio'/></interface>",
        disk.display()
    );
    let document = host.file(&format!("{name}.xml"), &tiny_with(name, &devices))?;
    host.lodge(&["define", &document])?.ok().map(drop)
}

/// This test's turn, and in it a daemon with these settings and a guest `web1` that has these files too. None: what that
/// needs is not here, which was said.
pub(super) fn a_host_with_web1(settings: &str, more: &[(&str, &str)]) -> Result<Option<(Turn, Host)>> {
    let Some(turn) = turn() else { return Ok(None) };
    if Command::new("mke2fs").arg("-V").output().is_err() {
        skip("there is no mke2fs");
        return Ok(None);
    }
    let host = Host::start_told(settings, &[])?;
    source_with(&host, "web1", more)?;
    Ok(Some((turn, host)))
}

/// A second guest with the machine id of `web1`; what lies in both has been looked at.
fn one_more_alike(host: &Host) -> Result<()> {
    source(host, "web2")?;
    host.lodge_for(PATIENCE, &["identity", "check", "web1", "web2"])?.fails_saying(&[MACHINE_ID]).map(drop)
}

pub(super) fn run(program: &str, args: &[&str]) -> Result<()> {
    let done =
        Command::new(program).args(args).output().with_context(|| format!("{program} does not run"))?;
    ensure!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

pub(super) fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

fn machine_id(host: &Host, name: &str) -> Result<String> {
    Ok(host.lodge_for(PATIENCE, &["identity", "show", name, "--get"])?.ok()?.stdout.trim().to_owned())
}

#[test]
fn a_clone_is_another_machine_inside_and_an_audit_finds_those_that_are_not() -> Result<()> {
    let Some((_turn, host)) = a_host_with_web1("", &[])? else { return Ok(()) };
    ensure!(machine_id(&host, "web1")? == MACHINE_ID, "its machine id is not read");

    let made = host.lodge_for(PATIENCE, &["clone", "web1", "web2"])?.ok()?;
    ensure!(made.stdout.contains("with an identity of its own"), "{}{}", made.stdout, made.stderr);
    // Known before anybody looks into it.
    let listed = host.json(&["list", "--all", "--identity"])?;
    let of_clone = listed.as_array().context("a list")?.iter().find(|domain| domain["name"] == "web2");
    let told = of_clone.and_then(|domain| domain["machine_id"].as_str()).context("no machine id")?.to_owned();
    let other = machine_id(&host, "web2")?;
    ensure!(told == other, "{told} is listed, and it has {other}");
    ensure!(other.len() == 32 && other != MACHINE_ID, "web2 has {other}");
    ensure!(machine_id(&host, "web1")? == MACHINE_ID, "the source was changed");
    let shown = host.json(&["identity", "log", "web2"])?;
    let is_noted = shown[0]["changes"].as_array().context("changes")?.iter().any(|change| {
        change["item"] == "machine-id" && change["old"] == MACHINE_ID && change["new"] == other.as_str()
    });
    ensure!(is_noted, "{shown}");
    host.lodge_for(PATIENCE, &["identity", "check"])?.ok()?;
    host.lodge_for(PATIENCE, &["identity", "audit"])?.ok()?;

    // One that keeps it is found, with all that is alike.
    host.lodge_for(PATIENCE, &["clone", "web1", "twin", "--keep-identity"])?.ok()?;
    let audit = host.lodge_for(PATIENCE, &["identity", "audit"])?;
    ensure!(audit.status.code() == Some(1), "{:?}", audit.status);
    ensure!(audit.stdout.contains("machine-id") && audit.stdout.contains("twin"), "{}", audit.stdout);
    let check = host.lodge_for(PATIENCE, &["identity", "check", "web1", "twin"])?;
    ensure!(check.status.code() == Some(7) && check.stderr.contains(MACHINE_ID), "{}", check.stderr);
    let diff = host.lodge_for(PATIENCE, &["identity", "diff", "web1", "twin"])?.ok()?;
    ensure!(diff.stdout.contains("ALIKE"), "{}", diff.stdout);

    // And made another.
    host.lodge_for(PATIENCE, &["identity", "reset", "twin"])?.ok()?;
    let again = machine_id(&host, "twin")?;
    ensure!(again.len() == 32 && again != MACHINE_ID && again != other, "twin has {again}");
    let listed = host.lodge(&["list", "--all", "--identity"])?.ok()?.stdout;
    ensure!(listed.contains(&other) && listed.contains("Machine id"), "{listed}");

    // A template has none.
    host.lodge_for(PATIENCE, &["template", "create", "web1", "--name", "web"])?.ok()?;
    let view = host.json(&["template", "info", "web"])?;
    ensure!(view["inside"] == "reset", "{view}");
    let shown = host.lodge_for(PATIENCE, &["identity", "show", "web:1", "--get"])?;
    ensure!(!shown.status.success(), "a template has the machine id {}", shown.stdout);
    host.lodge_for(PATIENCE, &["clone", "web", "node", "--count", "3"])?.ok()?;
    let mut ids: Vec<String> =
        ["node-1", "node-2", "node-3"].iter().map(|name| machine_id(&host, name)).collect::<Result<_>>()?;
    ids.sort();
    ids.dedup();
    ensure!(ids.len() == 3, "{ids:?}");
    Ok(())
}

/// What `dbus-uuidgen --ensure` is for: silent where there is one, and one is made where there is none.
#[test]
fn a_machine_id_is_ensured() -> Result<()> {
    let Some((_turn, host)) = a_host_with_web1("", &[])? else { return Ok(()) };
    // As a template leaves it, and as nobody should: D-Bus's file with nothing in it, no other.
    source_with(&host, "empty", &[("etc/machine-id", ""), ("var/lib/dbus/machine-id", "")])?;
    source_with(&host, "words", &[("etc/machine-id", "uninitialized\n"), ("var/lib/dbus/machine-id", "")])?;
    let disk = |name: &str| fs::read(host.root().join(format!("var/lib/libvirt/images/{name}.qcow2")));

    let before = disk("web1")?;
    let quiet = host.lodge_for(PATIENCE, &["identity", "check", "--ensure", "web1"])?.ok()?;
    ensure!(quiet.stdout.is_empty() && quiet.stderr.is_empty(), "{}{}", quiet.stdout, quiet.stderr);
    ensure!(disk("web1")? == before, "one that has a machine id was written to");
    ensure!(machine_id(&host, "web1")? == MACHINE_ID);

    let mut ids = vec![MACHINE_ID.to_owned()];
    for name in ["empty", "words"] {
        host.lodge_for(PATIENCE, &["identity", "show", name, "--get"])?.fails_saying(&["no machine id"])?;
        host.lodge_for(PATIENCE, &["identity", "check", name])?.fails_saying(&["has no machine id"])?;
        let made = host.lodge_for(PATIENCE, &["identity", "check", "--ensure", name])?.ok()?;
        let id = machine_id(&host, name)?;
        ensure!(id.len() == 32 && made.stdout.contains(&id), "{id}: {}", made.stdout);
        let acts = host.json(&["identity", "log", name])?;
        let changes = acts[0]["changes"].as_array().context("changes")?;
        let is_alone =
            changes.iter().all(|change| change["item"] == "machine-id" && change["new"] == id.as_str());
        ensure!(acts[0]["act"] == "ensure" && !changes.is_empty() && is_alone, "{acts}");
        // Again: there is nothing to do, and nothing is written down.
        let quiet = host.lodge_for(PATIENCE, &["identity", "check", "--ensure", name])?.ok()?;
        ensure!(quiet.stdout.is_empty(), "{}", quiet.stdout);
        ensure!(host.json(&["identity", "log", name])?.as_array().is_some_and(|acts| acts.len() == 1));
        ensure!(machine_id(&host, name)? == id);
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    ensure!(ids.len() == 3, "{ids:?}");
    // Nothing else became another.
    let diff = host.json(&["identity", "diff", "web1", "empty"])?;
    let alike = diff["alike"].as_array().context("alike")?;
    ensure!(alike.iter().any(|pair| pair["item"] == "host-name"), "{diff}");

    // All at once; who cannot be told of does not keep the others from theirs, and a template has none on purpose.
    host.lodge_for(PATIENCE, &["template", "create", "web1", "--name", "web"])?.ok()?;
    host.lodge_for(PATIENCE, &["identity", "check", "--ensure", "web:1", "web1"])?
        .fails_saying(&["on purpose"])?;
    let document = host.file("bare.xml", &tiny_with("bare", ""))?;
    host.lodge(&["define", &document])?.ok()?;
    host.lodge_for(PATIENCE, &["identity", "check", "--ensure"])?.fails_saying(&["bare"]).map(drop)
}

/// What a machine is known by, beside what each of these has.
const KNOWN_BY: &[(&str, &str)] = &[
    ("usr/sbin/sshd", ""),
    ("etc/ssh/sshd_config", "PermitRootLogin no\n"),
    ("etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.1993-08.org.debian:01:0123456789ab\n"),
    ("etc/nvme/hostid", "dddd0001-1111-4222-8333-444455556666\n"),
    ("etc/nvme/hostnqn", "nqn.2014-08.org.nvmexpress:uuid:dddd0001-1111-4222-8333-444455556666\n"),
    ("var/lib/systemd/random-seed", "0123456789abcdef0123456789abcdef"),
    ("var/lib/systemd/credential.secret", "0123456789abcdef0123456789abcdef"),
    (
        "etc/NetworkManager/system-connections/lan.nmconnection",
        "[connection]\nid=lan\nuuid=cccc0002-1111-4222-8333-444455556666\ntype=ethernet\n\n[ipv4]\nmethod=auto\n",
    ),
];

/// Each with each other, over all that the catalogue knows: those of a template and those of a domain.
#[test]
#[ignore = "it takes a minute: cargo xtask lab clones"]
fn lab_hundred_clones_have_nothing_in_common() -> Result<()> {
    let Some((_turn, host)) = a_host_with_web1("", KNOWN_BY)? else { return Ok(()) };
    host.lodge_for(PATIENCE, &["template", "create", "web1", "--name", "web"])?.ok()?;
    for (source, name, count) in [("web", "node", "100"), ("web1", "twin", "5")] {
        host.lodge_for(PATIENCE, &["clone", source, name, "--count", count])?.ok()?;
    }
    let names = host.lodge(&["list", "--all", "--name"])?.ok()?.lines();
    ensure!(names.len() == 106, "{names:?}");
    let mut who: HashMap<(String, String), String> = HashMap::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for some in names.chunks(10) {
        let asked: Vec<&str> =
            ["identity", "show"].into_iter().chain(some.iter().map(String::as_str)).collect();
        let shown = host.lodge_for(PATIENCE, &[&asked[..], &["-o", "json"]].concat())?.ok()?.stdout;
        let shown: Value = serde_json::from_str(&shown)?;
        for (name, view) in some.iter().zip(shown.as_array().context("a list")?) {
            let items = view["items"].as_array().context("items")?;
            for item in items.iter().filter(|item| item["is_unique"] == true) {
                let (kind, Some(value)) = (item["item"].as_str().context("a kind")?, item["value"].as_str())
                else {
                    continue;
                };
                let other = who.insert((kind.to_owned(), value.to_owned()), name.clone());
                if other.is_none() {
                    *kinds.entry(kind.to_owned()).or_default() += 1;
                }
                ensure!(
                    other.as_ref().is_none_or(|other| other == name),
                    "{name} and {other:?} have the {kind} {value}"
                );
            }
        }
    }
    // What a template has none of, its clones get at their first boot; those of a domain have their own.
    let of_all = ["machine-id", "host-name", "ssh-host-key", "content-uuid", "mac-address", "smbios-uuid"];
    let of_some = ["iscsi-initiator", "nvme-host-id", "nvme-host-nqn", "random-seed", "connection-uuid"];
    for (some, least) in [(&of_all[..], names.len() - 1), (&of_some[..], 6)] {
        for kind in some {
            let count = kinds.get(*kind).copied().unwrap_or_default();
            ensure!(count >= least, "{count} have a {kind}: {kinds:?}");
        }
    }
    host.lodge_for(PATIENCE, &["identity", "audit", "--fresh"])?.ok()?;
    Ok(())
}

#[test]
fn an_audit_goes_over_the_hosts_containers() -> Result<()> {
    let Some((_turn, host)) = a_host_with_web1("", &[])? else { return Ok(()) };
    let machine = |root: &str, id: &str| -> Result<()> {
        let etc = host.root().join(root).join("etc");
        fs::create_dir_all(&etc)?;
        fs::write(etc.join("os-release"), "ID=debian\n")?;
        fs::write(etc.join("hostname"), format!("{}\n", &id[..6]))?;
        Ok(fs::write(etc.join("machine-id"), format!("{id}\n"))?)
    };
    let lxc = host.root().join("var/lib/lxc");
    fs::create_dir_all(lxc.join("one"))?;
    fs::write(lxc.join("one/config"), "lxc.rootfs.path = dir:/var/lib/lxc/one/rootfs\n")?;
    machine("var/lib/lxc/one/rootfs", "0123456789abcdef0123456789abcdef")?;
    machine("var/lib/machines/two", "fedcba9876543210fedcba9876543210")?;
    let clean = host.lodge_for(PATIENCE, &["identity", "audit"])?.ok()?;
    // Whoever is on this machine's network is counted too.
    let machines = clean.stdout.split(' ').next().and_then(|count| count.parse::<u32>().ok());
    ensure!(machines.is_some_and(|count| count >= 3), "{}{}", clean.stdout, clean.stderr);

    machine("var/lib/incus/storage-pools/default/containers/three/rootfs", MACHINE_ID)?;
    // One whose file leads out of it, to another's.
    machine("var/lib/machines/four", "00000000000000000000000000000004")?;
    let id = host.root().join("var/lib/machines/four/etc/machine-id");
    fs::remove_file(&id)?;
    std::os::unix::fs::symlink(host.root().join("var/lib/machines/two/etc/machine-id"), &id)?;
    fs::create_dir_all(lxc.join("five"))?;
    fs::write(lxc.join("five/config"), "lxc.rootfs.path = /srv/five\n")?;
    let audit = host.lodge_for(PATIENCE, &["identity", "audit"])?;
    ensure!(audit.status.code() == Some(1), "{:?} {}", audit.status, audit.stdout);
    for said in ["machine-id", MACHINE_ID, "web1", "container three (incus)"] {
        ensure!(audit.stdout.contains(said), "{said}\n{}", audit.stdout);
    }
    ensure!(!audit.stdout.contains("two (nspawn)"), "{}", audit.stdout);
    ensure!(audit.stderr.contains("container five (lxc): its root"), "{}", audit.stderr);
    Ok(())
}

/// Docker's and Podman's: what an image gives to all of them is no duplicate, an SSH host key is, and so is what one wrote.
#[test]
fn an_audit_tells_images_from_the_containers_made_of_them() -> Result<()> {
    let Some((_turn, host)) = a_host_with_web1("", &[])? else { return Ok(()) };
    let write = |path: &str, text: &str| -> Result<()> {
        let path = host.root().join(path);
        fs::create_dir_all(path.parent().context("a parent")?)?;
        Ok(fs::write(path, text)?)
    };
    let image_id = "0123456789abcdef0123456789abcdef";
    for store in ["var/lib/docker/overlay2", "var/lib/containers/storage/overlay"] {
        write(&format!("{store}/image/diff/etc/os-release"), "ID=debian\n")?;
        write(&format!("{store}/image/diff/etc/machine-id"), &format!("{image_id}\n"))?;
        fs::create_dir_all(host.root().join(store).join("l"))?;
        std::os::unix::fs::symlink("../image/diff", host.root().join(store).join("l/IMAGE"))?;
        for own in ["one", "two"] {
            fs::create_dir_all(host.root().join(store).join(own).join("diff"))?;
            write(&format!("{store}/{own}/lower"), "l/IMAGE")?;
        }
    }
    for own in ["one", "two"] {
        let record = format!(r#"{{"ID":"{own}","Name":"/{own}","Driver":"overlay2"}}"#);
        write(&format!("var/lib/docker/containers/{own}/config.v2.json"), &record)?;
        write(&format!("var/lib/docker/image/overlay2/layerdb/mounts/{own}/mount-id"), own)?;
    }
    let records = r#"[{"id":"1","names":["one"],"layer":"one"},{"id":"2","names":["two"],"layer":"two"}]"#;
    write("var/lib/containers/storage/overlay-containers/containers.json", records)?;
    // One machine id in four containers of two images: none of them is a machine by it.
    host.lodge_for(PATIENCE, &["identity", "audit"])?.ok()?;

    let docker = "var/lib/docker/overlay2";
    write(&format!("{docker}/image/diff/etc/ssh/ssh_host_rsa_key"), "a key of the image's")?;
    write(&format!("{docker}/two/diff/etc/machine-id"), &format!("{MACHINE_ID}\n"))?;
    let audit = host.lodge_for(PATIENCE, &["identity", "audit"])?;
    ensure!(audit.status.code() == Some(1), "{:?} {}", audit.status, audit.stdout);
    for said in ["ssh-host-key", "container one (docker)", "container two (docker)", MACHINE_ID, "web1"] {
        ensure!(audit.stdout.contains(said), "{said}\n{}", audit.stdout);
    }
    ensure!(!audit.stdout.contains(image_id) && !audit.stdout.contains("podman"), "{}", audit.stdout);
    Ok(())
}

#[test]
fn a_guest_that_runs_is_not_reset_and_says_why() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let document = host.file("runs.xml", &tiny_with("runs", ""))?;
    host.lodge(&["define", &document])?.ok()?;
    host.lodge(&["start", "runs"])?.ok()?;
    let refused = host.lodge(&["identity", "reset", "runs"])?;
    ensure!(refused.status.code() == Some(5), "{:?}", refused.status);
    ensure!(refused.stderr.contains("unstable") && refused.stderr.contains("--force"), "{}", refused.stderr);
    let operations = host.lodge(&["sysprep", "--list-operations"])?.ok()?.stdout;
    ensure!(operations.contains("machine-id"), "{operations}");
    Ok(())
}

#[test]
fn a_second_machine_of_one_identity_does_not_start_where_that_is_refused() -> Result<()> {
    let settings = "[identity]\nduplicates = \"refuse\"\n";
    let Some((_turn, host)) = a_host_with_web1(settings, &[])? else { return Ok(()) };
    one_more_alike(&host)?;
    host.lodge(&["start", "web1"])?.ok()?;
    let refused = host.lodge(&["start", "web2"])?;
    refused.fails_saying(&["would be a second one", MACHINE_ID, "`web1`", "lodge identity reset web2"])?;
    ensure!(host.lodge(&["domstate", "web2"])?.ok()?.stdout.trim() == "shut off");
    // What the hint says is enough, also when nobody looks into it again.
    host.lodge_for(PATIENCE, &["identity", "reset", "web2"])?.ok()?;
    host.lodge(&["start", "web2"])?.ok()?;

    // The address that a document gives is told with what helps against that.
    let address = |name: &str, address: &str| -> Result<()> {
        let card =
            format!("<interface type='user'><mac address='{address}'/><model type='virtio'/></interface>");
        let document = host.file(&format!("{name}.xml"), &tiny_with(name, &card))?;
        host.lodge(&["define", &document])?.ok().map(drop)
    };
    address("one", "52:54:00:00:00:01")?;
    address("other", "52:54:00:00:00:01")?;
    host.lodge(&["start", "one"])?.ok()?;
    host.lodge(&["start", "other"])?.fails_saying(&["52:54:00:00:00:01", "`one`", "lodge edit other"])?;
    // The one that had it is off: it may.
    host.lodge(&["destroy", "one"])?.ok()?;
    host.lodge(&["start", "other"])?.ok().map(drop)
}

#[test]
fn a_second_machine_of_one_identity_is_told_of_where_nothing_else_was_said() -> Result<()> {
    let Some((_turn, host)) = a_host_with_web1("", &[])? else { return Ok(()) };
    one_more_alike(&host)?;
    host.lodge(&["start", "web1"])?.ok()?;
    ensure!(!host.log().contains("known by the same"), "{}", host.log());
    host.lodge(&["start", "web2"])?.ok()?;
    let told = host.log();
    let is_told = told.lines().any(|line| line.contains("known by the same") && line.contains(MACHINE_ID));
    ensure!(is_told, "{told}");
    Ok(())
}
