//! Real Debian guests under whatever accelerator this machine has: from an image to ready, seen from inside over ssh.
//!
//! The image is built once and kept beside the compiled tests; everything else is new each time.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Done, Host, Login, document::nat_network, host::finish, turn};

use super::live_clones::{goes_on, is_settled};

/// Long enough for a slow machine; readiness itself says sooner when something is wrong.
pub const BOOT: Duration = Duration::from_mins(15);

/// The image of this test run, built on first use.
fn image() -> Result<PathBuf> {
    static BUILT: std::sync::OnceLock<std::result::Result<PathBuf, String>> = std::sync::OnceLock::new();
    let built = BUILT.get_or_init(|| build_image().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build_image() -> Result<PathBuf> {
    // A day old is new enough; Debian's mirrors move, and an image that is too old upgrades for long.
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-12.qcow2");
    let age = kept.metadata().and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
    if age.is_some_and(|age| age < Duration::from_hours(24)) {
        return Ok(kept);
    }
    let host = Host::start()?;
    host.lodge_for(BOOT, &["image", "build", "debian-12"])?.ok()?;
    let info = host.json(&["image", "info", "debian-12"])?;
    let path = info["path"].as_str().context("the image has no path")?;
    let part = kept.with_extension("part");
    std::fs::copy(path, &part)?;
    std::fs::rename(part, &kept)?;
    Ok(kept)
}

/// A daemon that has the image.
pub fn host_with_image() -> Result<Host> {
    let image = image()?;
    let host = Host::start()?;
    host.lodge_for(BOOT, &["image", "import", "--format", "qcow2", "debian-12", &image.to_string_lossy()])?
        .ok()?;
    Ok(host)
}

/// An SSH key pair under the host's root; gives the private key's path.
pub fn ssh_key(host: &Host) -> Result<PathBuf> {
    let key = host.root().join("key");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
    finish(&mut keygen, Duration::from_mins(1), "ssh-keygen")?.ok()?;
    Ok(key)
}

/// Runs a command in the guest over plain ssh.
pub fn ssh(host: &Host, key: &Path, address: &str, command: &str) -> Result<Done> {
    let known_hosts = host.root().join("known_hosts");
    Login { key, known_hosts: &known_hosts, user: "debian", address }.run(command)?.ok()
}

#[test]
fn a_failing_cloud_config_is_told_by_module_and_log_line() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = host_with_image()?;
    let network = host.file("net.xml", &nat_network("default", "lgt-b4", 197))?;
    host.lodge(&["net-define", &network])?.ok()?;
    host.lodge(&["net-start", "default"])?.ok()?;
    let user_data =
        host.file("bad.yaml", "#cloud-config\nhostname: bad\npackages: [no-such-package-anywhere]\n")?;
    let args = ["run", "debian-12", "--name", "bad", "--user-data", &user_data, "--wait"];
    let done = host.lodge_for(BOOT, &args)?;
    done.fails_saying(&["package", "no-such-package-anywhere"])?;
    let readiness = host.json(&["readiness", "bad"])?;
    ensure!(readiness["phase"] == "failed", "{readiness}");
    ensure!(
        readiness["failure"]["module"].as_str().is_some_and(|module| module.contains("package")),
        "{readiness}"
    );
    ensure!(readiness["failure"]["log_line"].as_str().is_some_and(|line| !line.is_empty()), "{readiness}");

    // Two guests find each other by name, over the network's own DNS.
    host.lodge_for(BOOT, &["run", "debian-12", "--name", "other", "--disk", "9GiB", "--wait"])?.ok()?;
    let inside = host.lodge_for(BOOT, &["ssh", "other", "--", "getent", "ahostsv4", "bad"])?.ok()?;
    ensure!(inside.stdout.contains("192.168.197."), "{}", inside.stdout);
    super::guest_disk::look(&host, "other", 9)?;
    host.lodge_for(BOOT, &["rm", "--force", "bad"])?.ok()?;
    host.lodge_for(BOOT, &["rm", "--force", "other"])?.ok()?;
    ensure!(host.lodge(&["list", "--all", "--name"])?.ok()?.lines().is_empty());
    Ok(())
}

/// What a guest says of itself: what its memory keeps, and by what it is known.
fn who(host: &Host, name: &str) -> Result<Vec<String>> {
    let command = "cat /dev/shm/kept /proc/sys/kernel/random/boot_id; cat /etc/machine-id; uname -n; \
                   cat /sys/class/net/e*/address; cat /etc/ssh/ssh_host_ed25519_key.pub; pgrep -cx sleep";
    let said = host.lodge_for(BOOT, &["ssh", name, "--", command])?.ok()?.lines();
    ensure!(said.len() == 7, "{name} says {said:?}");
    Ok(said)
}

#[test]
fn a_running_debian_goes_on_twice_as_two_machines() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = host_with_image()?;
    let network = host.file("net.xml", &nat_network("default", "lgt-b8", 201))?;
    host.lodge(&["net-define", &network])?.ok()?;
    host.lodge(&["net-start", "default"])?.ok()?;
    host.lodge_for(BOOT, &["run", "debian-12", "--name", "web1", "--wait"])?.ok()?;
    let keep = "date > /dev/shm/kept; nohup sleep 86399 >/dev/null 2>&1 </dev/null & true";
    host.lodge_for(BOOT, &["ssh", "web1", "--", keep])?.ok()?;
    let disk = host.lodge(&["domblklist", "web1"])?.ok()?.stdout;

    let made = host.lodge_for(BOOT, &["clone", "web1", "web2"])?.ok()?;
    ensure!(made.stdout.contains("with an identity of its own"), "{}\n{}", made.stdout, made.stderr);
    host.lodge_for(BOOT, &["wait", "web2", "--for", "address"])?.ok()?;
    ensure!(host.lodge(&["domblklist", "web1"])?.ok()?.stdout == disk, "the source's disk is another");
    let (one, other) = (who(&host, "web1")?, who(&host, "web2")?);
    // One boot, one memory, the same program at work; and another machine.
    ensure!(one[..2] == other[..2] && one[6] == other[6] && other[6] != "0", "{one:?} {other:?}");
    for at in 2..6 {
        ensure!(one[at] != other[at], "both have {}", one[at]);
    }
    ensure!(other[3] == "web2", "{other:?}");
    let address = |name: &str| host.lodge(&["ip", name])?.ok().map(|done| done.stdout);
    ensure!(address("web1")? != address("web2")?, "both have one address");
    no_common_randomness(&host)?;
    host.lodge_for(BOOT, &["rm", "--force", "web2"])?.ok()?;

    // The daemon is killed while the clone goes on as its source still: the next one makes another machine of it.
    let root = host.root().to_owned();
    host.cut(&["clone", "web1", "web3"], |_| goes_on(&root, "web3", BOOT))?;
    is_settled(&host, "web3", BOOT)?;
    host.lodge_for(BOOT, &["wait", "web3", "--for", "address"])?.ok()?;
    let third = who(&host, "web3")?;
    ensure!(one[..2] == third[..2] && third[6] != "0", "{one:?} {third:?}");
    for at in 2..6 {
        ensure!(one[at] != third[at], "both have {}", one[at]);
    }
    host.lodge_for(BOOT, &["identity", "check", "web1", "web3"])?.ok()?;
    let log = host.json(&["identity", "log", "web3"])?;
    ensure!(log[0]["inside"] == "reset" && log[0]["changes"].to_string().contains(&third[2]), "{log}");
    for name in ["web1", "web3"] {
        host.lodge_for(BOOT, &["rm", "--force", name])?.ok()?;
    }
    Ok(())
}

