//! Snapshots of a guest that counts: its memory goes back, its disk's bytes go back, and nothing of either is lost.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, counter, document::tiny_with, skip, turn};

/// A guest under TCG on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

fn qemu_img(args: &[&str]) -> Result<()> {
    let status = Command::new("qemu-img").args(args).status()?;
    ensure!(status.success(), "qemu-img {} failed", args.join(" "));
    Ok(())
}

/// A defined guest that counts, on a qcow2 in the default pool.
fn counting(host: &Host) -> Result<PathBuf> {
    let raw = host.root().join("counter.raw");
    fs::write(&raw, counter::disk(1 << 20))?;
    let images = host.root().join("var/lib/libvirt/images");
    let image = images.join("count.qcow2");
    let (from, to) = (raw.to_string_lossy().into_owned(), image.to_string_lossy().into_owned());
    qemu_img(&["convert", "-O", "qcow2", &from, &to])?;
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{to}'/>\
         <target dev='vda' bus='virtio'/></disk>"
    );
    let document = host.file("count.xml", &tiny_with("count", &disk))?;
    host.lodge(&["define", &document])?.ok()?;
    Ok(image)
}

/// The numbers of this run.
fn counted(host: &Host) -> Result<Vec<u32>> {
    let uuid = host.json(&["dominfo", "count"])?["uuid"].as_str().context("no uuid")?.to_owned();
    let log = host.root().join("run/lodge/guests").join(uuid).join("console.log");
    Ok(counter::numbers(&String::from_utf8_lossy(&fs::read(log)?)))
}

/// Waits until the guest has counted past `number`; says how far it is.
pub fn count_past(host: &Host, number: u32) -> Result<u32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(last) = counted(host)?.last().filter(|last| **last > number) {
            return Ok(*last);
        }
        ensure!(Instant::now() < deadline, "the guest does not count past {number}: {:?}", counted(host)?);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All that the guest sees of its disk, by the definition.
fn bytes(host: &Host) -> Result<Vec<u8>> {
    let blocks = host.json(&["domblklist", "count"])?;
    let source = blocks[0]["source"].as_str().context("no source")?.to_owned();
    let raw = host.root().join("seen.raw");
    qemu_img(&["convert", "-U", "-O", "raw", &source, &raw.to_string_lossy()])?;
    let bytes = fs::read(&raw)?;
    fs::remove_file(raw)?;
    Ok(bytes)
}

#[test]
fn a_counting_guest_goes_back_to_the_number_it_was_at() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let image = counting(&host)?;
    let before = bytes(&host)?;
    host.lodge(&["start", "count"])?.ok()?;
    let taken_after = count_past(&host, 10)?;
    host.lodge(&["snapshot-create-as", "count", "inside"])?.ok()?;
    let taken_before = count_past(&host, taken_after)?;
    count_past(&host, taken_before + 40)?;
    host.lodge(&["snapshot-revert", "count", "inside"])?.ok()?;
    count_past(&host, taken_after)?;
    let first = counted(&host)?[0];
    ensure!(
        (taken_after..taken_before + 20).contains(&first),
        "taken from {taken_after} to {taken_before}, went on at {first}"
    );
    // The same with the memory in a file and new files above the disk.
    let memory = host.root().join("count.memory");
    let spec = memory.to_string_lossy().into_owned();
    let taken_after = count_past(&host, first)?;
    host.lodge(&["snapshot-create-as", "count", "outside", "--memspec", &spec])?.ok()?;
    let taken_before = count_past(&host, taken_after)?;
    count_past(&host, taken_before + 40)?;
    host.lodge(&["snapshot", "revert", "count", "outside"])?.ok()?;
    count_past(&host, taken_after)?;
    let first = counted(&host)?[0];
    ensure!(
        (taken_after..taken_before + 20).contains(&first),
        "taken from {taken_after} to {taken_before}, went on at {first}"
    );
    host.lodge(&["destroy", "count"])?.ok()?;
    ensure!(bytes(&host)? == before, "the guest, which writes nothing, sees other bytes");
    ensure!(image.exists(), "the first image is gone");
    let tree = host.lodge(&["snapshot-list", "count", "--tree"])?.ok()?.stdout;
    ensure!(tree.starts_with("inside\n  |\n  +- outside\n"), "{tree}");
    let refused = host.lodge(&["undefine", "count"])?;
    ensure!(refused.status.code() == Some(1), "a guest with snapshots was undefined");
    host.lodge(&["undefine", "count", "--snapshots-metadata"])?.ok()?;
    Ok(())
}

