//! Screens and streams over TLS, a viewer on D-Bus, and disks that share their limits: as clients of the daemon see them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Done, Host, document::tiny_with, finish, skip, turn};

use super::served::{certificates, free_port};

const PATIENCE: Duration = Duration::from_mins(1);

fn virsh(host: &Host, args: &[&str]) -> Result<Done> {
    let socket = host.root().join("run/libvirt/libvirt-sock");
    let mut virsh = Command::new("virsh");
    virsh.args(["-c", &format!("qemu:///system?socket={}", socket.display())]).args(args);
    finish(&mut virsh, PATIENCE, "virsh")
}

/// What openssl says of a connection to `port` by who shows the server's own certificate.
fn handshake(dir: &str, port: u16) -> Result<String> {
    let at = |name: &str| format!("{dir}/{name}");
    let mut openssl = Command::new("openssl");
    openssl.args([
        "s_client",
        "-connect",
        &format!("127.0.0.1:{port}"),
        "-CAfile",
        &at("ca-cert.pem"),
        "-tls1_2",
    ]);
    openssl.args(["-cert", &at("server-cert.pem"), "-key", &at("server-key.pem")]).stdin(Stdio::null());
    Ok(finish(&mut openssl, PATIENCE, "openssl")?.stdout)
}

#[test]
fn a_stream_and_a_screen_go_by_tls_or_are_refused() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let Some(made) = certificates(&host)? else {
        skip("there is no openssl to make certificates with");
        return Ok(());
    };
    fs::remove_dir_all(host.root().join("etc/pki/qemu"))?;
    let port = free_port()?;
    let serial = format!(
        "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='{port}' tls='yes'/><protocol type='raw'/></serial>"
    );
    host.lodge(&["define", &host.file("stream.xml", &tiny_with("stream", &serial))?])?.ok()?;
    host.lodge(&["start", "stream"])?.fails_saying(&["there are no certificates for TLS"])?;
    let screen = "<graphics type='spice' autoport='yes' defaultMode='secure'><listen type='address' address='127.0.0.1'/></graphics>\
                  <video><model type='vga'/></video>";
    host.lodge(&["define", &host.file("screen.xml", &tiny_with("screen", screen))?])?.ok()?;

    // For root alone, as they should be: QEMU has copies.
    for place in ["qemu", "libvirt-spice"] {
        use std::os::unix::fs::PermissionsExt as _;
        let pki = host.root().join("etc/pki").join(place);
        fs::create_dir_all(&pki)?;
        for name in ["ca-cert.pem", "server-cert.pem", "server-key.pem"] {
            fs::copy(Path::new(&made).join(name), pki.join(name))?;
            fs::set_permissions(pki.join(name), fs::Permissions::from_mode(0o600))?;
        }
        fs::set_permissions(&pki, fs::Permissions::from_mode(0o700))?;
    }
    host.lodge(&["start", "stream"])?.ok()?;
    let said = handshake(&made, port)?;
    ensure!(said.contains("Verify return code: 0"), "{said}");
    host.lodge(&["destroy", "stream"])?.ok()?;

    let started = host.lodge(&["start", "screen"])?;
    if started.stderr.contains("this QEMU has no SPICE") {
        skip("this QEMU has no SPICE");
        return Ok(());
    }
    started.ok()?;
    let live = host.lodge(&["dumpxml", "screen"])?.ok()?.stdout;
    let tls = live.split("tlsPort='").nth(1).and_then(|rest| rest.split('\'').next());
    let tls = tls.with_context(|| live.clone())?.parse()?;
    ensure!(!live.contains(" port='59"), "all channels are secure, and there is another port: {live}");
    let said = handshake(&made, tls)?;
    ensure!(said.contains("Verify return code: 0"), "{said}");
    host.lodge(&["destroy", "screen"])?.ok()?;

    // A key that only a person could open.
    let key = host.root().join("etc/pki/libvirt-spice/server-key.pem");
    fs::write(&key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n")?;
    host.lodge(&["start", "screen"])?.fails_saying(&["has a passphrase, which is not known here"])?;
    Ok(())
}