/// A guest that UEFI boots, with its card on a bridge and a generation id.
fn by_uefi(disk: &str, bridge: &str) -> String {
    format!(
        "<domain type='qemu'><name>web1</name><genid/><memory unit='MiB'>768</memory><vcpu>1</vcpu>
         <os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type>
         <firmware><feature enabled='no' name='secure-boot'/></firmware></os>
         <features><acpi/></features><cpu mode='maximum'/><devices>
         <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>
         <target dev='vda' bus='virtio'/></disk>
         <interface type='bridge'><source bridge='{bridge}'/><model type='virtio'/></interface>
         <serial type='pty'/><channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
         <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices></domain>"
    )
}

#[test]
fn a_running_debian_of_uefi_on_a_bridge_goes_on_twice_by_whole_copies() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = host_with_image()?;
    let network = host.file("net.xml", &nat_network("default", "lgt-b7", 200))?;
    host.lodge(&["net-define", &network])?.ok()?;
    host.lodge(&["net-start", "default"])?.ok()?;
    let clone = host.json(&["image", "clone", "debian-12", "web1"])?;
    let disk = clone["path"].as_str().context("the clone has no path")?.to_owned();
    let document = host.file("web1.xml", &by_uefi(&disk, "lgt-b7"))?;
    host.lodge(&["define", &document])?.ok()?;
    host.lodge(&["seed", "set", "web1"])?.ok()?;
    host.lodge(&["start", "web1"])?.ok()?;
    host.lodge_for(BOOT, &["wait", "web1", "--for", "ready"])?.ok()?;
    let keep = "[ -d /sys/firmware/efi ] && date > /dev/shm/kept; nohup sleep 86399 >/dev/null 2>&1 </dev/null & true";
    host.lodge_for(BOOT, &["ssh", "web1", "--", keep])?.ok()?;
    let disks = host.lodge(&["domblklist", "web1"])?.ok()?.stdout;

    let made = host.lodge_for(BOOT, &["clone", "web1", "web2", "--full"])?.ok()?;
    ensure!(made.stdout.contains("with an identity of its own"), "{}\n{}", made.stdout, made.stderr);
    host.lodge_for(BOOT, &["wait", "web2", "--for", "address"])?.ok()?;
    ensure!(host.lodge(&["domblklist", "web1"])?.ok()?.stdout == disks, "the source's disk is another");
    let (one, other) = (who(&host, "web1")?, who(&host, "web2")?);
    ensure!(one[..2] == other[..2] && one[6] == other[6] && other[6] != "0", "{one:?} {other:?}");
    for at in 2..6 {
        ensure!(one[at] != other[at], "both have {}", one[at]);
    }
    no_common_randomness(&host)?;
    let nvram = |name: &str| -> Result<PathBuf> {
        let xml = host.lodge(&["dumpxml", name])?.ok()?.stdout;
        let path = xml.split("<nvram").nth(1).and_then(|rest| rest.split(['>', '<']).nth(1));
        Ok(PathBuf::from(path.with_context(|| format!("no variables in {xml}"))?))
    };
    let [one, other] = [nvram("web1")?, nvram("web2")?];
    ensure!(one != other && one.metadata()?.len() == other.metadata()?.len(), "{one:?} {other:?}");
    let clone = host.lodge(&["domblklist", "web2"])?.ok()?.stdout;
    let path = clone.split_whitespace().find(|word| word.contains("/images/")).context("no disk")?.to_owned();
    let mut info = Command::new("qemu-img");
    let info = finish(info.args(["info", "-U", &path]), BOOT, "qemu-img")?.ok()?.stdout;
    ensure!(!info.contains("backing file"), "{info}");

    // What it wrote beside its source's memory is whole: it boots by its own variables, with other UUIDs of its file systems.
    host.lodge_for(BOOT, &["shutdown", "web2"])?.ok()?;
    host.lodge_for(BOOT, &["wait", "web2", "--for", "stopped"])?.ok()?;
    host.lodge_for(BOOT, &["identity", "reset", "web2"])?.ok()?;
    host.lodge_for(BOOT, &["start", "web2"])?.ok()?;
    host.lodge_for(BOOT, &["wait", "web2", "--for", "ready"])?.ok()?;
    let uuid = "ls /dev/disk/by-uuid; [ -d /sys/firmware/efi ] && echo uefi";
    let uuids = |name: &str| -> Result<Vec<String>> {
        Ok(host.lodge_for(BOOT, &["ssh", name, "--", uuid])?.ok()?.lines())
    };
    let (theirs, own) = (uuids("web1")?, uuids("web2")?);
    ensure!(own.last().is_some_and(|last| last == "uefi") && own.len() > 1, "{own:?}");
    // An ISO's, which is a date.
    let seed = |uuid: &&String| uuid.as_str() == "uefi" || uuid.matches('-').count() == 6;
    let common: Vec<_> = own.iter().filter(|uuid| !seed(uuid) && theirs.contains(uuid)).collect();
    ensure!(common.is_empty(), "both have {common:?}");
    for name in ["web1", "web2"] {
        host.lodge_for(BOOT, &["rm", "--force", name])?.ok()?;
    }
    Ok(())
}

/// Both read a megabyte at once, and have no sixteen bytes in common.
fn no_common_randomness(host: &Host) -> Result<()> {
    let read = |name: &str| -> Result<Vec<u8>> {
        let command = "head -c 1048576 /dev/urandom | od -An -v -tx1 | tr -d ' \\n'";
        let said = host.lodge_for(BOOT, &["ssh", name, "--", command])?.ok()?.stdout;
        let digits = said.trim().as_bytes().chunks_exact(2);
        let bytes = digits.map(|two| Ok(u8::from_str_radix(std::str::from_utf8(two)?, 16)?));
        let bytes: Vec<u8> = bytes.collect::<Result<_>>()?;
        ensure!(bytes.len() == 1 << 20, "{name} gave {} bytes", bytes.len());
        Ok(bytes)
    };
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| read("web2"));
        (read("web1"), other.join())
    });
    let (one, other) = (one?, other.map_err(|_| anyhow::anyhow!("reading panicked"))??);
    let seen: std::collections::HashSet<&[u8]> = one.windows(16).collect();
    ensure!(!other.windows(16).any(|bytes| seen.contains(bytes)), "both read the same random numbers");
    Ok(())
}