#[test]
fn what_was_written_since_goes_and_what_was_there_comes_back() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    let image = counting(&host)?;
    let mark = |number: u8| -> Result<()> {
        let blocks = host.json(&["domblklist", "count"])?;
        let source = blocks[0]["source"].as_str().context("no source")?.to_owned();
        let write = format!("write -q -P {number} 64k 128k");
        let done = Command::new("qemu-io").args(["-c", &write, &source]).status()?;
        ensure!(done.success(), "qemu-io failed on {source}");
        Ok(())
    };
    let mut seen = Vec::new();
    for (number, name, options) in
        [(1, "s1", &[][..]), (2, "s2", &["--disk-only"]), (3, "s3", &["--disk-only"]), (4, "s4", &[])]
    {
        mark(number)?;
        host.lodge(&[&["snapshot-create-as", "count", name], options].concat())?.ok()?;
        seen.push((name, bytes(&host)?));
    }
    mark(5)?;
    host.kill_daemon()?;
    host.start_daemon()?;
    // s4 lies inside s3's file, so s3's own file cannot be merged away.
    let refused = host.lodge(&["snapshot-delete", "count", "s3"])?;
    ensure!(refused.status.code() == Some(1) && refused.stderr.contains("s4"), "{}", refused.stderr);
    // s1 lies inside the image that s2 froze: going back to it would change what s2 and all after it stand on.
    let refused = host.lodge(&["snapshot-revert", "count", "s1"])?;
    ensure!(refused.status.code() == Some(1) && refused.stderr.contains("s2"), "{}", refused.stderr);
    seen.remove(0);
    for (name, wanted) in seen.iter().rev() {
        host.lodge(&["snapshot-revert", "count", name])?.ok()?;
        ensure!(bytes(&host)? == *wanted, "{name} is not what it was");
    }
    for (name, wanted) in &seen {
        host.lodge(&["snapshot-revert", "count", name])?.ok()?;
        ensure!(bytes(&host)? == *wanted, "{name} is not what it was on the way up");
    }
    ensure!(image.exists(), "the first image is gone");
    host.lodge(&["undefine", "count", "--snapshots-metadata"])?.ok()?;
    Ok(())
}

