//! From libvirtd to Lodge.

use anyhow::{Context, Result, ensure};
use lodge_tests::turn_alone;

use super::house::{Daemon, House, NETWORK};

/// A host of libvirtd's: its default network, a guest that runs, marks, a lease.
pub fn libvirts_host() -> Result<Option<House>> {
    let Some(mut house) = House::new()? else { return Ok(None) };
    house.start_libvirtd()?;
    let network = house.path().join("default.xml");
    std::fs::write(&network, NETWORK)?;
    let guest = house.guest("web1", 1)?;
    house.sh(&format!(
        "set -e; virsh net-define {}; virsh net-autostart default; virsh net-start default
         virsh define {guest}; virsh autostart web1; virsh start web1",
        network.display()
    ))?;
    // The guest asks for no address: the lease that dnsmasq would have noted.
    house.sh(
        r#"cat > /var/lib/libvirt/dnsmasq/virbr0.status <<END
[ { "ip-address": "192.168.122.77", "mac-address": "52:54:00:11:22:01", "hostname": "web1", "client-id": "01:52:54:00:11:22:01", "expiry-time": 4102444800 } ]
END"#,
    )?;
    let pty = house.pty("web1")?;
    house.wait("the guest counts", |house| Ok(house.counter(&pty).is_ok()))?;
    Ok(Some(house))
}

#[test]
fn a_running_guest_and_its_network_come_over_without_a_pause() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let Some(mut house) = libvirts_host()? else { return Ok(()) };
    let (pty, pid) = (house.pty("web1")?, house.qemu("web1")?);
    let shown = house.sh("virsh dumpxml --security-info web1")?;

    // While libvirtd runs, all is only looked at.
    let list = house.sh("lodge adopt --dry-run")?;
    for words in [
        "libvirtd (pid ",
        "runs and has qemu, network, storage, secrets. Stop it before",
        &format!("web1   running (pid {pid}), autostart"),
        "default   active on virbr0, dnsmasq (pid ",
    ] {
        ensure!(list.contains(words), "`lodge adopt --dry-run` does not say {words:?}:\n{list}");
    }

    let before = house.counter(&pty)?;
    house.stop(Daemon::Libvirtd, "KILL")?;
    house.start_lodge()?;
    let after = house.counter(&pty)?;
    ensure!(after > before, "the guest began anew or stood still: {before:x}, then {after:x}");
    ensure!(house.qemu("web1")? == pid, "another process is the guest's now");
    ensure!(house.sh("lodge list --name")?.contains("web1"), "the guest is not in the list");
    ensure!(house.sh("lodge dumpxml --security-info web1")? == shown, "the live document is another one");
    ensure!(house.sh("lodge dominfo web1")?.contains("Autostart:      enable"), "the mark is lost");

    // It is a guest like any other.
    house.sh("set -e; lodge suspend web1; lodge domstate web1 | grep paused; lodge resume web1")?;
    let resumed = house.counter(&pty)?;
    ensure!(resumed > after, "the guest does not go on");
    let disk = house.guest("thief", 9)?;
    house.sh(&format!("sed -i s/thief.img/web1.img/ {disk}; lodge define {disk}"))?;
    house.run("lodge start thief")?.fails_saying(&["web1.img", "in use by domain `web1`"])?;

    // The network is up, with its lease, its guest's name, and nothing of libvirt's on it.
    let leases = house.sh("lodge net-dhcp-leases default")?;
    ensure!(leases.contains("192.168.122.77/24") && leases.contains("web1"), "the lease is lost:\n{leases}");
    ensure!(house.sh("lodge domifaddr web1")?.contains("vnet0"), "the interface is not the guest's");
    ensure!(!house.sh("ps ax")?.contains("dnsmasq --conf"), "dnsmasq still runs");
    ensure!(!house.sh("iptables-save")?.contains("virbr0"), "libvirt's rules are still there");
    ensure!(house.sh("nft list table inet lodge")?.contains("virbr0"), "our rules are not there");
    let port = house.sh("ip -d link show vnet0")?;
    ensure!(port.contains("master virbr0") && port.contains("lodge:system:"), "{port}");

    // libvirtd is kept away by its own lock.
    // (It ends with 0 all the same.)
    let refused = house.run("timeout 60 libvirtd")?;
    ensure!(refused.stderr.contains("Failed to acquire pid file"), "a libvirtd started beside lodge");
    ensure!(house.counter(&pty)? > resumed, "and it harmed the guest");

    house.sh("lodge destroy web1")?;
    let left = house.sh("ls -R /run/libvirt/qemu /var/lib/libvirt/qemu /run/lodge/guests")?;
    ensure!(!left.contains("web1"), "of the guest this is left:\n{left}");
    house.sh(
        "set -e; lodge net-destroy default; lodge net-list --all | grep inactive; ! ip link show virbr0",
    )?;
    ensure!(!house.sh("ls /run/libvirt/network")?.contains("default.xml"), "libvirt's file says it runs");
    house.stop(Daemon::Lodge, "TERM")
}

