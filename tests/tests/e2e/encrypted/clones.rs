//! Clones of guests on encrypted disks: of a template, of one that runs, on the template's files and alone.

use std::fs;

use anyhow::{Result, ensure};
use lodge_tests::{Host, turn};

use super::{
    BOTH, UUID, disks_of, finds, has_secrets, is_encrypted, log_is_silent, model::written, secrets_of,
    with_locked_guest, write,
};

/// Files, of which each is encrypted by its own header.
fn all_encrypted(host: &Host, name: &str) -> Result<()> {
    for (path, _) in disks_of(host, name)? {
        ensure!(is_encrypted(&path)?, "{} is not encrypted", path.display());
    }
    Ok(())
}

#[test]
fn clones_of_a_guest_on_encrypted_disks_have_its_secret() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    with_locked_guest(&host, BOTH)?;
    host.lodge(&["start", "locked"])?.ok()?;
    write(&host, "locked", 1, 1)?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    // It is told that what lies inside is its source's.
    for (name, way) in [("full", &["--full"][..]), ("copy", &[])] {
        let made = host.lodge(&[&["clone", "locked", name], way].concat())?.ok()?;
        let said = format!("{}{}", made.stdout, made.stderr);
        ensure!(said.contains("is encrypted: the identity in it was not changed"), "{said}");
        finds(&host, name, &[(1, 1)])?;
    }
    host.lodge(&["template", "create", "locked", "--name", "sealed"])?.fails_saying(&["is encrypted"])?;
    for (at, name) in [(2, "full"), (3, "copy")] {
        host.lodge(&["start", name])?.ok()?;
        write(&host, name, at, at)?;
        host.lodge(&["destroy", name])?.ok()?;
        finds(&host, name, &[(1, 1), (at, at)])?;
        let others: Vec<(u8, u8)> = (2..=3).filter(|other| *other != at).map(|other| (0, other)).collect();
        finds(&host, name, &others)?;
    }
    finds(&host, "locked", &[(1, 1), (0, 2), (0, 3)])
}

#[test]
fn clones_of_a_template_stand_on_its_encrypted_disks_and_are_encrypted() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let (dir, mut model) = written(&host)?;
    host.lodge(&["destroy", "locked"])?.ok()?;
    host.lodge(&["template", "create", "locked", "--name", "sealed", "--keep-identity"])?.ok()?;
    host.lodge(&["clone", "sealed", "one", "--linked"])?.ok()?;
    host.lodge(&["clone", "sealed", "two"])?.ok()?;
    let shown = host.lodge(&["dumpxml", "one"])?.ok()?.stdout;
    ensure!(shown.matches("<encryption format='luks'").count() == 4, "{shown}");
    for name in ["one", "two"] {
        model.holds_in(&host, name)?;
        all_encrypted(&host, name)?;
        for (path, format) in disks_of(&host, name)? {
            // What differs, and a key's 2 MiB: nothing does yet.
            ensure!(format == "qcow2" && fs::metadata(&path)?.len() < 3 << 20, "{}", path.display());
            let chain = host.json(&["chain", "show", &path.display().to_string()])?;
            let locked = chain.as_array().into_iter().flatten().map(|link| link["encrypted"] == true);
            ensure!(locked.collect::<Vec<_>>() == [true, true], "{chain}");
        }
    }
    let of_template = model.clone();
    host.lodge(&["start", "one"])?.ok()?;
    ensure!(secrets_of(&host, "one")? == 4, "QEMU has not all passphrases");
    model.write_in(&host, "one", 2, 200, 300)?;
    host.lodge(&["destroy", "one"])?.ok()?;
    model.holds_in(&host, "one")?;
    of_template.holds_in(&host, "two")?;
    // A copy that stands where its source does, and one that stands alone.
    host.lodge(&["clone", "one", "three"])?.ok()?;
    host.lodge(&["clone", "one", "four", "--full"])?.ok()?;
    for name in ["three", "four"] {
        model.holds_in(&host, name)?;
        all_encrypted(&host, name)?;
    }
    let alone = host.lodge(&["dumpxml", "four"])?.ok()?.stdout;
    ensure!(alone.matches("<encryption format='luks'").count() == 2, "{alone}");
    ensure!(!alone.contains("sealed-v1"), "{alone}");
    host.lodge(&["start", "four"])?.ok()?;
    ensure!(secrets_of(&host, "four")? == 2, "QEMU has not all passphrases, or too many");
    let mut fourth = model.clone();
    fourth.write_in(&host, "four", 3, 500, 300)?;
    host.lodge(&["destroy", "four"])?.ok()?;
    fourth.holds_in(&host, "four")?;
    model.holds_in(&host, "one")?;
    // A plain file on an encrypted one: what stands alone is encrypted as that was.
    host.lodge(&["snapshot-create-as", "two", "s", "--disk-only"])?.ok()?;
    for (path, _) in disks_of(&host, "two")? {
        ensure!(!is_encrypted(&path)?, "an overlay is encrypted unasked");
        // A chain by itself says no secret.
        host.lodge(&["chain", "flatten", &path.display().to_string()])?
            .fails_saying(&["is encrypted", "blockpull"])?;
    }
    host.lodge(&["clone", "two", "five", "--full"])?.ok()?;
    of_template.holds_in(&host, "five")?;
    all_encrypted(&host, "five")?;
    host.lodge(&["start", "five"])?.ok()?;
    host.lodge(&["destroy", "five"])?.ok()?;
    // Without the secret nothing is made, and nothing is left.
    host.lodge(&["template", "rm", "sealed"])?.fails_saying(&["stand"])?;
    host.lodge(&["secret-undefine", UUID])?.ok()?;
    let files = || -> Result<usize> { Ok(fs::read_dir(&dir)?.count()) };
    let before = files()?;
    for way in [&["sealed", "six"][..], &["one", "six", "--full"]] {
        host.lodge(&[&["clone"], way].concat())?.fails_saying(&["no secret with matching uuid", UUID])?;
    }
    ensure!(files()? == before, "files are left of a clone that was not made");
    log_is_silent(&host)
}

#[test]
fn a_guest_that_runs_on_encrypted_disks_is_cloned() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let (dir, mut model) = written(&host)?;
    host.lodge(&["clone", "locked", "disks", "--disks-only"])?.ok()?;
    let then = model.clone();
    model.write(&host, 2, 200, 300)?;
    // Nothing else could tell it that it is another.
    host.lodge(&["clone", "locked", "whole", "--no-start", "--force"])?.ok()?;
    let later = model.clone();
    model.write(&host, 3, 500, 300)?;
    has_secrets(&host, 2)?;
    let names = host.lodge(&["snapshot-list", "locked", "--name"])?.ok()?.stdout;
    ensure!(names.trim().is_empty(), "{names}");
    then.holds_in(&host, "disks")?;
    later.holds_in(&host, "whole")?;
    for name in ["disks", "whole"] {
        all_encrypted(&host, name)?;
        host.lodge(&["start", name])?.ok()?;
        ensure!(secrets_of(&host, name)? == 2, "QEMU has not all passphrases");
    }
    let mut own = later.clone();
    own.write_in(&host, "whole", 4, 800, 300)?;
    for name in ["disks", "whole", "locked"] {
        host.lodge(&["destroy", name])?.ok()?;
    }
    own.holds_in(&host, "whole")?;
    then.holds_in(&host, "disks")?;
    model.holds(&host)?;
    let left = fs::read_dir(&dir)?.flatten().filter(|file| !file.file_name().to_string_lossy().contains('.'));
    ensure!(left.count() == 0, "files of the snapshots are left");
    Ok(())
}
