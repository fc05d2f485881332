//! A guest on encrypted disks: it boots from them, and nobody who looks at the host sees the passphrase.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, counter, document::tiny_with, turn};

use super::snapshots::count_past;

const UUID: &str = "5f0e6b1d-4a5e-4d0a-9a44-0a7f2a5b7c12";
const PASSPHRASE: &str = "correct horse";

#[test]
fn a_guest_boots_from_disks_that_only_its_secret_opens() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let dir = host.root().join("locked");
    let target = dir.to_string_lossy().into_owned();
    let secret = format!("<secret><uuid>{UUID}</uuid><description>of the test</description></secret>");
    let document = host.file("secret.xml", &secret)?;
    host.lodge(&["secret-define", &document])?.ok()?;
    let passphrase = host.file("passphrase", PASSPHRASE)?;
    host.lodge(&["secret-set-value", UUID, "--file", &passphrase, "--plain"])?.ok()?;
    host.lodge(&["pool-create-as", "locked", "dir", "--target", &target, "--build"])?.ok()?;
    let raw = host.root().join("counter.raw");
    fs::write(&raw, counter::disk(1 << 20))?;
    let encryption =
        format!("<encryption format='luks'><secret type='passphrase' uuid='{UUID}'/></encryption>");
    for (format, opens) in
        [("raw", "driver=luks,key-secret=k"), ("qcow2", "driver=qcow2,encrypt.key-secret=k")]
    {
        let volume = format!(
            "<volume><name>{format}</name><capacity unit='MiB'>1</capacity><allocation>0</allocation><target>\
             <format type='{format}'/>{encryption}</target></volume>"
        );
        let document = host.file("volume.xml", &volume)?;
        host.lodge(&["vol-create", "locked", &document])?.ok()?;
        let image = dir.join(format);
        let mut fill = Command::new("qemu-img");
        fill.args(["convert", "-n", "-f", "raw", "--object", &format!("secret,id=k,data={PASSPHRASE}")]);
        fill.args(["--target-image-opts".as_ref(), raw.as_os_str()]);
        let filled =
            fill.arg(format!("{opens},file.driver=file,file.filename={}", image.display())).output()?;
        ensure!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
        let disk = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{}'/>\
             <target dev='vda' bus='virtio'/>{encryption}</disk>",
            image.display()
        );
        let document = host.file("count.xml", &tiny_with("count", &disk))?;
        host.lodge(&["define", &document])?.ok()?;
        if format == "qcow2" {
            // LUKS inside a qcow2 is not started yet, and says so.
            host.lodge(&["start", "count"])?.fails_saying(&["is encrypted, which is not supported"])?;
            continue;
        }
        host.lodge(&["start", "count"])?.ok()?;
        count_past(&host, 10)?;
        let info = host.json(&["dominfo", "count"])?;
        let pid = info["pid"].as_u64().context("no pid")?;
        let words = fs::read(format!("/proc/{pid}/cmdline"))?;
        ensure!(
            !String::from_utf8_lossy(&words).contains(PASSPHRASE),
            "QEMU's arguments tell the passphrase"
        );
        let log = fs::read_to_string(host.root().join("daemon.out"))?;
        ensure!(!log.contains(PASSPHRASE), "the daemon's log tells the passphrase");
        // A file above it would be plain.
        host.lodge(&["snapshot-create-as", "count", "s1", "--disk-only"])?.fails_saying(&["is encrypted"])?;
        host.lodge(&["destroy", "count"])?.ok()?;
        host.lodge(&["undefine", "count"])?.ok()?;
    }
    Ok(())
}
