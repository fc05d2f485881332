//! A guest on encrypted disks: it boots from them, and nobody who looks at the host sees the passphrase.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

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

const ENCRYPTION: &str = "<encryption format='luks'><secret type='passphrase' \
                          uuid='5f0e6b1d-4a5e-4d0a-9a44-0a7f2a5b7c12'/></encryption>";
/// The guest's disks as QEMU calls them.
const DEVICES: [&str; 2] = ["scsi0-0-0-0", "scsi0-0-0-1"];
/// Their names, formats and encryption.
type Disks = [(&'static str, &'static str, &'static str); 2];
const BOTH: Disks = [("raw", "raw", ENCRYPTION), ("qcow2", "qcow2", ENCRYPTION)];

/// A secret, a pool and a guest with two disks in it.
fn with_locked_guest(host: &Host, disks: Disks) -> Result<PathBuf> {
    let dir = host.root().join("locked");
    let document = host.file("secret.xml", &format!("<secret><uuid>{UUID}</uuid></secret>"))?;
    host.lodge(&["secret-define", &document])?.ok()?;
    let passphrase = host.file("passphrase", PASSPHRASE)?;
    host.lodge(&["secret-set-value", UUID, "--file", &passphrase, "--plain"])?.ok()?;
    host.lodge(&["pool-create-as", "locked", "dir", "--target", &dir.to_string_lossy(), "--build"])?.ok()?;
    let mut devices = "<controller type='scsi' index='0' model='virtio-scsi'/>".to_owned();
    for ((name, format, encryption), target) in disks.into_iter().zip(["sda", "sdb"]) {
        let volume = format!(
            "<volume><name>{name}.img</name><capacity unit='MiB'>8</capacity><allocation>0</allocation>\
             <target><format type='{format}'/>{encryption}</target></volume>"
        );
        let document = host.file("volume.xml", &volume)?;
        host.lodge(&["vol-create", "locked", &document])?.ok()?;
        let path = dir.join(format!("{name}.img"));
        // What was never written to a LUKS container reads as noise.
        let mut zero = Command::new("qemu-io");
        zero.args(["--object", &format!("secret,id=k,data={PASSPHRASE}"), "--image-opts"]);
        let zeroed = zero.args([&opened(&path, format, "")?, "-c", "write -q -P 0 0 8M"]).output()?;
        ensure!(zeroed.status.success(), "{}", String::from_utf8_lossy(&zeroed.stderr));
        let disk = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{}'/>\
             <target dev='{target}' bus='scsi'/>{encryption}</disk>",
            path.display()
        );
        devices.push_str(&disk);
    }
    let document = host.file("locked.xml", &tiny_with("locked", &devices))?;
    host.lodge(&["define", &document])?.ok()?;
    Ok(dir)
}

/// Has the guest's QEMU write a byte over and over, at so many MiB of each disk.
fn write(host: &Host, name: &str, byte: u8, mib: u8) -> Result<()> {
    for device in DEVICES {
        io(host, name, device, &format!("write -q -P {byte} {mib}M 64k"))?;
        io(host, name, device, "flush")?;
    }
    Ok(())
}

/// How `qemu-io` opens a disk by its headers, with what it stands on.
fn opened(path: &Path, format: &str, below: &str) -> Result<String> {
    let here = path.display();
    if matches!(format, "raw" | "luks") {
        let start = fs::read(path)?;
        let (driver, key) = if start.starts_with(b"LUKS") {
            ("luks", format!(",{below}key-secret=k"))
        } else {
            ("raw", String::new())
        };
        return Ok(format!("{below}driver={driver},{below}file.filename={here}{key}"));
    }
    let info = Command::new("qemu-img").args(["info", "-U", "--output=json"]).arg(path).output()?;
    let info: serde_json::Value = serde_json::from_slice(&info.stdout)?;
    let mut words = format!("{below}driver=qcow2,{below}file.filename={here}");
    if info["encrypted"] == true {
        words = [words, format!("{below}encrypt.key-secret=k")].join(",");
    }
    if let Some(backing) = info["full-backing-filename"].as_str() {
        let format = info["backing-filename-format"].as_str().context("no format")?;
        words = [words, opened(Path::new(backing), format, &format!("{below}backing."))?].join(",");
    }
    Ok(words)
}

/// Files and formats of a guest's disks, by its definition.
fn disks_of(host: &Host, name: &str) -> Result<Vec<(PathBuf, String)>> {
    let definition = host.lodge(&["dumpxml", name, "--inactive"])?.ok()?.stdout;
    let disk = |disk: &str| {
        let after = |mark: &str| Some(disk.split_once(mark)?.1.split_once('\'')?.0);
        let path = after("<source file='").context("no source")?;
        let format = after("<driver name='qemu' type='").context("no format")?;
        Ok((PathBuf::from(path), format.to_owned()))
    };
    definition.split("<disk ").skip(1).map(disk).collect()
}

/// The guest, which is off, finds these bytes at these MiB of both disks, and zeroes at 7 MiB.
fn finds(host: &Host, name: &str, bytes: &[(u8, u8)]) -> Result<()> {
    for (path, format) in disks_of(host, name)? {
        let words = opened(&path, &format, "")?;
        // All in one run: each opens the key anew, which is made to take its time.
        let mut read = Command::new("qemu-io");
        read.args(["-r", "--object", &format!("secret,id=k,data={PASSPHRASE}"), "--image-opts", &words]);
        for (byte, mib) in bytes.iter().chain(&[(0, 7)]) {
            read.args(["-c", &format!("read -P {byte} {mib}M 64k")]);
        }
        let read = read.output()?;
        let said = String::from_utf8_lossy(&read.stdout).into_owned();
        let errors = String::from_utf8_lossy(&read.stderr).into_owned();
        ensure!(
            said.matches("read 65536/65536").count() == bytes.len() + 1 && !said.contains("failed"),
            "{words}: {bytes:?}: {said}{errors}"
        );
    }
    Ok(())
}

/// Ends the guest's run, looks at its disks, and starts it again: the definition has all that opens them.
fn run_anew(host: &Host, bytes: &[(u8, u8)]) -> Result<()> {
    host.lodge(&["destroy", "locked"])?.ok()?;
    finds(host, "locked", bytes)?;
    host.lodge(&["start", "locked"])?.ok()?;
    Ok(())
}

/// Whether the file's own bytes are encrypted.
fn is_encrypted(path: &Path) -> Result<bool> {
    let info = Command::new("qemu-img").args(["info", "-U", "--output=json"]).arg(path).output()?;
    let info: serde_json::Value = serde_json::from_slice(&info.stdout)?;
    Ok(info["encrypted"] == true)
}

#[test]
fn files_above_encrypted_disks_come_while_the_guest_runs() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let dir = with_locked_guest(&host, BOTH)?;
    host.lodge(&["start", "locked"])?.ok()?;
    write(&host, "locked", 1, 1)?;
    host.lodge(&["snapshot-create-as", "locked", "s1", "--disk-only"])?.ok()?;
    // As with libvirt: what is not asked to be encrypted is not.
    ensure!(!is_encrypted(&dir.join("qcow2.s1"))?, "an overlay is encrypted unasked");
    let shown = virsh(&host, &["dumpxml", "locked"])?;
    ensure!(shown.matches("<encryption format='luks'").count() == 2, "{shown}");
    write(&host, "locked", 2, 2)?;
    run_anew(&host, &[(1, 1), (2, 2)])?;
    ensure!(secrets_of(&host, "locked")? == 2, "QEMU has not the passphrases of what the disks stand on");
    // One that is asked for is.
    let request = format!(
        "<domainsnapshot><name>s2</name><disks><disk name='sda' snapshot='external'/>\
         <disk name='sdb' snapshot='external'><source file='{}'>{ENCRYPTION}</source></disk></disks></domainsnapshot>",
        dir.join("sealed").display()
    );
    let request = host.file("s2.xml", &request)?;
    host.lodge(&["snapshot-create", "locked", &request, "--disk-only"])?.ok()?;
    ensure!(is_encrypted(&dir.join("sealed"))?, "an overlay is not encrypted though it was asked for");
    ensure!(secrets_of(&host, "locked")? == 3, "QEMU has not the new file's passphrase");
    write(&host, "locked", 3, 3)?;
    run_anew(&host, &[(1, 1), (2, 2), (3, 3)])?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    for words in [PASSPHRASE, "Y29ycmVjdCBob3JzZQ"] {
        ensure!(!host.log().contains(words), "the daemon's log tells the passphrase");
    }
    Ok(())
}

