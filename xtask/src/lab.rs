//! `cargo xtask lab`: tests that take many minutes, and so are none of `cargo xtask test`.
//!
//! - `storage`: those that need a kernel with more than the host's may have (device-mapper, an NFS server), in a guest
//!   that serves as a host: a small Debian, booted straight from its own kernel, with a test program of this project.
//! - `devices`: a guest that serves as a host with an IOMMU, network cards (one with virtual functions), a USB stick, SCSI
//!   and NVMe disks, keyboards and a TPM, which `lodge` there gives to guests of its own and gets back. And what of network cards needs
//!   more of a kernel than the host's may have: VLANs of bridges, policing, vhost-net, vDPA, filters that count connections.
//! - `clones`: a hundred compared with each other; ten booted and read from inside; one of a running guest that nothing
//!   but the VM generation id tells that it is another.
//! - `layouts`: clones of disks laid out in all ways, booted; one layout alone by its name (`xfs-uefi-missing`).
//!
//! What is made for them is kept in `target/lab`, so that only the first run fetches packages.

mod devices;
mod guest;
mod layouts;

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use self::guest::LabGuest;
use crate::{
    apt,
    command::{cargo, output, run, target, words},
};

const LABS: &[&str] = &["storage", "devices", "clones", "layouts"];

/// What the guest has beside a minimal Debian.
const PACKAGES: &str = "linux-image-cloud-amd64,kmod,udev,lvm2,thin-provisioning-tools,nfs-kernel-server,nfs-common,\
                        parted,e2fsprogs,xfsprogs,iproute2,procps,qemu-utils,netbase";
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
# A server that comes back waits so long for those who had files open.
echo 10 > /proc/fs/nfsd/nfsv4leasetime; echo 10 > /proc/fs/nfsd/nfsv4gracetime
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
    if is_wanted("devices") {
        println!("── devices");
        devices::devices()?;
    }
    if is_wanted("clones") {
        println!("── clones");
        product_tests("lab_ten_booted_clones", &[])?;
        product_tests("lab_hundred_clones_have_nothing_in_common", &[])?;
        product_tests("lab_random_numbers_are_others_by_the_generation_id_alone", &[])?;
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

/// Builds the storage's tests, and runs them in the guest.
fn storage() -> Result<()> {
    let tests = test_program()?;
    let guest = LabGuest {
        place: target().join("lab"),
        suite: "bookworm",
        packages: PACKAGES,
        init: INIT,
        files: &[(&tests, "tests")],
        hardware: &[],
        append: "",
    };
    guest.run()
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
