//! The disk of a real guest, seen from inside and from the host: it has grown with its file system, what is trimmed comes
//! back to the host, and a snapshot never leaves the guest's file systems frozen.
//!
//! It borrows a guest that runs already: a boot under TCG takes minutes.

use std::{fs, os::unix::fs::MetadataExt as _};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Done, Host};

use super::guest::BOOT;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Looks at the disk of `guest`, which was made with a larger disk than its image's.
pub fn look(host: &Host, guest: &str, disk_gib: u64) -> Result<()> {
    let inside = |command: &str| -> Result<String> {
        let done: Done = host.lodge_for(BOOT, &["ssh", guest, "--", command])?.ok()?;
        Ok(done.stdout.trim().to_owned())
    };
    let blocks = host.json(&["domblklist", guest])?;
    let disk = blocks[0]["source"].as_str().context("no disk")?.to_owned();
    let on_host = || Ok::<_, anyhow::Error>(fs::metadata(&disk)?.blocks() * 512);

    // The image's own file system is smaller than a GiB less than its disk.
    let size = inside("df -B1 --output=size / | tail -n 1")?.parse::<u64>()?;
    ensure!(size > disk_gib * GIB - GIB / 2, "the root file system has {size} bytes of {disk_gib} GiB");

    inside("sudo dd if=/dev/urandom of=/written bs=1M count=100 status=none && sync")?;
    let written = on_host()?;
    inside("sudo rm /written && sync && sudo fstrim / && sync")?;
    let trimmed = on_host()?;
    ensure!(trimmed + 80 * MIB < written, "{written} bytes on the host before the trim, {trimmed} after");

    let frozen = || inside("sudo journalctl -u qemu-guest-agent | grep -c 'guest-fsfreeze called' || true");
    let before = frozen()?.parse::<u32>()?;
    let writes = |name: &str| inside(&format!("echo {name} | sudo tee /{name} && sync"));
    host.lodge(&["snapshot-create-as", guest, "quiet", "--disk-only", "--quiesce"])?.ok()?;
    ensure!(frozen()?.parse::<u32>()? == before + 1, "its file systems were not frozen");
    writes("one")?;
    // This fails when the file systems stand still already.
    let junk = host.root().join("junk.qcow2");
    fs::write(&junk, "no image")?;
    let spec = format!("vda,snapshot=external,file={}", junk.display());
    let fails = ["snapshot-create-as", guest, "none", "--disk-only", "--quiesce", "--reuse-external"];
    host.lodge(&[&fails[..], &["--diskspec", &spec]].concat())?.fails_saying(&["not in qcow2 format"])?;
    ensure!(frozen()?.parse::<u32>()? == before + 2, "it failed before it froze anything");
    writes("two")?;
    host.lodge(&["snapshot-delete", guest, "quiet"])?.ok()?;
    ensure!(host.json(&["domblklist", guest])?[0]["source"] == disk.as_str());
    writes("three")?;
    ensure!(inside("cat /one /two /three")? == "one\ntwo\nthree", "what it wrote is not there");
    Ok(())
}
