//! From Lodge back to libvirtd, and over again.

use anyhow::{Result, ensure};
use lodge_tests::turn_alone;

use super::house::{Daemon, House};
use super::over::libvirts_host;

/// `web1` was libvirtd's first, `web2` Lodge's.
fn both(house: &mut House) -> Result<()> {
    house.stop(Daemon::Libvirtd, "KILL")?;
    house.start_lodge()?;
    let guest = house.guest("web2", 2)?;
    house.sh(&format!("set -e; lodge define {guest}; lodge start web2"))?;
    let pty = house.pty("web2")?;
    house.wait("the second guest counts", |house| Ok(house.counter(&pty).is_ok()))
}

#[test]
fn guests_and_networks_go_back_to_libvirtd_and_over_again() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let Some(mut house) = libvirts_host()? else { return Ok(()) };
    both(&mut house)?;
    let guests = ["web1", "web2"];
    let ptys = [house.pty("web1")?, house.pty("web2")?];
    let pids = [house.qemu("web1")?, house.qemu("web2")?];
    let mut counters = [house.counter(&ptys[0])?, house.counter(&ptys[1])?];
    let mut go_on = |house: &House| -> Result<()> {
        for at in 0..guests.len() {
            let now = house.counter(&ptys[at])?;
            ensure!(now > counters[at], "{} began anew or stood still", guests[at]);
            ensure!(house.qemu(guests[at])? == pids[at], "{} is another process", guests[at]);
            counters[at] = now;
        }
        Ok(())
    };

    house.sh("lodge adopt --back")?;
    house.stop(Daemon::Lodge, "TERM")?;
    house.start_libvirtd()?;
    go_on(&house)?;
    for guest in guests {
        house.sh(&format!(
            "set -e; virsh domstate {guest} | grep running; virsh dominfo {guest}; virsh dumpxml {guest} | grep virbr0
             virsh suspend {guest}; virsh domstate {guest} --reason | grep 'paused (user)'; virsh resume {guest}
             virsh domblkstat {guest} vda; virsh domblkstat {guest} sda; virsh vcpuinfo {guest} | grep running
             qemu-img create -q -f raw /var/lib/libvirt/images/more-{guest}.img 1M
             virsh attach-disk {guest} /var/lib/libvirt/images/more-{guest}.img vdb
             virsh domblkstat {guest} vdb; virsh domifaddr {guest}"
        ))?;
    }
    go_on(&house)?;
    let leases = house.sh("virsh net-dhcp-leases default")?;
    ensure!(leases.contains("192.168.122.77/24"), "libvirtd does not know the lease:\n{leases}");
    ensure!(house.sh("ps ax")?.contains("dnsmasq --conf"), "dnsmasq does not serve again");

    house.stop(Daemon::Libvirtd, "KILL")?;
    house.start_lodge()?;
    go_on(&house)?;
    for guest in guests {
        let live = house.sh(&format!("lodge dumpxml {guest}"))?;
        ensure!(live.contains(&format!("more-{guest}.img")), "what libvirtd plugged in is not seen:\n{live}");
    }
    house.sh("set -e; lodge destroy web1; lodge destroy web2; lodge net-destroy default")?;
    let left = house.sh("ls -R /run/libvirt/qemu /var/lib/libvirt/qemu /run/lodge/guests")?;
    ensure!(!left.contains("web") && !left.contains("lodge-"), "of the guests this is left:\n{left}");
    house.stop(Daemon::Lodge, "TERM")
}

#[test]
fn a_killed_lodge_leaves_all_to_libvirtd() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let Some(mut house) = libvirts_host()? else { return Ok(()) };
    both(&mut house)?;
    let ptys = [house.pty("web1")?, house.pty("web2")?];
    let before = [house.counter(&ptys[0])?, house.counter(&ptys[1])?];
    house.stop(Daemon::Lodge, "KILL")?;
    house.start_libvirtd()?;
    for (at, guest) in ["web1", "web2"].into_iter().enumerate() {
        ensure!(house.sh(&format!("virsh domstate {guest}"))?.contains("running"), "{guest} is lost");
        ensure!(house.counter(&ptys[at])? > before[at], "{guest} does not go on");
    }
    // Nobody gave the network back: libvirtd has it, and netd serves on in dnsmasq's place.
    ensure!(house.sh("virsh net-list --name")?.contains("default"), "the network is down");
    ensure!(house.sh("ps ax")?.contains("lodge netd"), "nobody serves the network");
    house.sh("set -e; virsh destroy web2; virsh destroy web1")?;
    // What libvirtd ended is off here too.
    house.stop(Daemon::Libvirtd, "TERM")?;
    house.start_lodge()?;
    let running = house.sh("lodge list --name")?;
    ensure!(running.trim().is_empty(), "these run although they were ended: {running}");
    let left = house.sh("find /run/lodge/guests -mindepth 1")?;
    ensure!(left.is_empty(), "this is left of them:\n{left}");
    house.sh("lodge net-destroy default")?;
    house.stop(Daemon::Lodge, "TERM")
}
