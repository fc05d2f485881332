//! What lies on the disk of a guest that is off, by the command line: nothing is started, and nothing is mounted.

use std::{
    os::unix::fs::{FileExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use lodge_tests::{Host, document::tiny_with, turn};

const MIB: u64 = 1 << 20;

fn run(dir: &Path, program: &str, args: &[&str]) -> Result<()> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let output = Command::new(program).args(args).current_dir(dir).env("PATH", path).output()?;
    ensure!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A disk with an ESP and an ext4 root, as a qcow2 on a qcow2.
fn disk(dir: &Path) -> Result<String> {
    let tree = dir.join("tree");
    std::fs::create_dir_all(tree.join("etc/ssh"))?;
    std::fs::write(tree.join("etc/os-release"), "ID=debian\n")?;
    std::fs::write(tree.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n")?;
    std::fs::write(tree.join("etc/fstab"), "LABEL=root / ext4 rw\nPARTLABEL=EFI /boot/efi vfat rw\n")?;
    std::fs::write(tree.join("etc/ssh/a\nname"), "x")?;
    symlink("/etc/machine-id", tree.join("etc/ssh/id"))?;
    symlink("../../../../../../../../etc/hostname", tree.join("etc/host"))?;
    for (name, size) in [("disk", 64), ("root", 40), ("esp", 8)] {
        std::fs::File::create(dir.join(name))?.set_len(size * MIB)?;
    }
    run(dir, "sgdisk", &["-n1:2048:+8M", "-t1:ef00", "-c1:EFI", "-n2:0:+40M", "disk"])?;
    run(dir, "mkfs.vfat", &["-i", "1234abcd", "esp"])?;
    run(dir, "mkfs.ext4", &["-q", "-L", "root", "-d", "tree", "root"])?;
    let whole = std::fs::File::options().write(true).open(dir.join("disk"))?;
    for (name, at) in [("esp", MIB), ("root", 9 * MIB)] {
        whole.write_all_at(&std::fs::read(dir.join(name))?, at)?;
    }
    run(dir, "qemu-img", &["convert", "-O", "qcow2", "-c", "disk", "base.qcow2"])?;
    run(dir, "qemu-img", &["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2"])?;
    Ok(dir.join("top.qcow2").display().to_string())
}

#[test]
fn files_and_devices_of_a_guest_that_is_off() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let pool = host.root().join("var/lib/libvirt/images");
    std::fs::create_dir_all(&pool)?;
    let image = disk(&pool)?;
    let devices = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{image}'/>\
         <target dev='vda' bus='virtio'/></disk>"
    );
    let document = host.file("guest.xml", &tiny_with("web1", &devices))?;
    host.lodge(&["define", &document])?.ok()?;
    let said = |args: &[&str]| -> Result<String> { Ok(host.lodge(args)?.ok()?.stdout) };

    ensure!(said(&["disk", "cat", "web1", "/etc/ssh/id"])? == "0123456789abcdef0123456789abcdef\n");
    ensure!(said(&["disk", "ls", "web1", "/etc"])? == "fstab\nhost\nmachine-id\nos-release\nssh\n");
    let tree = said(&["disk", "tree", "web1", "/etc/ssh"])?;
    ensure!(tree == "/etc/ssh\n├── a\\nname\n└── id -> /etc/machine-id\n", "{tree}");
    let long = said(&["disk", "ls", "-l", "web1:vda2", "/etc/machine-id"])?;
    ensure!(long.starts_with("-rw-r--r-- 0 0 33 ") && long.ends_with(" machine-id\n"), "{long}");
    let lsblk = said(&["disk", "lsblk", "web1"])?;
    let wanted =
        "NAME   SIZE TYPE MOUNTPOINTS\nvda     64M disk\n├─vda1   8M part /boot/efi\n└─vda2  40M part /\n";
    ensure!(lsblk == wanted, "{lsblk}");
    let json = host.json(&["disk", "lsblk", "web1"])?;
    let esp = &json["disks"][0]["children"][0];
    ensure!(esp["uuid"] == "1234-ABCD" && esp["fstype"] == "vfat" && esp["part_label"] == "EFI", "{esp}");
    let of_image = said(&["disk", "lsblk", "-f", &image])?;
    ensure!(of_image.contains("FSTYPE") && of_image.contains(" root "), "{of_image}");

    // What is not there, what is another's, what leads out.
    host.lodge(&["disk", "cat", "web1", "/etc/no"])?
        .fails_saying(&["/etc/no: no such file or directory in the guest"])?;
    host.lodge(&["disk", "cat", "web1", "/etc"])?.fails_saying(&["it is a directory", "lodge disk ls"])?;
    host.lodge(&["disk", "cat", "web1", "/etc/host"])?
        .fails_saying(&["no such file or directory in the guest"])?;
    host.lodge(&["disk", "ls", "web1:vdz"])?.fails_saying(&["no device 'vdz'", "lodge disk lsblk"])?;
    let raw = pool.join("root").display().to_string();
    host.lodge(&["disk", "ls", &raw])?.fails_saying(&["none is guessed", "--format"])?;
    ensure!(said(&["disk", "cat", "--format", "raw", &raw, "/etc/os-release"])? == "ID=debian\n");

    // While it runs its disks change, so they are read only for who says that he knows.
    host.lodge(&["start", "web1"])?.ok()?;
    host.lodge(&["disk", "ls", "web1"])?.fails_saying(&["domain 'web1' is running", "--live"])?;
    ensure!(said(&["disk", "cat", "--live", "web1", "/etc/os-release"])? == "ID=debian\n");
    host.lodge(&["destroy", "web1"])?.ok()?;
    Ok(())
}

/// A raw disk of one ext4 that was made to do harm.
fn hostile(dir: &Path, canary: &Path) -> Result<PathBuf> {
    let tree = dir.join("hostile");
    for directory in ["etc/ssh", "usr/lib/systemd", "usr/sbin", "bin", "giant", "deep"] {
        std::fs::create_dir_all(tree.join(directory))?;
    }
    std::fs::write(tree.join("etc/os-release"), "ID=debian\n")?;
    std::fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/bash\n")?;
    std::fs::write(tree.join("usr/lib/systemd/systemd"), "")?;
    std::fs::write(tree.join("usr/sbin/sshd"), "")?;
    std::fs::write(tree.join("etc/ssh/ssh_host_a\nb_key"), "x")?;
    // What is written at a clone, all of it led out of the guest, or in circles.
    let out = format!("../../../../../../../../../..{}", canary.display());
    symlink(canary, tree.join("etc/machine-id"))?;
    symlink(&out, tree.join("etc/hostname"))?;
    symlink("loop", tree.join("etc/hosts"))?;
    symlink("hosts", tree.join("etc/loop"))?;
    symlink("/etc/loop/mailname", tree.join("etc/mailname"))?;
    symlink(&out, tree.join("deep/out"))?;
    symlink("..", tree.join("deep/up"))?;
    for number in 0..30_000 {
        std::fs::File::create(tree.join(format!("giant/line\nbreak {number}")))?;
    }
    let disk = dir.join("hostile.raw");
    std::fs::File::create(&disk)?.set_len(128 * MIB)?;
    run(dir, "mkfs.ext4", &["-q", "-F", "-N", "40000", "-d", "hostile", "hostile.raw"])?;
    std::fs::remove_dir_all(&tree)?;
    Ok(disk)
}

#[test]
fn hostile_disks_touch_nothing_of_the_hosts_and_the_error_names_the_place() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let pool = host.root().join("var/lib/libvirt/images");
    std::fs::create_dir_all(&pool)?;
    let canary = host.root().join("canary");
    std::fs::write(&canary, "the host's own\n")?;
    let disk = hostile(&pool, &canary)?;
    let define = |name: &str, image: &Path| -> Result<()> {
        let devices = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/>\
             <target dev='vda' bus='virtio'/></disk>",
            image.display()
        );
        let document = host.file("guest.xml", &tiny_with(name, &devices))?;
        host.lodge(&["define", &document])?.ok().map(drop)
    };
    define("bad", &disk)?;
    let patience = Duration::from_mins(2);
    for path in ["/etc/machine-id", "/etc/hostname", "/deep/out", "/deep/up/deep/up/deep/out"] {
        let read = host.lodge(&["disk", "cat", "bad", path])?;
        read.fails_saying(&[path, "no such file or directory in the guest"])?;
    }
    for path in ["/etc/hosts", "/etc/mailname"] {
        host.lodge(&["disk", "cat", "bad", path])?.fails_saying(&[path, "link"])?;
    }
    let listed = host.lodge_for(patience, &["disk", "ls", "bad", "/etc/ssh"])?.ok()?.stdout;
    ensure!(listed.lines().count() == 1, "{listed}");
    let giant = host.lodge_for(patience, &["disk", "ls", "bad", "/giant"])?;
    let lines = giant.stdout.lines().count();
    ensure!(lines == 30_000 || giant.stderr.contains("/giant"), "{lines} {}", giant.stderr);
    host.lodge_for(patience, &["identity", "show", "bad"])?.ok()?;
    // Whether it can be made another machine or not, what it points at is not written.
    let cloned = host.lodge_for(patience, &["clone", "bad", "worse"])?;
    ensure!(cloned.status.success() || cloned.stderr.contains("/etc/"), "{}", cloned.stderr);
    let swept = host.lodge_for(patience, &["identity", "reset", "bad"])?;
    ensure!(swept.status.success() || swept.stderr.contains("/etc/"), "{}", swept.stderr);
    ensure!(
        std::fs::read_to_string(&canary)? == "the host's own\n",
        "a guest's link was followed on the host"
    );

    // Superblocks that say what cannot be.
    for (name, at, bytes) in [
        ("blocks", 1024 + 4, &[0xFF; 4]),
        ("block-size", 1024 + 0x18, &[0xFF; 4]),
        ("per-group", 1024 + 0x28, &[0; 4]),
        ("first-inodes", 1024 + 0x20, &[0; 4]),
    ] {
        let broken = pool.join(format!("{name}.raw"));
        std::fs::copy(&disk, &broken)?;
        std::fs::File::options().write(true).open(&broken)?.write_all_at(bytes, at)?;
        define(name, &broken)?;
        host.lodge_for(patience, &["disk", "ls", name, "/"])?.fails_saying(&["vda"])?;
        let before = std::fs::read(&broken)?;
        let reset = host.lodge_for(patience, &["identity", "reset", name])?;
        let said = [reset.stdout, reset.stderr].concat();
        ensure!(said.contains("vda") || said.contains("no Linux was found"), "{name}: {said}");
        ensure!(std::fs::read(&broken)? == before, "{name} was changed");
    }
    host.lodge(&["list", "--all"])?.ok()?;
    Ok(())
}
