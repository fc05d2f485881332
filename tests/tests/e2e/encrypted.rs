//! A guest on encrypted disks: it boots from them, and nobody who looks at the host sees the passphrase.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, counter, document::tiny_with, finish, turn};

use super::snapshots::count_past;

const UUID: &str = "5f0e6b1d-4a5e-4d0a-9a44-0a7f2a5b7c12";
const PASSPHRASE: &str = "correct horse";

#[test]
fn a_guest_boots_from_disks_that_only_its_secret_opens() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let dir = host.root().join("locked");
    let target = dir.to_string_lossy().into_owned();
    let secret = format!("<secret><uuid>{UUID}</uuid><description>of the test</description></secret>");
    let document = host.file("secret.xml", &secret)?;
    host.lodge(&["secret-define", &document])?.ok()?;
    let passphrase = host.file("passphrase", PASSPHRASE)?;
    host.lodge(&["secret-set-value", UUID, "--file", &passphrase, "--plain"])?.ok()?;
    host.lodge(&["pool-create-as", "locked", "dir", "--target", &target, "--build"])?.ok()?;
    let raw = host.root().join("counter.raw");
    fs::write(&raw, counter::disk(1 << 20))?;
    let encryption =
        format!("<encryption format='luks'><secret type='passphrase' uuid='{UUID}'/></encryption>");
    for (format, opens) in
        [("raw", "driver=luks,key-secret=k"), ("qcow2", "driver=qcow2,encrypt.key-secret=k")]
    {
        let volume = format!(
            "<volume><name>{format}</name><capacity unit='MiB'>1</capacity><allocation>0</allocation><target>\
             <format type='{format}'/>{encryption}</target></volume>"
        );
        let document = host.file("volume.xml", &volume)?;
        host.lodge(&["vol-create", "locked", &document])?.ok()?;
        let image = dir.join(format);
        let mut fill = Command::new("qemu-img");
        fill.args(["convert", "-n", "-f", "raw", "--object", &format!("secret,id=k,data={PASSPHRASE}")]);
        fill.args(["--target-image-opts".as_ref(), raw.as_os_str()]);
        let filled =
            fill.arg(format!("{opens},file.driver=file,file.filename={}", image.display())).output()?;
        ensure!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
        let disk = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{}'/>\
             <target dev='vda' bus='virtio'/>{encryption}</disk>",
            image.display()
        );
        let document = host.file("count.xml", &tiny_with("count", &disk))?;
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
        let log = fs::read_to_string(host.root().join("daemon.out"))?;
        ensure!(!log.contains(PASSPHRASE), "the daemon's log tells the passphrase");
        // A file above it would be plain.
        host.lodge(&["snapshot-create-as", "count", "s1", "--disk-only"])?.fails_saying(&["is encrypted"])?;
        // QEMU would end at it, or have nowhere to put it.
        let inside =
            if format == "raw" { "storage type raw" } else { "snapshots inside it are not supported" };
        host.lodge(&["snapshot-create-as", "count", "s1"])?.fails_saying(&[inside])?;
        host.lodge(&["blockresize", "count", "vda", "2M"])?.ok()?;
        host.lodge(&["destroy", "count"])?.ok()?;
        host.lodge(&["pool-refresh", "locked"])?.ok()?;
        let info = host.json(&["vol-info", format, "--pool", "locked"])?;
        ensure!(info["capacity_bytes"].as_u64() == Some(2 << 20), "{info}");
        // The definition says how it is opened, and without that it is not.
        let plain = host.file("count.xml", &tiny_with("count", &disk.replace(&encryption, "")))?;
        if format == "qcow2" {
            host.lodge(&["undefine", "count"])?.ok()?;
            host.lodge(&["define", &plain])?.ok()?;
            host.lodge(&["start", "count"])?.fails_saying(&["is encrypted, which is not supported"])?;
        }
        host.lodge(&["undefine", "count"])?.ok()?;
    }
    Ok(())
}

/// A disk of a guest that runs; its bus lets go of it without asking the guest.
fn plug(host: &Host, target: &str, format: &str, encryption: &str) -> Result<String> {
    let path = host.root().join("locked").join(format!("{format}.img"));
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{}'/>\
         <target dev='{target}' bus='scsi'/>{encryption}</disk>",
        path.display()
    );
    host.file(&format!("{target}.xml"), &disk)
}

fn virsh(host: &Host, args: &[&str]) -> Result<String> {
    let socket = host.root().join("run/libvirt/libvirt-sock");
    let mut virsh = Command::new("virsh");
    virsh.args(["-c", &format!("qemu:///system?socket={}", socket.display())]).args(args);
    Ok(finish(&mut virsh, Duration::from_secs(30), "virsh")?.ok()?.stdout)
}

/// The passphrases that QEMU has.
fn secrets_of(host: &Host, name: &str) -> Result<usize> {
    let command = r#"{"execute":"qom-list","arguments":{"path":"/objects"}}"#;
    Ok(virsh(host, &["qemu-monitor-command", name, command])?.matches("-encryption-secret0").count())
}

