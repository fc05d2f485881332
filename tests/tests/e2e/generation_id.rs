//! A clone of a running guest that has no agent: its kernel hears of the new VM generation id, and makes other random
//! numbers than its source from then on.
//!
//! Debian's cloud kernel has no driver for it, the one for PCs has. It is booted with one program, which prints a few random
//! bytes five times a second, and a megabyte of them when it has done so often enough: after its clone was made.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, document::tiny_with, host::finish, turn};

const PATIENCE: Duration = Duration::from_mins(10);
/// When a clone is made. Before, a kernel's random numbers are not settled: it takes what it finds for each anew, and
/// begins again every second or two, which makes them others without being told.
const SETTLED: u32 = 100;
/// Where the megabyte is read; a clone is made long before.
const LAST: u32 = 300;
const MEGABYTE: usize = 1 << 20;

fn init() -> String {
    format!(
        "#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
exec </dev/null >/dev/ttyS0 2>&1
n=0
while :; do
n=$((n+1))
echo tick $n $(/bin/busybox head -c 32 /dev/urandom | /bin/busybox od -An -v -tx1 | /bin/busybox tr -d ' \\n')
if [ $n = {LAST} ]; then echo begin; /bin/busybox head -c {MEGABYTE} /dev/urandom | /bin/busybox base64; echo end; fi
/bin/busybox usleep 200000
done
"
    )
}

/// A kernel that listens and an initramfs with the program, both made once.
fn kernel() -> Result<(PathBuf, PathBuf)> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generation-id");
    let (kernel, initrd) = (place.join("vmlinuz"), place.join("initrd"));
    if !kernel.is_file() {
        fs::create_dir_all(&place)?;
        let mut depends = Command::new("apt-cache");
        let said =
            finish(depends.args(["depends", "linux-image-amd64"]), PATIENCE, "apt-cache")?.ok()?.stdout;
        let package = said.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
        let package = format!("linux-image-{}", package.context("linux-image-amd64 has no kernel")?);
        let mut download = Command::new("apt-get");
        download.args(["-o", "APT::Sandbox::User=root", "download", &package, "busybox-static"]);
        finish(download.current_dir(&place), PATIENCE, "apt-get download")?.ok()?;
        for entry in fs::read_dir(&place)? {
            let file = entry?.path();
            if file.extension().is_some_and(|ending| ending == "deb") {
                let mut unpack = Command::new("dpkg");
                finish(unpack.arg("-x").arg(&file).arg(place.join("tree")), PATIENCE, "dpkg -x")?.ok()?;
                fs::remove_file(&file)?;
            }
        }
        let mut boot = fs::read_dir(place.join("tree/boot"))?.filter_map(|entry| Some(entry.ok()?.path()));
        let image =
            boot.find(|path| path.to_string_lossy().contains("vmlinuz-")).context("no kernel in it")?;
        fs::copy(place.join("tree/bin/busybox"), place.join("busybox"))?;
        fs::rename(image, &kernel)?;
        fs::remove_dir_all(place.join("tree"))?;
    }
    let (busybox, none): (Vec<u8>, &[u8]) = (fs::read(place.join("busybox"))?, &[]);
    let init = init();
    let mut archive = Vec::new();
    for (name, mode, bytes) in [
        ("dev", 0o040_755, none),
        ("bin", 0o040_755, none),
        ("bin/busybox", 0o100_755, busybox.as_slice()),
        ("init", 0o100_755, init.as_bytes()),
        ("TRAILER!!!", 0, none),
    ] {
        add(&mut archive, name, mode, bytes);
    }
    fs::write(&initrd, archive)?;
    Ok((kernel, initrd))
}