/// What both disks of a guest hold, and the guest's way to change it.
struct Model {
    bytes: Vec<u8>,
}

impl Model {
    fn new() -> Self {
        Self { bytes: vec![0; 8 << 20] }
    }

    /// Has QEMU write a byte over and over at so many KiB of each disk.
    fn write(&mut self, host: &Host, byte: u8, at_kib: usize, kib: usize) -> Result<()> {
        for device in DEVICES {
            io(host, "locked", device, &format!("write -q -P {byte} {at_kib}k {kib}k"))?;
        }
        self.bytes[at_kib << 10..(at_kib + kib) << 10].fill(byte);
        Ok(())
    }

    /// All bytes that the guest would see of each disk are these; it is off.
    fn holds(&self, host: &Host) -> Result<()> {
        for (path, format) in disks_of(host, "locked")? {
            let words = opened(&path, &format, "")?;
            let seen = host.root().join("seen");
            let mut convert = Command::new("qemu-img");
            convert.args(["convert", "-O", "raw", "--object", &format!("secret,id=k,data={PASSPHRASE}")]);
            let done = convert.args(["--image-opts", &words]).arg(&seen).output()?;
            ensure!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
            let bytes = fs::read(&seen)?;
            let differs = bytes.iter().zip(&self.bytes).position(|(seen, meant)| seen != meant);
            ensure!(bytes.len() == self.bytes.len() && differs.is_none(), "{words}: differs at {differs:?}");
        }
        Ok(())
    }