fn io(host: &Host, name: &str, device: &str, command: &str) -> Result<String> {
    let command = format!("qemu-io -d {device} \"{command}\"");
    virsh(host, &["qemu-monitor-command", name, "--hmp", &command])
}

#[test]
fn encrypted_disks_are_plugged_into_a_guest_that_runs_and_taken_out() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    let target = host.root().join("locked").to_string_lossy().into_owned();
    let other = "5f0e6b1d-4a5e-4d0a-9a44-0a7f2a5b7c13";
    for (uuid, words) in [(UUID, PASSPHRASE), (other, "battery staple")] {
        let document = host.file("secret.xml", &format!("<secret><uuid>{uuid}</uuid></secret>"))?;
        host.lodge(&["secret-define", &document])?.ok()?;
        let passphrase = host.file("passphrase", words)?;
        host.lodge(&["secret-set-value", uuid, "--file", &passphrase, "--plain"])?.ok()?;
    }
    host.lodge(&["pool-create-as", "locked", "dir", "--target", &target, "--build"])?.ok()?;
    let encryption = |uuid: &str| {
        format!("<encryption format='luks'><secret type='passphrase' uuid='{uuid}'/></encryption>")
    };
    let guest = tiny_with("plugged", "<controller type='scsi' index='0' model='virtio-scsi'/>");
    let document = host.file("plugged.xml", &guest)?;
    host.lodge(&["define", &document])?.ok()?;
    host.lodge(&["start", "plugged"])?.ok()?;
    for (format, disk, device, opens) in [
        ("raw", "sda", "scsi0-0-0-0", "driver=luks,key-secret=k"),
        ("qcow2", "sdb", "scsi0-0-0-1", "driver=qcow2,encrypt.key-secret=k"),
    ] {
        let volume = format!(
            "<volume><name>{format}.img</name><capacity unit='MiB'>4</capacity><allocation>0</allocation>\
             <target><format type='{format}'/>{}</target></volume>",
            encryption(UUID)
        );
        let document = host.file("volume.xml", &volume)?;
        host.lodge(&["vol-create", "locked", &document])?.ok()?;
        // Another passphrase opens nothing, a secret that is not there neither, and nothing is left of them.
        let wrong = plug(&host, disk, format, &encryption(other))?;
        host.lodge(&["attach-device", "plugged", &wrong, "--live"])?
            .fails_saying(&["Invalid password, cannot unlock any keyslot"])?;
        let none = plug(&host, disk, format, &encryption("5f0e6b1d-4a5e-4d0a-9a44-0a7f2a5b7c14"))?;
        host.lodge(&["attach-device", "plugged", &none, "--live"])?.fails_saying(&["no secret"])?;
        ensure!(secrets_of(&host, "plugged")? == 0, "a passphrase is left in QEMU");
        let right = plug(&host, disk, format, &encryption(UUID))?;
        host.lodge(&["attach-device", "plugged", &right, "--live"])?.ok()?;
        ensure!(secrets_of(&host, "plugged")? == 1, "QEMU has no passphrase");
        let shown = host.lodge(&["dumpxml", "plugged"])?.ok()?.stdout;
        ensure!(shown.contains(UUID) && shown.contains("<encryption format='luks'"), "{shown}");
        host.lodge(&["vol-delete", &format!("{format}.img"), "--pool", "locked"])?
            .fails_saying(&["plugged"])?;
        let said = io(&host, "plugged", device, "write -q -P 7 1M 64k")?;
        ensure!(said.trim().is_empty(), "{said}");
        if format == "qcow2" {
            // The next daemon finds it and takes it out as well.
            host.kill_daemon()?;
            host.start_daemon()?;
        }
        host.lodge(&["detach-device", "plugged", &right, "--live"])?.ok()?;
        ensure!(secrets_of(&host, "plugged")? == 0, "the passphrase is left in QEMU");
        let mut read = Command::new("qemu-io");
        read.args(["--object", &format!("secret,id=k,data={PASSPHRASE}"), "--image-opts"]);
        read.arg(format!("{opens},file.filename={target}/{format}.img"));
        let read = read.args(["-c", "read -P 7 1M 64k"]).output()?;
        let said = String::from_utf8_lossy(&read.stdout).into_owned();
        ensure!(said.contains("read 65536/65536") && !said.contains("failed"), "{said}");
        host.lodge(&["vol-delete", &format!("{format}.img"), "--pool", "locked"])?.ok()?;
    }
    // `Y29ycmVjdCBob3JzZQ==` is how the monitor is told it.
    for words in [PASSPHRASE, "Y29ycmVjdCBob3JzZQ"] {
        ensure!(!host.log().contains(words), "the daemon's log tells the passphrase");
    }
    let plain = host.root().join("locked/qcow2.img");
    let made =
        Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&plain).arg("4M").status()?;
    ensure!(made.success(), "qemu-img create failed");
    let not_encrypted = plug(&host, "sda", "qcow2", &encryption(UUID))?;
    host.lodge(&["attach-device", "plugged", &not_encrypted, "--live"])?
        .fails_saying(&["is not encrypted"])?;
    host.lodge(&["destroy", "plugged"])?.ok()?;
    Ok(())
}
