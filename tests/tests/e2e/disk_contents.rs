//! What lies on the disk of a guest that is off, by the command line: nothing is started, and nothing is mounted.

use std::{
    os::unix::fs::{FileExt as _, symlink},
    path::Path,
    process::Command,
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