    /// The same after the guest's run was ended, and it runs again.
    fn holds_in_another_run(&self, host: &Host) -> Result<()> {
        host.lodge(&["destroy", "locked"])?.ok()?;
        self.holds(host)?;
        host.lodge(&["start", "locked"])?.ok()?;
        Ok(())
    }
}

const TARGETS: [&str; 2] = ["sda", "sdb"];

/// A file of the disk's chain by its place in it, as the running guest has it.
fn layer(host: &Host, target: &str, at: usize) -> Result<String> {
    let shown = virsh(host, &["dumpxml", "locked"])?;
    let disk = shown.split("<disk ").find(|disk| disk.contains(&format!("<target dev='{target}'")));
    let disk = disk.context("no such disk")?;
    let mut files = disk.split("<source file='").skip(1).filter_map(|rest| rest.split('\'').next());
    files.nth(at).map(str::to_owned).with_context(|| format!("no layer {at} in {disk}"))
}

#[test]
fn block_jobs_merge_copy_and_fill_encrypted_files_of_a_guest_that_runs() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let dir = with_locked_guest(&host, BOTH)?;
    host.lodge(&["start", "locked"])?.ok()?;
    let mut model = Model::new();
    model.write(&host, 1, 64, 300)?;
    let snapshot = |name: &str| -> Result<()> {
        let disk = |target: &str| {
            let file = dir.join(format!("{target}.{name}"));
            let file = file.display();
            format!(
                "<disk name='{target}' snapshot='external'><source file='{file}'>{ENCRYPTION}</source></disk>"
            )
        };
        let disks = TARGETS.map(disk).concat();
        let text = format!("<domainsnapshot><name>{name}</name><disks>{disks}</disks></domainsnapshot>");
        let document = host.file(&format!("{name}.xml"), &text)?;
        host.lodge(&["snapshot-create", "locked", &document, "--disk-only", "--no-metadata"])?.ok()?;
        Ok(())
    };
    snapshot("a")?;
    model.write(&host, 2, 200, 300)?;
    snapshot("b")?;
    model.write(&host, 3, 400, 300)?;
    ensure!(secrets_of(&host, "locked")? == 6, "QEMU has not all passphrases");
    // The one in the middle into the base; then one that is left; then the guest's own.
    for target in TARGETS {
        let (top, base) = (layer(&host, target, 1)?, layer(&host, target, 2)?);
        let args = ["blockcommit", "locked", target, "--top", &top, "--base", &base, "--wait", "--delete"];
        host.lodge(&args)?.ok()?;
        ensure!(!Path::new(&top).exists(), "{top} is left");
    }
    ensure!(secrets_of(&host, "locked")? == 4, "a passphrase is left in QEMU, or is missing");
    model.write(&host, 4, 600, 300)?;
    model.holds_in_another_run(&host)?;
    for target in TARGETS {
        host.lodge(&["blockcommit", "locked", target, "--keep-overlay"])?.ok()?;
        host.lodge(&["blockcommit", "locked", target, "--pivot"])?.ok()?;
    }
    ensure!(secrets_of(&host, "locked")? == 2, "a passphrase is left in QEMU, or is missing");
    model.write(&host, 5, 800, 300)?;
    // What became the guest's own takes a snapshot again, and a commit, in the same run.
    snapshot("c")?;
    model.write(&host, 6, 1000, 300)?;
    host.lodge(&["blockcommit", "locked", "sda", "--pivot"])?.ok()?;
    host.lodge(&["blockpull", "locked", "sdb", "--wait"])?.ok()?;
    ensure!(secrets_of(&host, "locked")? == 2, "a passphrase is left in QEMU, or is missing");
    model.write(&host, 7, 1200, 300)?;
    model.holds_in_another_run(&host)?;
    // To an encrypted file and to a plain one.
    for (target, format, encryption) in [("sda", "raw", ENCRYPTION), ("sdb", "qcow2", ENCRYPTION)] {
        let copy = dir.join(format!("{target}.copy"));
        let text = format!(
            "<disk type='file'><driver type='{format}'/><source file='{}'>{encryption}</source></disk>",
            copy.display()
        );
        let document = host.file("copy.xml", &text)?;
        virsh(&host, &["blockcopy", "locked", target, "--xml", &document, "--transient-job", "--wait"])?;
        model.write(&host, 8, 1400, 300)?;
        virsh(&host, &["blockjob", "locked", target, "--pivot"])?;
        ensure!(is_encrypted_as(&copy, format)?, "the copy is not encrypted");
    }
    ensure!(secrets_of(&host, "locked")? == 2, "a passphrase is left in QEMU, or is missing");
    model.write(&host, 9, 1600, 300)?;
    model.holds_in_another_run(&host)?;
    let plain = dir.join("plain.copy").display().to_string();
    let args = ["blockcopy", "locked", "sdb", "--dest", &plain, "--transient-job", "--pivot"];
    host.lodge(&args)?.ok()?;
    ensure!(!is_encrypted(Path::new(&plain))?, "a plain copy is encrypted");
    ensure!(secrets_of(&host, "locked")? == 1, "a passphrase is left in QEMU, or is missing");
    model.write(&host, 10, 1800, 300)?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    model.holds(&host)?;
    for words in [PASSPHRASE, "Y29ycmVjdCBob3JzZQ"] {
        ensure!(!host.log().contains(words), "the daemon's log tells the passphrase");
    }
    Ok(())
}

