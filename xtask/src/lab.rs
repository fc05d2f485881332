//! `cargo xtask lab`: tests that take many minutes, and so are none of `cargo xtask test`.
//!
//! - `storage`: those that need a kernel with more than the host's may have (device-mapper, an NFS server), in a guest
//!   that serves as a host: a small Debian, booted straight from its own kernel, with a test program of this project.
//! - `clones`: ten clones booted and read from inside. `layouts`: clones of disks laid out in all ways, booted; one layout
//!   alone by its name (`xfs-uefi-missing`).
//!
//! What is made for them is kept in `target/lab`, so that only the first run fetches packages.

mod layouts;

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    apt,
    command::{cargo, output, run, target, words},
};

const LABS: &[&str] = &["storage", "clones", "layouts"];

/// What the guest has beside a minimal Debian.
const PACKAGES: &str = "linux-image-cloud-amd64,kmod,udev,lvm2,thin-provisioning-tools,nfs-kernel-server,nfs-common,\
                        parted,e2fsprogs,xfsprogs,iproute2,procps,qemu-utils,netbase";
const SUITE: &str = "bookworm";
const DISK_BYTES: u64 = 3 << 30;
/// A slow machine without KVM, twice.
const DEADLINE: Duration = Duration::from_mins(15);
/// What the guest's console says last.
const DONE: &str = "LAB RESULT ";

/// The guest's first process.
const INIT: &str = r#"#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/root
mount -t proc proc /proc; mount -t sysfs sys /sys 2>/dev/null; mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs run /run; mount -t tmpfs tmp /tmp; mkdir -p /run/lock /run/rpcbind /run/sendsigs.omit.d
for module in loop dm-mod dm-snapshot dm-thin-pool ext4 xfs nfs nfsd dummy; do modprobe $module; done
/lib/systemd/systemd-udevd --daemon; udevadm trigger; udevadm settle
ip link set lo up
ip link add dummy0 type dummy 2>/dev/null; ip link set dummy0 up
mkdir -p /srv/lab; chmod 1777 /srv/lab; mkdir -p /srv/data; mount -t tmpfs data /srv/lab
echo '/srv/lab 127.0.0.1(rw,no_root_squash,insecure,fsid=1,no_subtree_check)' > /etc/exports
mount -t nfsd nfsd /proc/fs/nfsd; mkdir -p /var/lib/nfs/rpc_pipefs; mount -t rpc_pipefs rpc /var/lib/nfs/rpc_pipefs
rpcbind -w; rpc.statd --no-notify; exportfs -ra; rpc.nfsd 2; rpc.mountd
cd /tmp
/lab/tests --ignored --test-threads=1 --color=never lab:: ; code=$?
echo "LAB RESULT $code"
sync; echo o > /proc/sysrq-trigger; sleep 60
"#;

/// Runs the named labs, or all; of `layouts`, those that are named.
pub fn lab(args: &[String]) -> Result<()> {
    let (_, wanted) = words(args, &[], usize::MAX)?;
    let is_known = |name: &&str| LABS.contains(name) || layouts::LAYOUTS.contains(name);
    if let Some(unknown) = wanted.iter().find(|name| !is_known(name)) {
        let known = [LABS, layouts::LAYOUTS].concat();
        bail!("there is no lab `{unknown}`; there are: {}", known.join(", "));
    }
    apt::install(apt::ALL)?;
    let is_wanted = |lab: &str| wanted.is_empty() || wanted.contains(&lab);
    if is_wanted("storage") {
        println!("── storage");
        storage()?;
    }
    if is_wanted("clones") {
        println!("── clones");
        product_tests("lab_ten_booted_clones", &[])?;
    }
    let of_layouts = layouts::LAYOUTS.iter().copied();
    let chosen: Vec<&str> =
        of_layouts.filter(|layout| is_wanted("layouts") || wanted.contains(layout)).collect();
    if !chosen.is_empty() {
        println!("── layouts: {}", chosen.join(", "));
        let images = layouts::images(&chosen)?;
        let told = [
            ("LODGE_LAB_IMAGES", images.as_os_str().to_owned()),
            ("LODGE_LAB_LAYOUTS", chosen.join(" ").into()),
        ];
        product_tests("lab_clones_of_each_layout", &told)?;
    }
    Ok(())
}