#[test]
fn snapshots_are_deleted_below_a_guest_that_runs() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let image = counting(&host)?;
    let before = bytes(&host)?;
    host.lodge(&["start", "count"])?.ok()?;
    for name in ["s1", "s2", "s3"] {
        host.lodge(&["snapshot-create-as", "count", name, "--disk-only"])?.ok()?;
    }
    // A clone that somebody made by hand stands on what s1 put above: it is not taken away from under it.
    let clone = image.with_extension("clone");
    let (s1, clone) = (image.with_extension("s1"), clone.to_string_lossy().into_owned());
    qemu_img(&["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &s1.to_string_lossy(), &clone])?;
    host.lodge(&["snapshot-delete", "count", "s1"])?.fails_saying(&["count.clone"])?;
    fs::remove_file(&clone)?;
    for (name, left) in [("s2", "s1,s3"), ("s3", "s1"), ("s1", "")] {
        let last = counted(&host)?.last().copied().unwrap_or_default();
        host.lodge(&["snapshot-delete", "count", name])?.ok()?;
        ensure!(!image.with_extension(name).exists(), "what {name} made is still there");
        let names = host.lodge(&["snapshot-list", "count", "--name"])?.ok()?.lines().join(",");
        ensure!(names == left, "after {name} there are {names}");
        count_past(&host, last)?;
    }
    let blocks = host.json(&["domblklist", "count"])?;
    ensure!(blocks[0]["source"] == image.to_string_lossy().as_ref(), "{blocks}");
    host.lodge(&["destroy", "count"])?.ok()?;
    qemu_img(&["check", "-q", &image.to_string_lossy()])?;
    ensure!(bytes(&host)? == before, "the guest sees other bytes");
    Ok(())
}

/// Its variables lie in a file of their own, which QEMU keeps no snapshot in.
#[test]
fn a_guest_with_uefi_goes_back_by_files_and_is_told_why_not_inside() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    if !std::path::Path::new("/usr/share/qemu/firmware").exists() {
        skip("there is no firmware with UEFI");
        return Ok(());
    }
    let host = Host::start()?;
    let image = host.root().join("var/lib/libvirt/images/efi.qcow2").to_string_lossy().into_owned();
    qemu_img(&["create", "-q", "-f", "qcow2", &image, "4M"])?;
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{image}'/>\
         <target dev='vda' bus='virtio'/></disk>"
    );
    let document = tiny_with("efi", &disk).replace("<os>", "<os firmware='efi'>");
    let document = host.file("efi.xml", &document)?;
    host.lodge(&["define", &document])?.ok()?;
    let io = |command: &str| -> Result<()> {
        let source = source_of(&host, "efi")?;
        let done = Command::new("qemu-io").args(["-c", command, &source]).output()?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        ensure!(done.status.success() && !said.contains("failed"), "{command} on {source}: {said}");
        Ok(())
    };
    io("write -q -P 1 1M 64k")?;
    host.lodge(&["start", "efi"])?.ok()?;
    host.lodge(&["snapshot-create-as", "efi", "inside"])?.fails_saying(&["QCOW2 nvram format"])?;
    host.lodge(&["snapshot-create-as", "efi", "disks", "--disk-only"])?.ok()?;
    let memory = host.root().join("efi.memory").to_string_lossy().into_owned();
    host.lodge(&["snapshot-create-as", "efi", "memory", "--memspec", &memory])?.ok()?;
    host.lodge(&["destroy", "efi"])?.ok()?;
    io("write -q -P 2 1M 64k")?;
    host.lodge(&["snapshot-revert", "efi", "memory"])?.ok()?;
    let state = host.lodge(&["domstate", "efi"])?.ok()?.stdout;
    ensure!(state.trim() == "running", "{state}");
    host.lodge(&["destroy", "efi"])?.ok()?;
    io("read -P 1 1M 64k")?;
    io("write -q -P 3 1M 64k")?;
    host.lodge(&["snapshot-revert", "efi", "disks"])?.ok()?;
    io("read -P 1 1M 64k")?;
    host.lodge(&["start", "efi"])?.ok()?;
    host.lodge(&["destroy", "efi"])?.ok()?;
    // Off, the variables stand still as the disk does.
    host.lodge(&["snapshot-create-as", "efi", "off", "--disk-only"])?.ok()?;
    io("write -q -P 4 1M 64k")?;
    host.lodge(&["snapshot-revert", "efi", "off"])?.ok()?;
    io("read -P 1 1M 64k")?;
    Ok(())
}

fn source_of(host: &Host, name: &str) -> Result<String> {
    Ok(host.json(&["domblklist", name])?[0]["source"].as_str().context("no source")?.to_owned())
}

