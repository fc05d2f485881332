//! Snapshots of encrypted disks: files above them and states inside them, and what goes of both while the guest is off.
//! How they go while it runs is a job: `jobs.rs`.

use anyhow::{Result, ensure};
use lodge_tests::{Host, turn};

use super::{
    BOTH, ENCRYPTION, UUID, files_in, finds, has_secrets, info, is_encrypted, log_is_silent,
    snapshot_document, virsh, with_locked_guest, write,
};

/// Ends the guest's run, looks at its disks, and starts it again: the definition has all that opens them.
fn run_anew(host: &Host, bytes: &[(u8, u8)]) -> Result<()> {
    host.lodge(&["destroy", "locked"])?.ok()?;
    finds(host, "locked", bytes)?;
    host.lodge(&["start", "locked"])?.ok()?;
    Ok(())
}

#[test]
fn files_above_encrypted_disks_come_while_the_guest_runs() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let dir = with_locked_guest(&host, BOTH)?;
    host.lodge(&["start", "locked"])?.ok()?;
    write(&host, "locked", 1, 1)?;
    host.lodge(&["snapshot-create-as", "locked", "s1", "--disk-only"])?.ok()?;
    // As with libvirt: what is not asked to be encrypted is not.
    ensure!(!is_encrypted(&dir.join("qcow2.s1"))?, "an overlay is encrypted unasked");
    let shown = virsh(&host, &["dumpxml", "locked"])?;
    ensure!(shown.matches("<encryption format='luks'").count() == 2, "{shown}");
    write(&host, "locked", 2, 2)?;
    run_anew(&host, &[(1, 1), (2, 2)])?;
    // Those of what the disks stand on.
    has_secrets(&host, 2)?;
    // One that is asked for is.
    let sealed = dir.join("sealed");
    let request = snapshot_document(&host, "s2", [("sda", None), ("sdb", Some(&sealed))])?;
    host.lodge(&["snapshot-create", "locked", &request, "--disk-only"])?.ok()?;
    ensure!(is_encrypted(&sealed)?, "an overlay is not encrypted though it was asked for");
    has_secrets(&host, 3)?;
    write(&host, "locked", 3, 3)?;
    run_anew(&host, &[(1, 1), (2, 2), (3, 3)])?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    log_is_silent(&host)
}

#[test]
fn snapshots_of_encrypted_disks_are_taken_and_go_while_the_guest_is_off() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let dir = with_locked_guest(&host, BOTH)?;
    let runs_and_writes = |byte: u8, mib: u8| -> Result<()> {
        host.lodge(&["start", "locked"])?.ok()?;
        write(&host, "locked", byte, mib)?;
        host.lodge(&["destroy", "locked"])?.ok()?;
        Ok(())
    };
    runs_and_writes(1, 1)?;
    host.lodge(&["snapshot-create-as", "locked", "e1", "--disk-only"])?.ok()?;
    runs_and_writes(2, 2)?;
    host.lodge(&["snapshot-create-as", "locked", "e2", "--disk-only"])?.ok()?;
    runs_and_writes(3, 3)?;
    finds(&host, "locked", &[(1, 1), (2, 2), (3, 3)])?;
    // Below the guest's own file, and that itself.
    host.lodge(&["snapshot-delete", "locked", "e1"])?.ok()?;
    finds(&host, "locked", &[(1, 1), (2, 2), (3, 3)])?;
    host.lodge(&["snapshot-revert", "locked", "e2"])?.ok()?;
    finds(&host, "locked", &[(1, 1), (2, 2), (0, 3)])?;
    runs_and_writes(4, 3)?;
    host.lodge(&["snapshot-delete", "locked", "e2"])?.ok()?;
    finds(&host, "locked", &[(1, 1), (2, 2), (4, 3)])?;
    ensure!(files_in(&dir)?.len() == 2, "{:?}", files_in(&dir)?);
    runs_and_writes(5, 4)?;
    finds(&host, "locked", &[(1, 1), (2, 2), (4, 3), (5, 4)])?;
    // Without its secret nothing of it is done, and it is told which one is missing.
    host.lodge(&["snapshot-create-as", "locked", "e3", "--disk-only"])?.ok()?;
    host.lodge(&["secret-undefine", UUID])?.ok()?;
    for args in [&["start", "locked"][..], &["snapshot-delete", "locked", "e3"]] {
        host.lodge(args)?.fails_saying(&["no secret with matching uuid", UUID])?;
    }
    ensure!(dir.join("raw.e3").exists(), "a file that was not merged is gone");
    Ok(())
}

#[test]
fn snapshots_inside_encrypted_images_go_back_with_and_without_memory() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    // Memory goes into a disk that is not encrypted.
    let dir = with_locked_guest(&host, [("sealed", "qcow2", ENCRYPTION), ("plain", "qcow2", "")])?;
    host.lodge(&["start", "locked"])?.ok()?;
    write(&host, "locked", 1, 1)?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    host.lodge(&["snapshot-create-as", "locked", "off"])?.ok()?;
    host.lodge(&["start", "locked"])?.ok()?;
    write(&host, "locked", 2, 2)?;
    host.lodge(&["snapshot-create-as", "locked", "on"])?.ok()?;
    write(&host, "locked", 3, 3)?;
    host.lodge(&["snapshot-revert", "locked", "on"])?.ok()?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    finds(&host, "locked", &[(1, 1), (2, 2), (0, 3)])?;
    host.lodge(&["snapshot-revert", "locked", "off"])?.ok()?;
    finds(&host, "locked", &[(1, 1), (0, 2), (0, 3)])?;
    host.lodge(&["snapshot-delete", "locked", "on"])?.ok()?;
    host.lodge(&["start", "locked"])?.ok()?;
    host.lodge(&["snapshot-delete", "locked", "off"])?.ok()?;
    write(&host, "locked", 4, 4)?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    finds(&host, "locked", &[(1, 1), (0, 2), (4, 4)])?;
    for name in ["sealed.img", "plain.img"] {
        let info = info(&dir.join(name))?;
        ensure!(info["snapshots"].as_array().is_none_or(Vec::is_empty), "{info}");
    }
    Ok(())
}
