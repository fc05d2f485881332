//! A guest with an emulated TPM, by the command line: who serves it, under whose name, and what is left of it.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, document::tiny_with, skip, turn};

const TPM: &str = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>";

/// The swtpm whose log is below `root`: its pid and the user it runs as.
fn swtpm(root: &Path) -> Result<Option<(u32, u32)>> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let is_below = fs::read_link(entry.path().join("fd/1")).is_ok_and(|output| output.starts_with(root));
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if is_below && name.trim() == "swtpm" {
            return Ok(Some((pid, entry.metadata()?.uid())));
        }
    }
    Ok(None)
}

#[test]
fn a_guests_tpm_is_served_by_its_own_user_and_goes_with_its_definition() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    if !Path::new("/usr/bin/swtpm_setup").exists() {
        skip("there is no swtpm");
        return Ok(());
    }
    let mut host = Host::start()?;
    let document = host.file("vault.xml", &tiny_with("vault", TPM))?;
    host.lodge(&["define", &document])?.ok()?;
    host.lodge(&["start", "vault"])?.ok()?;
    let (pid, user) = swtpm(host.root())?.context("no swtpm")?;
    let qemu = host.json(&["dominfo", "vault"])?["pid"].as_u64().context("no pid")?;
    ensure!(fs::metadata(format!("/proc/{qemu}"))?.uid() == user && user != 0, "it runs as {user}");

    host.kill_daemon()?;
    host.start_daemon()?;
    ensure!(swtpm(host.root())? == Some((pid, user)), "swtpm did not outlive the daemon");
    let files = host.lodge(&["files", "vault"])?.ok()?;
    let state = host.root().join("var/lib/libvirt/swtpm");
    ensure!(files.stdout.contains(&state.display().to_string()), "{}", files.stdout);
    host.lodge(&["destroy", "vault"])?.ok()?;
    ensure!(swtpm(host.root())?.is_none(), "swtpm outlived its guest");

    host.lodge(&["start", "vault"])?.ok()?;
    host.lodge(&["destroy", "vault"])?.ok()?;
    let going = host.lodge(&["undefine", "vault", "--dry-run"])?.ok()?;
    ensure!(going.stdout.contains("TPM"), "{}", going.stdout);
    host.lodge(&["undefine", "vault", "--tpm", "--keep-tpm"])?.fails_saying(&["mutually exclusive"])?;
    host.lodge(&["undefine", "vault", "--keep-tpm"])?.ok()?;
    ensure!(fs::read_dir(&state)?.count() == 1, "the state did not stay");
    Ok(())
}