/// Tests of the whole product that `cargo test` leaves out.
fn product_tests(filter: &str, told: &[(&str, OsString)]) -> Result<()> {
    run(cargo().args(["build", "--quiet", "-p", "lodge"]))?;
    let mut tests = cargo();
    tests.args(["test", "--quiet", "-p", "lodge-tests", "--test", "e2e", "--", "--ignored", "--nocapture"]);
    tests.envs(told.iter().cloned());
    run(tests.arg(filter))
}

/// Builds the guest and the storage's tests, and runs them there.
fn storage() -> Result<()> {
    let place = target().join("lab");
    fs::create_dir_all(&place)?;
    let tests = test_program()?;
    let system = system(&place)?;
    let disk = disk(&place, &system, &tests)?;
    let said = boot(&place, &system, &disk)?;
    let code = said.lines().find_map(|line| line.trim().strip_prefix(DONE));
    match code {
        Some("0") => Ok(()),
        Some(code) => bail!("tests failed in the lab guest (exit status {code}); see above"),
        None => bail!("the lab guest ended without a result; see {}", place.join("console.log").display()),
    }
}

/// The storage's tests, as a program.
fn test_program() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args = ["test", "-p", "lodge-storage", "--test", "it", "--no-run", "--message-format=json"];
    let said = output(Command::new(cargo).args(args).stderr(Stdio::inherit()))?;
    let mut made = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let is_ours =
        |message: &serde_json::Value| message["target"]["name"] == "it" && message["executable"].is_string();
    let program = made.rfind(is_ours).context("cargo named no test program")?;
    Ok(program["executable"].as_str().unwrap_or_default().into())
}

/// The guest's files: a directory that is made once.
fn system(place: &Path) -> Result<PathBuf> {
    let system = place.join("system");
    let whole = place.join("system.is-whole");
    if whole.is_file() && fs::read_to_string(&whole)? == PACKAGES {
        return Ok(system);
    }
    println!("making the lab guest in {}", system.display());
    drop(fs::remove_file(&whole));
    drop(fs::remove_dir_all(&system));
    let mirror = apt::mirror().context("apt knows no mirror of Debian")?;
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE]);
    output(bootstrap.arg(&system).arg(mirror))?;
    fs::write(whole, PACKAGES)?;
    Ok(system)
}

/// A disk with the guest's files and the tests.
fn disk(place: &Path, system: &Path, tests: &Path) -> Result<PathBuf> {
    let lab = system.join("lab");
    fs::create_dir_all(&lab)?;
    fs::copy(tests, lab.join("tests")).context("the tests cannot be copied")?;
    let init = lab.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let disk = place.join("disk.raw");
    drop(fs::remove_file(&disk));
    fs::File::create(&disk)?.set_len(DISK_BYTES)?;
    run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(system).arg(&disk))?;
    Ok(disk)
}

/// Boots it, shows what it says, and gives that back.
fn boot(place: &Path, system: &Path, disk: &Path) -> Result<String> {
    let kernel = newest(system, "vmlinuz-")?;
    let initrd = newest(system, "initrd.img-")?;
    let console = place.join("console.log");
    // What an earlier guest said is not this one's word.
    drop(fs::remove_file(&console));
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536"]);
    qemu.args(["-nodefaults", "-no-reboot", "-display", "none", "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd);
    qemu.args(["-append", "root=/dev/vda rw init=/lab/init console=ttyS0 panic=-1 loglevel=1"]);
    qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio,cache=unsafe", disk.display()));
    qemu.arg("-serial").arg(format!("file:{}", console.display()));
    let mut guest = qemu.stdin(Stdio::null()).spawn().context("qemu-system-x86_64 does not start")?;
    let began = Instant::now();
    let mut shown = 0;
    loop {
        let ended = guest.try_wait()?.is_some();
        let said = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
        print!("{}", said.get(shown..).unwrap_or_default());
        shown = said.len();
        if ended {
            return Ok(said);
        }
        if began.elapsed() > DEADLINE || said.contains(DONE) {
            // It switches itself off; should it not, nothing of it is needed any more.
            guest.kill()?;
            guest.wait()?;
            return Ok(said);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn newest(system: &Path, start: &str) -> Result<PathBuf> {
    let boot = system.join("boot");
    let names = fs::read_dir(&boot)?.flatten().map(|entry| entry.path());
    let is_it =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
    names.filter(is_it).max().with_context(|| format!("no {start}* in {}", boot.display()))
}