#[test]
fn what_a_libvirtd_has_is_left_to_it_until_it_is_stopped() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let Some(mut house) = libvirts_host()? else { return Ok(()) };
    let (pty, pid) = (house.pty("web1")?, house.qemu("web1")?);
    house.start_lodge()?;
    house
        .run("lodge adopt")?
        .fails_saying(&["a libvirt daemon still runs: libvirtd (pid ", "systemctl stop"])?;
    house
        .run("lodge start web1")?
        .fails_saying(&[&format!("runs already (process {pid})"), "lodge adopt"])?;
    let before = house.counter(&pty)?;
    house.stop(Daemon::Libvirtd, "TERM")?;
    let list = house.sh("lodge adopt")?;
    ensure!(list.contains(&format!("web1   running (pid {pid})")), "{list}");
    ensure!(house.sh("lodge list --name")?.contains("web1"), "the guest is not in the list");
    ensure!(house.sh("lodge net-list --name")?.contains("default"), "the network is not up");
    ensure!(house.counter(&pty)? > before, "the guest does not go on");
    house.sh("set -e; lodge adopt; lodge destroy web1; lodge net-destroy default")?;
    house.stop(Daemon::Lodge, "TERM")
}

#[test]
fn a_daemon_killed_while_it_takes_over_is_followed_by_one_that_does() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let Some(mut house) = libvirts_host()? else { return Ok(()) };
    let (pty, pid) = (house.pty("web1")?, house.qemu("web1")?);
    let before = house.counter(&pty)?;
    house.stop(Daemon::Libvirtd, "KILL")?;
    let guest = "/run/lodge/guests/11111111-2222-4333-8444-555555555501";
    let network = "/run/lodge/networks/6a1fb0c5-7d4b-4d0f-a3a4-1c1e1e4d5d01";
    let moments = [
        "ip -d link show virbr0 | grep -q lodge:system".to_owned(),
        format!("[ -e {network}/live.xml ]"),
        format!("[ -e {network}/netd.json ]"),
        format!("[ -e {guest} ]"),
        format!("[ -e {guest}/vmm.json ]"),
        format!("[ -e {guest}/domain.json ]"),
    ];
    for moment in moments {
        house.spawn_lodge()?;
        house.wait(&moment, |house| Ok(house.run(&moment)?.status.success()))?;
        house.stop(Daemon::Lodge, "KILL")?;
        ensure!(house.sh("ip link show vnet0")?.contains("master virbr0"), "the guest's cable was pulled");
    }
    house.start_lodge()?;
    ensure!(house.qemu("web1")? == pid && house.counter(&pty)? > before, "the guest did not go on");
    ensure!(house.sh("lodge domstate web1")?.contains("running"), "the guest is not known");
    let leases = house.sh("lodge net-dhcp-leases default")?;
    ensure!(leases.contains("192.168.122.77/24"), "the lease is lost:\n{leases}");
    ensure!(!house.sh("ps ax")?.contains("dnsmasq --conf"), "dnsmasq still runs");
    house.sh("set -e; lodge destroy web1; lodge net-destroy default").context("the end")?;
    house.stop(Daemon::Lodge, "TERM")
}