fn is_encrypted_as(path: &Path, format: &str) -> Result<bool> {
    if format == "raw" { Ok(fs::read(path)?.starts_with(b"LUKS")) } else { is_encrypted(path) }
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
    let left: Vec<_> = fs::read_dir(&dir)?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(left.len() == 2, "{left:?}");
    ensure!(secrets_of(&host, "locked")? == 2, "a passphrase is left in QEMU, or is missing");
    host.lodge(&["destroy", "locked"])?.ok()?;
    model.holds(&host)
}

#[test]
fn a_daemon_that_is_killed_amid_a_job_on_encrypted_files_leaves_it_to_the_next() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    let dir = with_locked_guest(&host, BOTH)?;
    host.lodge(&["start", "locked"])?.ok()?;
    let mut model = Model::new();
    model.write(&host, 1, 64, 300)?;
    host.lodge(&["snapshot-create-as", "locked", "s", "--disk-only", "--no-metadata"])?.ok()?;
    model.write(&host, 2, 200, 3000)?;
    for target in TARGETS {
        let args = ["blockcommit", "locked", target, "--active", "--bandwidth", "65536", "--bytes"];
        host.lodge(&args)?.ok()?;
    }
    host.kill_daemon()?;
    host.start_daemon()?;
    ensure!(secrets_of(&host, "locked")? == 2, "a passphrase is missing in QEMU");
    for target in TARGETS {
        let info = host.json(&["blockjob", "locked", target, "--info"])?;
        ensure!(info["ready"] == false, "{info}");
        host.lodge(&["blockjob", "locked", target, "--bandwidth", "0"])?.ok()?;
    }
    model.write(&host, 3, 4000, 300)?;
    for target in TARGETS {
        let ready = |host: &Host| Ok(host.json(&["blockjob", "locked", target, "--info"])?["ready"] == true);
        until(&host, "the job is not ready", ready)?;
    }
    // And amid the change over of one disk; the other is told to by the next daemon.
    host.cut(&["blockjob", "locked", "sda", "--pivot"], |_| {
        std::thread::sleep(Duration::from_millis(60));
        Ok(())
    })?;
    let settled = |host: &Host| Ok(host.json(&["blockjob", "locked", "sda", "--info"])?.is_null());
    until(&host, "the job did not end", settled)
        .or_else(|_| host.lodge(&["blockjob", "locked", "sda", "--pivot"])?.ok().map(drop))?;
    host.lodge(&["blockjob", "locked", "sdb", "--pivot"])?.ok()?;
    model.write(&host, 4, 4200, 300)?;
    ensure!(host.lodge(&["domstate", "locked"])?.ok()?.stdout.contains("running"), "it does not run");
    ensure!(secrets_of(&host, "locked")? == 2, "a passphrase is left in QEMU, or is missing");
    host.lodge(&["destroy", "locked"])?.ok()?;
    let own: Vec<PathBuf> = disks_of(&host, "locked")?.into_iter().map(|(path, _)| path).collect();
    ensure!(own == [dir.join("raw.img"), dir.join("qcow2.img")], "{own:?}");
    model.holds(&host)
}