/// One entry of a cpio archive as Linux reads it (Documentation/driver-api/early-userspace/buffer-format.rst).
fn add(archive: &mut Vec<u8>, name: &str, mode: u32, bytes: &[u8]) {
    let number = archive.len();
    let fields = [number, mode as usize, 0, 0, 1, 0, bytes.len(), 0, 0, 0, 0, name.len() + 1, 0];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(bytes);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

struct House {
    host: Host,
    kernel: PathBuf,
    initrd: PathBuf,
}

impl House {
    fn start(&self, name: &str, generation: &str) -> Result<()> {
        let disk = self.host.root().join(format!("var/lib/libvirt/images/{name}.qcow2"));
        fs::create_dir_all(disk.parent().context("a directory")?)?;
        let mut create = Command::new("qemu-img");
        finish(create.args(["create", "-q", "-f", "qcow2"]).arg(&disk).arg("1M"), PATIENCE, "qemu-img")?
            .ok()?;
        let disk = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
             <target dev='vda' bus='virtio'/></disk>",
            disk.display()
        );
        let boot = format!(
            "hvm</type><kernel>{}</kernel><initrd>{}</initrd><cmdline>console=ttyS0 quiet loglevel=1</cmdline>",
            self.kernel.display(),
            self.initrd.display()
        );
        let document = tiny_with(name, &disk)
            .replace("<vcpu>", &format!("{generation}<vcpu>"))
            .replace("<memory unit='MiB'>64<", "<memory unit='MiB'>256<")
            .replace("hvm</type>", &boot);
        let document = self.host.file(&format!("{name}.xml"), &document)?;
        self.host.lodge(&["define", &document])?.ok()?;
        self.host.lodge(&["start", name])?.ok().map(drop)
    }

    fn printed(&self, name: &str) -> Result<String> {
        let uuid = self.host.json(&["dominfo", name])?["uuid"].as_str().context("no uuid")?.to_owned();
        let log = self.host.root().join("run/lodge/guests").join(uuid).join("console.log");
        Ok(fs::read(log).map(|log| String::from_utf8_lossy(&log).replace('\r', "")).unwrap_or_default())
    }

    /// What is printed once it has what is looked for.
    fn until<T>(&self, name: &str, found: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let printed = self.printed(name)?;
            if let Some(found) = found(&printed) {
                return Ok(found);
            }
            let last: Vec<&str> = printed.lines().rev().take(5).collect();
            ensure!(Instant::now() < deadline, "`{name}` printed last {last:?}\n{}", self.host.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Whole lines: number and random bytes.
fn ticks(printed: &str) -> Vec<(u32, String)> {
    let tick = |line: &str| {
        let (number, bytes) = line.strip_prefix("tick ")?.split_once(' ')?;
        (bytes.len() == 64).then(|| Some((number.parse().ok()?, bytes.to_owned())))?
    };
    printed.lines().filter_map(tick).collect()
}

fn megabyte(printed: &str) -> Option<String> {
    let (text, _) = printed.split_once("begin\n")?.1.split_once("end\n")?;
    Some(text.to_owned())
}

fn decoded(text: &str) -> Result<Vec<u8>> {
    let mut decode = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut into = decode.stdin.take().context("no input")?;
    let text = text.to_owned();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut into, text.as_bytes()));
    let output = decode.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("writing panicked"))??;
    ensure!(output.status.success() && output.stdout.len() == MEGABYTE, "{} bytes", output.stdout.len());
    Ok(output.stdout)
}

/// Clones a guest that runs; the random bytes that both printed at one number after that, for each number.
fn pairs(house: &House, name: &str, args: &[&str]) -> Result<Vec<(u32, bool)>> {
    house.until(name, |printed| ticks(printed).last().filter(|(number, _)| *number > SETTLED).map(|_| ()))?;
    let clone = format!("{name}-2");
    house.host.lodge_for(PATIENCE, &[&["clone", name, &clone][..], args].concat())?.ok()?;
    let theirs = house.until(&clone, |printed| Some(ticks(printed)).filter(|ticks| ticks.len() > 10))?;
    let last = theirs.last().map_or(0, |(number, _)| *number);
    let own = house.until(name, |printed| {
        Some(ticks(printed)).filter(|ticks| ticks.last().is_some_and(|(number, _)| *number >= last))
    })?;
    let own: std::collections::HashMap<u32, String> = own.into_iter().collect();
    let pair = |(number, bytes): (u32, String)| Some((number, *own.get(&number)? == bytes));
    Ok(theirs.into_iter().filter_map(pair).collect())
}

#[test]
#[ignore = "a kernel of 70 MB is fetched: cargo xtask lab clones"]
fn lab_random_numbers_are_others_by_the_generation_id_alone() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let (kernel, initrd) = kernel()?;
    let house = House { host: Host::start()?, kernel, initrd };
    // Nothing tells this one: whoever does not hear makes the same numbers, and this test would see it.
    house.start("deaf", "")?;
    let deaf = pairs(&house, "deaf", &["--force"])?;
    ensure!(
        deaf.iter().any(|(_, is_same)| *is_same),
        "nobody told it, and no numbers were the same: {deaf:?}"
    );
    for name in ["deaf", "deaf-2"] {
        house.host.lodge(&["destroy", name])?.ok()?;
    }

    house.start("hears", "<genid/>")?;
    let heard = pairs(&house, "hears", &[])?;
    // It is told while it goes on: one that was being made in that moment may be its source's.
    let same: Vec<_> = heard.iter().skip(1).filter(|(_, is_same)| *is_same).collect();
    ensure!(heard.len() > 5 && same.is_empty(), "both printed the same at {same:?} of {heard:?}");
    let one = decoded(&house.until("hears", megabyte)?)?;
    let other = decoded(&house.until("hears-2", megabyte)?)?;
    let seen: HashSet<&[u8]> = one.windows(16).collect();
    ensure!(!other.windows(16).any(|bytes| seen.contains(bytes)), "both read the same random numbers");
    Ok(())
}
