//! The verbs of virsh on secrets, pools and volumes, with virsh's words and exit codes.

use std::fs;

use anyhow::{Result, ensure};
use lodge_tests::{Host, turn};

const UUID: &str = "5f0e6b1d-4a5e-4d0a-9a44-0a7f2a5b7c11";

#[test]
fn a_secret_locks_a_volume_and_is_told_to_nobody_else() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let says = |args: &[&str], text: &str| -> Result<()> {
        let done = host.lodge(args)?.ok()?;
        ensure!(done.stdout.trim_end() == text, "`{}` said {:?}, not {text:?}", done.command, done.stdout);
        Ok(())
    };
    let dir = host.root().join("locked");
    let target = dir.to_string_lossy().into_owned();
    let secret = format!(
        "<secret><uuid>{UUID}</uuid><usage type='volume'><volume>{target}/v</volume></usage></secret>"
    );
    let document = host.file("secret.xml", &secret)?;
    says(&["secret-define", &document], &format!("Secret {UUID} created"))?;
    let listed = host.lodge(&["secret-list"])?.ok()?.stdout;
    ensure!(listed.contains(&format!("{UUID}   volume {target}/v")), "{listed}");
    host.lodge(&["secret-get-value", UUID])?.fails_saying(&["does not have a value"])?;
    let passphrase = host.file("passphrase", "correct horse")?;
    says(&["secret-set-value", UUID, "--file", &passphrase, "--plain"], "Secret value set")?;
    says(&["secret-get-value", UUID], "Y29ycmVjdCBob3JzZQ==")?;
    says(&["secret-get-value", UUID, "--plain"], "correct horse")?;
    host.lodge(&["pool-create-as", "locked", "dir", "--target", &target, "--build"])?.ok()?;
    let volume = format!(
        "<volume><name>v</name><capacity unit='MiB'>4</capacity><allocation>0</allocation><target>\
         <format type='raw'/><encryption format='luks'><secret type='passphrase' uuid='{UUID}'/></encryption>\
         </target></volume>"
    );
    let document = host.file("volume.xml", &volume)?;
    host.lodge(&["vol-create", "locked", &document])?.ok()?;
    ensure!(fs::read(dir.join("v"))?.starts_with(b"LUKS"));
    let seen = host.lodge(&["-o", "json", "vol-info", "v", "--pool", "locked"])?.ok()?.stdout;
    ensure!(seen.contains("\"encryption\": \"luks\""), "{seen}");
    says(&["secret-undefine", UUID], &format!("Secret {UUID} deleted"))?;
    host.lodge(&["vol-clone", "v", "w", "--pool", "locked"])?.fails_saying(&["no secret"])?;
    host.lodge(&["secret-dumpxml", UUID])?
        .fails_saying(&[&format!("error: failed to get secret '{UUID}'"), "no secret with matching uuid"])?;
    Ok(())
}

#[test]
fn a_pool_without_a_backend_is_defined_and_not_started() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let source = ["--source-host", "ceph.example", "--source-name", "rbd"];
    host.lodge(&[&["pool-define-as", "far", "rbd"], &source[..]].concat())?.ok()?;
    let listed = host.lodge(&["pool-list", "--all", "--type", "rbd"])?.ok()?.stdout;
    ensure!(listed.contains("far    inactive"), "{listed}");
    host.lodge(&["pool-start", "far"])?.fails_saying(&[
        "error: Failed to start pool far",
        "missing backend for pool type 9 (rbd)",
        "dir, fs, netfs, logical and disk run",
    ])?;
    host.lodge(&["find-storage-pool-sources", "dir"])?
        .fails_saying(&["error: Failed to find any dir pool sources"])?;
    host.lodge(&["pool-undefine", "far"])?.ok()?;
    Ok(())
}