#[test]
fn disks_of_a_group_have_one_limit_while_they_run() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let disk = |target: &str, bus: &str| -> Result<String> {
        let image = host.root().join(format!("{target}.raw"));
        fs::File::create(&image)?.set_len(1 << 20)?;
        Ok(format!(
            "<disk type='file'><driver name='qemu' type='raw'/><source file='{}'/><target dev='{target}' bus='{bus}'/>\
             <iotune><total_iops_sec>400</total_iops_sec><group_name>the two</group_name></iotune></disk>",
            image.display()
        ))
    };
    let disks = disk("vda", "virtio")? + &disk("sda", "sata")?;
    host.lodge(&["define", &host.file("pair.xml", &tiny_with("pair", &disks))?])?.ok()?;
    host.lodge(&["start", "pair"])?.ok()?;
    let limits = || -> Result<Vec<(u64, String)>> {
        let said =
            virsh(&host, &["qemu-monitor-command", "pair", "{\"execute\":\"query-block\"}"])?.ok()?.stdout;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        let devices = said["return"].as_array().context("no devices")?;
        let inserted = devices.iter().filter_map(|device| device.get("inserted"));
        let limit = |medium: &serde_json::Value| {
            let group = medium["group"].as_str().unwrap_or_default().to_owned();
            (medium["iops"].as_u64().unwrap_or_default(), group)
        };
        Ok(inserted.map(limit).collect())
    };
    let both = |iops: u64| vec![(iops, "the two".to_owned()); 2];
    ensure!(limits()? == both(400), "{:?}", limits()?);
    virsh(&host, &["blkdeviotune", "pair", "sda", "--total-iops-sec", "500", "--live"])?.ok()?;
    ensure!(limits()? == both(500), "{:?}", limits()?);
    let shown = virsh(&host, &["blkdeviotune", "pair", "vda"])?.ok()?.stdout;
    ensure!(shown.contains("total_iops_sec : 500") && shown.contains("the two"), "{shown}");
    // Who leaves has none any more, and takes nobody along.
    virsh(
        &host,
        &["blkdeviotune", "pair", "sda", "--total-iops-sec", "700", "--group-name", "alone", "--live"],
    )?
    .ok()?;
    let now = limits()?;
    ensure!(now == [(500, "the two".to_owned()), (700, "alone".to_owned())], "{now:?}");
    let other = tiny_with("other", &disks.replacen(">400<", ">300<", 1));
    host.lodge(&["define", &host.file("other.xml", &other)?])?.fails_saying(&["have different limits"])?;
    Ok(())
}

#[test]
fn a_viewer_is_let_in_on_d_bus() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let screen = "<graphics type='dbus' p2p='yes'/><video><model type='virtio'/></video>";
    host.lodge(&["define", &host.file("bus.xml", &tiny_with("bus", screen))?])?.ok()?;
    let started = host.lodge(&["start", "bus"])?;
    if started.stderr.contains("has no display `dbus`") {
        skip("this QEMU has no D-Bus display");
        return Ok(());
    }
    started.ok()?;
    let explained = host.lodge(&["explain", "bus"])?.ok()?.stdout;
    ensure!(explained.contains("-display dbus,p2p=on"), "{explained}");
    // What nobody here can draw is refused by name.
    let drawn = "<graphics type='egl-headless'/><graphics type='vnc'/><video><model type='virtio'/></video>";
    host.lodge(&["define", &host.file("drawn.xml", &tiny_with("drawn", drawn))?])?.ok()?;
    if !Path::new("/dev/dri").exists() {
        host.lodge(&["start", "drawn"])?.fails_saying(&["No DRM render nodes available"])?;
    }
    Ok(())
}