/// Its variables lie in a qcow2: they go back with memory and disks, and on their own files off.
#[test]
fn a_guest_with_uefi_and_variables_in_a_qcow2_goes_back_inside_and_they_with_it() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let template = "/usr/share/OVMF/OVMF_VARS_4M.fd";
    if !std::path::Path::new(template).exists() {
        skip("there is no firmware with UEFI");
        return Ok(());
    }
    let host = Host::start()?;
    let place = host.root().join("var/lib/libvirt/images");
    let path = |name: &str| place.join(name).to_string_lossy().into_owned();
    let (image, variables) = (path("efi.qcow2"), path("efi_VARS.qcow2"));
    qemu_img(&["create", "-q", "-f", "qcow2", &image, "4M"])?;
    let disk = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{image}'/>\
         <target dev='vda' bus='virtio'/></disk>"
    );
    let os = format!(
        "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>\
         <nvram template='{template}' templateFormat='raw' format='qcow2'>{variables}</nvram></os>"
    );
    let document = host.file("efi.xml", &tiny_with("efi", &disk).replace("</os>", &os))?;
    host.lodge(&["define", &document])?.ok()?;
    // A template of the other format is not taken for what it is not.
    host.lodge(&["start", "efi"])?.fails_saying(&["conversion of the nvram template", "qemu-img convert"])?;
    ensure!(!std::path::Path::new(&variables).exists(), "variables were made of the wrong format");
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", template, &variables])?;
    let io = |command: &str, file: &str| -> Result<()> {
        let done = Command::new("qemu-io").args(["-f", "qcow2", "-c", command, file]).output()?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        ensure!(done.status.success() && !said.contains("failed"), "{command} on {file}: {said}");
        Ok(())
    };
    // Where the firmware keeps nothing: at the end of the block it has to spare.
    let mark = |number: u8| -> Result<()> {
        io(&format!("write -q -P {number} 1M 64k"), &image)?;
        io(&format!("write -q -P {number} 520k 4k"), &variables)
    };
    let shows = |number: u8| -> Result<()> {
        io(&format!("read -P {number} 1M 64k"), &image)?;
        io(&format!("read -P {number} 520k 4k"), &variables)
    };
    let inside = |file: &str| -> Result<String> {
        let done = Command::new("qemu-img").args(["snapshot", "-l", file]).output()?;
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let names = text.lines().skip(2).filter_map(|line| line.split_whitespace().nth(1));
        Ok(names.collect::<Vec<_>>().join(" "))
    };
    mark(1)?;
    host.lodge(&["start", "efi"])?.ok()?;
    host.lodge(&["snapshot-create-as", "efi", "on"])?.ok()?;
    host.lodge(&["destroy", "efi"])?.ok()?;
    mark(2)?;
    host.lodge(&["snapshot-create-as", "efi", "off"])?.ok()?;
    mark(3)?;
    ensure!(inside(&image)? == "on off" && inside(&variables)? == "on off", "{}", inside(&variables)?);
    host.lodge(&["start", "efi"])?.ok()?;
    host.lodge(&["snapshot-revert", "efi", "on"])?.ok()?;
    let state = host.lodge(&["domstate", "efi"])?.ok()?.stdout;
    ensure!(state.trim() == "running", "{state}");
    host.lodge(&["destroy", "efi"])?.ok()?;
    shows(1)?;
    host.lodge(&["snapshot-revert", "efi", "off"])?.ok()?;
    shows(2)?;
    // Deleted below a guest that runs, and of one that is off.
    host.lodge(&["start", "efi"])?.ok()?;
    host.lodge(&["snapshot-delete", "efi", "off"])?.ok()?;
    host.lodge(&["destroy", "efi"])?.ok()?;
    ensure!(inside(&image)? == "on" && inside(&variables)? == "on", "{}", inside(&variables)?);
    host.lodge(&["snapshot-delete", "efi", "on"])?.ok()?;
    ensure!(inside(&image)?.is_empty() && inside(&variables)?.is_empty(), "{}", inside(&variables)?);
    for file in [&image, &variables] {
        qemu_img(&["check", "-q", file])?;
    }
    shows(2)
}
