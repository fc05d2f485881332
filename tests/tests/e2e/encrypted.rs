//! Guests on encrypted disks: what the tests of them share.
//!
//! A secret, a pool of encrypted files, a guest with two of them, and the view from outside, by QEMU's own programs and the
//! same passphrase.

mod clones;
mod disks;
mod jobs;
mod model;
mod snapshots;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, document::tiny_with, finish};

const UUID: &str = "5f0e6b1d-4a5e-4d0a-9a44-0a7f2a5b7c12";
const PASSPHRASE: &str = "correct horse";
const ENCRYPTION: &str = "<encryption format='luks'><secret type='passphrase' \
                          uuid='5f0e6b1d-4a5e-4d0a-9a44-0a7f2a5b7c12'/></encryption>";
const TARGETS: [&str; 2] = ["sda", "sdb"];
/// The guest's disks as QEMU calls them.
const DEVICES: [&str; 2] = ["scsi0-0-0-0", "scsi0-0-0-1"];
/// Their names, formats and encryption.
type Disks = [(&'static str, &'static str, &'static str); 2];
const BOTH: Disks = [("raw", "raw", ENCRYPTION), ("qcow2", "qcow2", ENCRYPTION)];

/// A secret with these words in it.
fn define_secret(host: &Host, uuid: &str, words: &str) -> Result<()> {
    let document = host.file("secret.xml", &format!("<secret><uuid>{uuid}</uuid></secret>"))?;
    host.lodge(&["secret-define", &document])?.ok()?;
    let passphrase = host.file("passphrase", words)?;
    host.lodge(&["secret-set-value", uuid, "--file", &passphrase, "--plain"])?.ok()?;
    Ok(())
}

/// The pool `locked`, and where its files lie.
fn create_pool(host: &Host) -> Result<PathBuf> {
    let dir = host.root().join("locked");
    host.lodge(&["pool-create-as", "locked", "dir", "--target", &dir.to_string_lossy(), "--build"])?.ok()?;
    Ok(dir)
}

/// The document of a volume of that pool.
fn volume_document(host: &Host, name: &str, format: &str, mib: u8, encryption: &str) -> Result<String> {
    let volume = format!(
        "<volume><name>{name}</name><capacity unit='MiB'>{mib}</capacity><allocation>0</allocation><target>\
         <format type='{format}'/>{encryption}</target></volume>"
    );
    host.file("volume.xml", &volume)
}

fn create_volume(host: &Host, name: &str, format: &str, mib: u8, encryption: &str) -> Result<()> {
    let document = volume_document(host, name, format, mib, encryption)?;
    host.lodge(&["vol-create", "locked", &document])?.ok()?;
    Ok(())
}

/// A disk of a guest's document.
fn disk(path: &Path, format: &str, (target, bus): (&str, &str), encryption: &str) -> String {
    format!(
        "<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{}'/>\
         <target dev='{target}' bus='{bus}'/>{encryption}</disk>",
        path.display()
    )
}

/// The size of the disks of `locked`.
const DISK_MIB: usize = 8;

/// The bytes of a disk of zeroes that the passphrase opens, made once: deriving keys is made to take its time, and these are
/// derived quickly. How Lodge makes them itself is seen in `disks.rs`.
fn locked_disk(format: &str) -> Result<&'static [u8]> {
    static MADE: Mutex<BTreeMap<String, &'static [u8]>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = made.get(format) {
        return Ok(bytes);
    }
    let place = tempfile::tempdir()?;
    let path = place.path().join(format);
    let (driver, key) =
        if format == "raw" { ("luks", "") } else { ("qcow2", "encrypt.format=luks,encrypt.") };
    let mut create = tool("qemu-img", Some("create"));
    create.args(["-f", driver, "-o", &format!("{key}key-secret=k,{key}iter-time=10")]);
    create.arg(&path).arg(format!("{DISK_MIB}M"));
    finish(&mut create, Duration::from_mins(1), "qemu-img create")?.ok()?;
    // What was never written to a LUKS container reads as noise.
    qemu_io(&opened(&path, format, "")?, &[&format!("write -q -P 0 0 {DISK_MIB}M")])?;
    let bytes: &[u8] = fs::read(&path)?.leak();
    made.insert(format.to_owned(), bytes);
    Ok(bytes)
}

/// A secret, a pool and the guest `locked` with two disks in it.
fn with_locked_guest(host: &Host, disks: Disks) -> Result<PathBuf> {
    define_secret(host, UUID, PASSPHRASE)?;
    let dir = create_pool(host)?;
    let mut devices = "<controller type='scsi' index='0' model='virtio-scsi'/>".to_owned();
    for ((name, format, encryption), target) in disks.into_iter().zip(TARGETS) {
        let path = dir.join(format!("{name}.img"));
        if encryption.is_empty() {
            let mut create = tool("qemu-img", Some("create"));
            create.args(["-f", format]).arg(&path).arg(format!("{DISK_MIB}M"));
            finish(&mut create, Duration::from_mins(1), "qemu-img create")?.ok()?;
        } else {
            fs::write(&path, locked_disk(format)?)?;
        }
        devices.push_str(&disk(&path, format, (target, "scsi"), encryption));
    }
    host.lodge(&["pool-refresh", "locked"])?.ok()?;
    let document = host.file("locked.xml", &tiny_with("locked", &devices))?;
    host.lodge(&["define", &document])?.ok()?;
    Ok(dir)
}