#[test]
fn what_is_told_a_passphrase_ends_with_the_daemon_that_would_have_told_it() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    with_locked_guest(&host, [("raw", "raw", ""), ("qcow2", "qcow2", "")])?;
    let volume = format!(
        "<volume><name>sealed</name><capacity unit='MiB'>1</capacity><allocation>0</allocation><target>\
         <format type='raw'/>{ENCRYPTION}</target></volume>"
    );
    let document = host.file("volume.xml", &volume)?;
    // The child is on its way into its jail for some milliseconds, and waits a moment for the passphrase then.
    for after_ms in (10..90).step_by(2) {
        host.cut(&["vol-create", "locked", &document], |_| {
            std::thread::sleep(Duration::from_millis(after_ms));
            Ok(())
        })?;
        let tools = |host: &Host| {
            let all = lodge_tests::trace::processes_of(host.root());
            all.into_iter().filter(|(_, words)| words.contains("qemu-img")).collect::<Vec<_>>()
        };
        until(&host, "a tool outlives the daemon", |host| Ok(tools(host).is_empty()))?;
        let _ = host.lodge(&["vol-delete", "sealed", "--pool", "locked"])?;
    }
    Ok(())
}

fn until(host: &Host, why: &str, is_so: impl Fn(&Host) -> Result<bool>) -> Result<()> {
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    while !is_so(host)? {
        ensure!(std::time::Instant::now() < deadline, "{why}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn snapshots_of_encrypted_disks_are_taken_and_go_while_the_guest_is_off() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let dir = with_locked_guest(&host, BOTH)?;
    let runs_and_writes = |byte: u8, mib: u8| -> Result<()> {
        host.lodge(&["start", "locked"])?.ok()?;
        write(&host, "locked", byte, mib)?;
        host.lodge(&["destroy", "locked"])?.ok()?;
        Ok(())
    };
    runs_and_writes(1, 1)?;
    host.lodge(&["snapshot-create-as", "locked", "e1", "--disk-only"])?.ok()?;
    runs_and_writes(2, 2)?;
    host.lodge(&["snapshot-create-as", "locked", "e2", "--disk-only"])?.ok()?;
    runs_and_writes(3, 3)?;
    finds(&host, "locked", &[(1, 1), (2, 2), (3, 3)])?;
    // Below the guest's own file, and that itself.
    host.lodge(&["snapshot-delete", "locked", "e1"])?.ok()?;
    finds(&host, "locked", &[(1, 1), (2, 2), (3, 3)])?;
    host.lodge(&["snapshot-revert", "locked", "e2"])?.ok()?;
    finds(&host, "locked", &[(1, 1), (2, 2), (0, 3)])?;
    runs_and_writes(4, 3)?;
    host.lodge(&["snapshot-delete", "locked", "e2"])?.ok()?;
    finds(&host, "locked", &[(1, 1), (2, 2), (4, 3)])?;
    let left: Vec<_> = fs::read_dir(&dir)?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(left.len() == 2, "{left:?}");
    runs_and_writes(5, 4)?;
    finds(&host, "locked", &[(1, 1), (2, 2), (4, 3), (5, 4)])?;
    // Without its secret nothing of it is done, and it is told which one is missing.
    host.lodge(&["snapshot-create-as", "locked", "e3", "--disk-only"])?.ok()?;
    host.lodge(&["secret-undefine", UUID])?.ok()?;
    for args in [&["start", "locked"][..], &["snapshot-delete", "locked", "e3"]] {
        host.lodge(args)?.fails_saying(&["no secret with matching uuid", UUID])?;
    }
    ensure!(dir.join("raw.e3").exists(), "a file that was not merged is gone");
    Ok(())
}

#[test]
fn snapshots_inside_encrypted_images_go_back_with_and_without_memory() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    // Memory goes into a disk that is not encrypted.
    let dir = with_locked_guest(&host, [("sealed", "qcow2", ENCRYPTION), ("plain", "qcow2", "")])?;
    host.lodge(&["start", "locked"])?.ok()?;
    write(&host, "locked", 1, 1)?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    host.lodge(&["snapshot-create-as", "locked", "off"])?.ok()?;
    host.lodge(&["start", "locked"])?.ok()?;
    write(&host, "locked", 2, 2)?;
    host.lodge(&["snapshot-create-as", "locked", "on"])?.ok()?;
    write(&host, "locked", 3, 3)?;
    host.lodge(&["snapshot-revert", "locked", "on"])?.ok()?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    finds(&host, "locked", &[(1, 1), (2, 2), (0, 3)])?;
    host.lodge(&["snapshot-revert", "locked", "off"])?.ok()?;
    finds(&host, "locked", &[(1, 1), (0, 2), (0, 3)])?;
    host.lodge(&["snapshot-delete", "locked", "on"])?.ok()?;
    host.lodge(&["start", "locked"])?.ok()?;
    host.lodge(&["snapshot-delete", "locked", "off"])?.ok()?;
    write(&host, "locked", 4, 4)?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    finds(&host, "locked", &[(1, 1), (0, 2), (4, 4)])?;
    for name in ["sealed.img", "plain.img"] {
        let info = Command::new("qemu-img").args(["info", "--output=json"]).arg(dir.join(name)).output()?;
        let info: serde_json::Value = serde_json::from_slice(&info.stdout)?;
        ensure!(info["snapshots"].as_array().is_none_or(Vec::is_empty), "{info}");
    }
    Ok(())
}

#[test]
fn clones_of_a_guest_on_encrypted_disks_have_its_secret() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    with_locked_guest(&host, BOTH)?;
    host.lodge(&["start", "locked"])?.ok()?;
    write(&host, "locked", 1, 1)?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    // It is told that what lies inside is its source's.
    for (name, way) in [("full", &["--full"][..]), ("copy", &[])] {
        let made = host.lodge(&[&["clone", "locked", name], way].concat())?.ok()?;
        let said = format!("{}{}", made.stdout, made.stderr);
        ensure!(said.contains("is encrypted: the identity in it was not changed"), "{said}");
        finds(&host, name, &[(1, 1)])?;
    }
    host.lodge(&["template", "create", "locked", "--name", "sealed"])?.fails_saying(&["is encrypted"])?;
    for (at, name) in [(2, "full"), (3, "copy")] {
        host.lodge(&["start", name])?.ok()?;
        write(&host, name, at, at)?;
        host.lodge(&["destroy", name])?.ok()?;
        finds(&host, name, &[(1, 1), (at, at)])?;
        let others: Vec<(u8, u8)> = (2..=3).filter(|other| *other != at).map(|other| (0, other)).collect();
        finds(&host, name, &others)?;
    }
    finds(&host, "locked", &[(1, 1), (0, 2), (0, 3)])
}
