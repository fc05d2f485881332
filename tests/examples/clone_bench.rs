//! Clones with identities of their own, many clones, and an audit of many guests, with `--peers` beside virt-clone and
//! virt-sysprep of libguestfs.
//!
//! `cargo xtask bench clone [--peers]`. Prints what was measured; judges nothing. The source is a guest that is off with an
//! ext4 disk of some files where an identity is kept, made without a mount by `mke2fs -d`.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, document::tiny_with};

const CLONES: usize = 100;
const PATIENCE: Duration = Duration::from_mins(10);
/// The disk of a guest of a common size, and how many files it has.
const LARGE: (u64, usize) = (8192, 60_000);
const SMALL: (u64, usize) = (256, 0);
/// GRUB's driver for ext4, as a guest of the host's distribution has it: by that it is known what it can read.
const GRUB: &str = "/usr/lib/grub/i386-pc/ext2.mod";

fn main() -> Result<()> {
    let peers = std::env::args().any(|arg| arg == "--peers");
    let host = Host::start()?;
    let disk = source(&host, "web1", SMALL)?;
    host.lodge(&["template", "create", "web1", "--name", "web"])?.ok()?;
    let single = median(&host, "web")?;
    println!("{:44} {single:>9.1} ms", "linked clone, identity and all (median of 10)");
    let many = timed(|| {
        let count = CLONES.to_string();
        host.lodge_for(PATIENCE, &["clone", "web", "node", "--count", &count])?.ok().map(drop)
    })?;
    println!("{:44} {many:>9.1} ms", format!("{CLONES} linked clones"));
    let audit = |name: &str, args: &[&str]| -> Result<f64> {
        let took = timed(|| {
            let done = host.lodge_for(PATIENCE, args)?;
            ensure!(done.status.code() == Some(0), "{name}: {}{}", done.stdout, done.stderr);
            Ok(())
        })?;
        println!("{name:44} {took:>9.1} ms");
        Ok(took)
    };
    audit("audit of all of them, disks read", &["identity", "audit", "--fresh"])?;
    audit("the same again", &["identity", "audit"])?;
    source(&host, "large1", LARGE)?;
    host.lodge_for(PATIENCE, &["template", "create", "large1", "--name", "large"])?.ok()?;
    let what = format!("linked clone of {} files on {} GiB", LARGE.1, LARGE.0 / 1024);
    println!("{what:44} {:>9.1} ms", median(&host, "large")?);
    if peers {
        let theirs = peer(&host, &disk)?;
        println!("{:44} {theirs:>9.1} ms {:>8.1}×", "virt-clone and virt-sysprep of one", theirs / single);
    }
    Ok(())
}

/// The median of ten linked clones, one after the other.
fn median(host: &Host, template: &str) -> Result<f64> {
    let mut all = Vec::new();
    for number in 0..10 {
        let name = format!("{template}-single{number}");
        all.push(timed(|| host.lodge(&["clone", template, &name])?.ok().map(drop))?);
    }
    all.sort_by(f64::total_cmp);
    Ok(all[all.len() / 2])
}

fn timed(act: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    act()?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

/// A guest that is off, with a small Linux's files on its disk, and so many more.
fn source(host: &Host, name: &str, (disk_mib, files): (u64, usize)) -> Result<String> {
    let tree = tempfile::tempdir()?;
    let file = |path: &str, text: &str| -> Result<()> {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().context("a parent")?)?;
        Ok(fs::write(path, text)?)
    };
    file("etc/os-release", "ID=debian\nVERSION_ID=12\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n")?;
    file("etc/debian_version", "12.5\n")?;
    file("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n")?;
    file("etc/machine-id", "17f2e0698e844e31b12ccd3f9aa4d94a\n")?;
    file("var/lib/dbus/machine-id", "17f2e0698e844e31b12ccd3f9aa4d94a\n")?;
    file("etc/hostname", "web1\n")?;
    file("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 web1\n")?;
    file("etc/fstab", "/dev/vda / ext4 defaults 0 1\n")?;
    file("usr/lib/systemd/systemd", "")?;
    fs::create_dir_all(tree.path().join("bin"))?;
    for number in 0..files {
        file(&format!("usr/share/{}/{number}", number / 200), "something")?;
    }
    if files > 0 && Path::new(GRUB).is_file() {
        file("boot/vmlinuz-6.1.0-1-amd64", "")?;
        file("boot/grub/i386-pc/ext2.mod", "")?;
        fs::copy(GRUB, tree.path().join("boot/grub/i386-pc/ext2.mod"))?;
    }
    let pool = host.root().join("var/lib/libvirt/images");
    fs::create_dir_all(&pool)?;
    let (raw, disk) = (pool.join(format!("{name}.raw")), pool.join(format!("{name}.qcow2")));
    // As Debian 12 makes it.
    let features = ["-t", "ext4", "-O", "metadata_csum,^metadata_csum_seed,^orphan_file"];
    let size = format!("{disk_mib}M");
    let from = ["-d", text(tree.path())?, text(&raw)?, &size];
    run("mke2fs", &[&["-q", "-F"][..], &features, &from].concat())?;
    run("qemu-img", &["convert", "-O", "qcow2", text(&raw)?, text(&disk)?])?;
    fs::remove_file(&raw)?;
    let disk = text(&disk)?.to_owned();
    let devices = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>\
         <target dev='vda' bus='virtio'/></disk><interface type='user'><model type='virtio'/></interface>"
    );
    let document = host.file(&format!("{name}.xml"), &tiny_with(name, &devices))?;
    host.lodge(&["define", &document])?.ok()?;
    Ok(disk)
}

/// virt-clone makes a full copy and virt-sysprep opens it in an appliance; both need no daemon of their own for a file.
fn peer(host: &Host, disk: &str) -> Result<f64> {
    // libguestfs takes KVM wherever its device opens, and hangs where that does not run guests: it gets what Lodge chose.
    let checked = host.lodge(&["host", "check", "-o", "json"])?.stdout;
    let checked: serde_json::Value = serde_json::from_str(&checked).context("host check -o json")?;
    let settings = if checked["verdict"] == "slow" { "force_tcg" } else { "" };
    let copy = host.root().join("peer.qcow2");
    let copy = text(&copy)?;
    let act = || {
        // What virt-clone does to the disk; its document's part takes no time to speak of.
        run("qemu-img", &["convert", "-O", "qcow2", disk, copy])?;
        run_with("virt-sysprep", &["-q", "-a", copy, "--hostname", "peer"], settings)
    };
    // The first one builds the appliance, once per host: not counted.
    act()?;
    timed(act)
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    run_with(program, args, "")
}

fn run_with(program: &str, args: &[&str], guestfs: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.args(args).env("LIBGUESTFS_BACKEND", "direct").env("LIBGUESTFS_BACKEND_SETTINGS", guestfs);
    lodge_tests::finish(&mut command, PATIENCE, program)?.ok()?;
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}