/// The document of an external snapshot; of each disk, where a file of its own lies that is encrypted.
fn snapshot_document(host: &Host, name: &str, disks: [(&str, Option<&Path>); 2]) -> Result<String> {
    let disk = |(target, file): (&str, Option<&Path>)| {
        let source = file.map(|file| format!("<source file='{}'>{ENCRYPTION}</source>", file.display()));
        format!("<disk name='{target}' snapshot='external'>{}</disk>", source.unwrap_or_default())
    };
    let disks = disks.map(disk).concat();
    let text = format!("<domainsnapshot><name>{name}</name><disks>{disks}</disks></domainsnapshot>");
    host.file(&format!("{name}.xml"), &text)
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

/// QEMU has a passphrase for each file that `locked` has open, and none beyond.
fn has_secrets(host: &Host, number: usize) -> Result<()> {
    let has = secrets_of(host, "locked")?;
    ensure!(has == number, "QEMU has {has} passphrases instead of {number}");
    Ok(())
}

/// The daemon's log tells no passphrase, and neither what the monitor is told.
fn log_is_silent(host: &Host) -> Result<()> {
    for words in [PASSPHRASE, "Y29ycmVjdCBob3JzZQ"] {
        ensure!(!host.log().contains(words), "the daemon's log tells the passphrase");
    }
    Ok(())
}

/// Has the guest's QEMU do that to a disk.
fn io(host: &Host, name: &str, device: &str, command: &str) -> Result<()> {
    let command = format!("qemu-io -d {device} \"{command}\"");
    let said = virsh(host, &["qemu-monitor-command", name, "--hmp", &command])?;
    ensure!(said.trim().is_empty(), "{command}: {said}");
    Ok(())
}

/// Has the guest's QEMU write a byte over and over, at so many MiB of each disk.
fn write(host: &Host, name: &str, byte: u8, mib: u8) -> Result<()> {
    for device in DEVICES {
        io(host, name, device, &format!("write -q -P {byte} {mib}M 64k"))?;
        io(host, name, device, "flush")?;
    }
    Ok(())
}

/// What `qemu-img` says of a file.
fn info(path: &Path) -> Result<serde_json::Value> {
    let info = Command::new("qemu-img").args(["info", "-U", "--output=json"]).arg(path).output()?;
    Ok(serde_json::from_slice(&info.stdout)?)
}

fn is_luks(path: &Path) -> Result<bool> {
    let mut start = [0; 4];
    File::open(path)?.read_exact(&mut start)?;
    Ok(start == *b"LUKS")
}

/// Whether the file's own bytes are encrypted.
fn is_encrypted(path: &Path) -> Result<bool> {
    Ok(is_luks(path)? || info(path)?["encrypted"] == true)
}

/// How QEMU's programs open a disk by its headers, with what it stands on, with the secret `k`.
fn opened(path: &Path, format: &str, below: &str) -> Result<String> {
    let here = path.display();
    if matches!(format, "raw" | "luks") {
        let (driver, key) =
            if is_luks(path)? { ("luks", format!(",{below}key-secret=k")) } else { ("raw", String::new()) };
        return Ok(format!("{below}driver={driver},{below}file.filename={here}{key}"));
    }
    let info = info(path)?;
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

/// One of QEMU's programs, with the secret `k`.
fn tool(name: &str, verb: Option<&str>) -> Command {
    let mut tool = Command::new(name);
    tool.args(verb).args(["--object", &format!("secret,id=k,data={PASSPHRASE}")]);
    tool
}

/// Does that to a disk, opened so, of a guest that is off, and tells what is said. All in one run: each opens the key anew,
/// which is made to take its time.
fn qemu_io(opened: &str, commands: &[&str]) -> Result<String> {
    let mut io = tool("qemu-io", None);
    if commands.iter().all(|command| command.starts_with("read ")) {
        io.arg("-r");
    }
    io.args(["--image-opts", opened]);
    for command in commands {
        io.args(["-c", command]);
    }
    let done = finish(&mut io, Duration::from_mins(1), &format!("qemu-io {opened}"))?.ok()?;
    let said = format!("{}{}", done.stdout, done.stderr);
    ensure!(!said.contains("failed"), "{opened}: {commands:?}: {said}");
    Ok(said)
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
    let reads = bytes.iter().chain(&[(0, 7)]);
    let reads: Vec<_> = reads.map(|(byte, mib)| format!("read -P {byte} {mib}M 64k")).collect();
    let reads: Vec<_> = reads.iter().map(String::as_str).collect();
    for (path, format) in disks_of(host, name)? {
        let words = opened(&path, &format, "")?;
        let said = qemu_io(&words, &reads)?;
        ensure!(said.matches("read 65536/65536").count() == reads.len(), "{words}: {bytes:?}: {said}");
    }
    Ok(())
}

/// The names of the files in the pool's directory.
fn files_in(dir: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

fn until(why: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so()? {
        ensure!(Instant::now() < deadline, "{why}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
