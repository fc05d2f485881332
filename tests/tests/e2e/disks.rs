//! Disks of running guests: a file system that is full, a mark that is passed, and block jobs by the command line.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, SmallDisk, document::tiny_with, turn};

/// Real-mode code: sector 64 + (n mod 4096) of its disk is filled with n; when that is done, n is printed on COM1 as
/// eight hexadecimal digits and a newline. n = 1, 2, 3 …
const WRITER: [u8; 156] = [
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x70, 0xfb, 0xfc, 0x88, 0xd3, 0x88,
    0x1e, 0x02, 0x70, 0x66, 0x31, 0xf6, 0x66, 0x89, 0x36, 0x08, 0x70, 0x66, 0xff, 0x06, 0x08, 0x70, 0x66,
    0xa1, 0x08, 0x70, 0xbf, 0x00, 0x80, 0xb9, 0x80, 0x00, 0x66, 0xf3, 0xab, 0x66, 0xc7, 0x06, 0x10, 0x70,
    0x10, 0x00, 0x01, 0x00, 0x66, 0xc7, 0x06, 0x14, 0x70, 0x00, 0x00, 0x00, 0x08, 0x66, 0x25, 0xff, 0x0f,
    0x00, 0x00, 0x66, 0x83, 0xc0, 0x40, 0x66, 0xa3, 0x18, 0x70, 0x66, 0xc7, 0x06, 0x1c, 0x70, 0x00, 0x00,
    0x00, 0x00, 0xbe, 0x10, 0x70, 0x8a, 0x16, 0x02, 0x70, 0xb8, 0x00, 0x43, 0xcd, 0x13, 0x72, 0xb7, 0x66,
    0xa1, 0x08, 0x70, 0xb9, 0x08, 0x00, 0xba, 0xf8, 0x03, 0x66, 0xc1, 0xc0, 0x04, 0x66, 0x50, 0x24, 0x0f,
    0x04, 0x30, 0x3c, 0x3a, 0x72, 0x02, 0x04, 0x27, 0xe8, 0x0b, 0x00, 0x66, 0x58, 0xe2, 0xe9, 0xb0, 0x0a,
    0xe8, 0x02, 0x00, 0xeb, 0x8f, 0x50, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xf8, 0xba, 0xf8, 0x03,
    0x58, 0xee, 0xc3,
];

/// A disk of 8 MiB, sparse, with the writer in its first sector.
fn writer_disk(path: &Path) -> Result<()> {
    let mut sector = [0; 512];
    sector[..WRITER.len()].copy_from_slice(&WRITER);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(path, sector)?;
    std::fs::OpenOptions::new().write(true).open(path)?.set_len(8 << 20)?;
    Ok(())
}

/// A guest that writes on `disk` and tells on its console.
fn document(disk: &str, format: &str) -> String {
    tiny_with(
        "writer",
        &format!(
            "<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{disk}'/>\
             <target dev='vda' bus='virtio'/></disk>"
        ),
    )
}

/// The last number that was told whole, of the only guest.
fn told(host: &Host) -> u32 {
    let guests = std::fs::read_dir(host.root().join("run/lodge/guests")).into_iter().flatten().flatten();
    let text = guests.filter_map(|guest| std::fs::read_to_string(guest.path().join("console.log")).ok());
    let text: String = text.collect();
    let whole = &text[..text.rfind('\n').unwrap_or(0)];
    whole.lines().rev().find_map(|line| u32::from_str_radix(line.trim(), 16).ok()).unwrap_or(0)
}

fn wait(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !done()? {
        ensure!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A guest that writes all of its disk, on a file system that has no room for that, in a pool of its own.
fn cramped(host: &Host, small: &SmallDisk) -> Result<()> {
    let place = small.path().display().to_string();
    host.lodge(&["pool-create-as", "small", "dir", "--target", &place])?.ok()?;
    let disk = small.path().join("disk.img");
    writer_disk(&disk)?;
    let text = document(&disk.display().to_string(), "raw");
    let file = host.file("writer.xml", &text)?;
    host.lodge(&["define", &file])?.ok()?;
    host.lodge(&["start", "writer"])?.ok()?;
    Ok(())
}

/// `domstate --reason`.
fn state(host: &Host) -> Result<String> {
    Ok(host.lodge(&["domstate", "writer", "--reason"])?.ok()?.stdout.trim().to_owned())
}

fn wait_for_state(host: &Host, wanted: &str) -> Result<()> {
    wait(wanted, || Ok(state(host)? == wanted))
}

#[test]
fn a_guest_on_a_full_file_system_waits_and_goes_on_when_there_is_room() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let Some(small) = SmallDisk::new(1)? else { return Ok(()) };
    let host = Host::start()?;
    cramped(&host, &small)?;
    let disk = small.path().join("disk.img");
    host.lodge(&["domblkthreshold", "writer", "vda", "200KiB"])?.ok()?;
    wait_for_state(&host, "paused (I/O error)")?;
    let errors = host.lodge(&["domblkerror", "writer"])?.ok()?.stdout;
    ensure!(errors.trim() == "vda: no space", "domblkerror said {errors:?}");
    let stood = told(&host);
    ensure!(stood > 0, "it had written nothing");
    for event in ["domain.block_threshold", "domain.io_error", "pool.filling", "domain.waits_for_room"] {
        wait(event, || Ok(events(&host)?.contains(event)))?;
    }
    ensure!(events(&host)?.contains("ioerror"), "it is not told why it was suspended");
    small.resize("16m");
    // Nobody resumes it.
    wait_for_state(&host, "running (unpaused)")?;
    wait("the room is told", || Ok(events(&host)?.contains("domain.room_again")))?;
    wait("the guest writes on", || Ok(told(&host) > stood + 4096))?;
    host.lodge(&["suspend", "writer"])?.ok()?;
    let last = told(&host);
    host.lodge(&["destroy", "writer"])?.ok()?;
    // All that it was told is written is there, the sector it stood at too.
    let bytes = std::fs::read(&disk)?;
    for number in last - 4000..=last {
        let at = (64 + usize::try_from(number % 4096)?) * 512;
        let found = u32::from_le_bytes(bytes[at..at + 4].try_into()?);
        ensure!(found == number || found == number + 4096, "sector of {number} has {found}");
    }
    Ok(())
}

#[test]
fn a_pool_that_fills_within_seconds_is_told_before_its_guest_stands() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let Some(small) = SmallDisk::new(1)? else { return Ok(()) };
    let host = Host::start()?;
    let place = small.path().display().to_string();
    host.lodge(&["pool-create-as", "small", "dir", "--target", &place])?.ok()?;
    let disk = small.path().join("disk.img");
    writer_disk(&disk)?;
    let slow = "<iotune><write_bytes_sec>65536</write_bytes_sec></iotune></disk>";
    let text = document(&disk.display().to_string(), "raw").replace("</disk>", slow);
    let file = host.file("writer.xml", &text)?;
    host.lodge(&["define", &file])?.ok()?;
    host.lodge(&["start", "writer"])?.ok()?;
    wait_for_state(&host, "paused (I/O error)")?;
    wait("the pause is told", || Ok(events(&host)?.contains("domain.io_error")))?;
    let all = events(&host)?;
    let place = |event: &str| all.find(event).with_context(|| format!("no {event} in {all}"));
    ensure!(place("pool.filling")? < place("domain.io_error")?, "the warning came too late: {all}");
    host.lodge(&["destroy", "writer"])?.ok()?;
    Ok(())
}

#[test]
fn a_guest_that_waits_for_room_stays_when_somebody_suspends_it_and_goes_on_under_the_next_daemon()
-> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let Some(small) = SmallDisk::new(1)? else { return Ok(()) };
    let mut host = Host::start()?;
    cramped(&host, &small)?;
    wait_for_state(&host, "paused (I/O error)")?;
    host.lodge(&["suspend", "writer"])?.ok()?;
    ensure!(state(&host)? == "paused (user)", "{}", state(&host)?);
    // Room enough to go on, and not for all of the disk.
    small.resize("1536k");
    let stood = told(&host);
    host.kill_daemon()?;
    host.start_daemon()?;
    // Long enough for three looks.
    std::thread::sleep(Duration::from_secs(7));
    ensure!(state(&host)? == "paused (user)" && told(&host) == stood, "it went on: {}", state(&host)?);
    host.lodge(&["resume", "writer"])?.ok()?;
    wait("the guest writes on", || Ok(told(&host) > stood))?;
    wait_for_state(&host, "paused (I/O error)")?;
    host.kill_daemon()?;
    small.resize("16m");
    let stood = told(&host);
    host.start_daemon()?;
    wait("the guest goes on by itself", || Ok(told(&host) > stood + 4096))?;
    wait_for_state(&host, "running (unpaused)")?;
    host.lodge(&["destroy", "writer"])?.ok()?;
    Ok(())
}

#[test]
fn a_guest_stays_on_a_full_file_system_where_the_host_wants_it_so() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let Some(small) = SmallDisk::new(1)? else { return Ok(()) };
    let host = Host::start_told("[storage]\nresume_when_room = false\n", &[])?;
    cramped(&host, &small)?;
    wait_for_state(&host, "paused (I/O error)")?;
    small.resize("16m");
    std::thread::sleep(Duration::from_secs(7));
    ensure!(state(&host)? == "paused (I/O error)", "{}", state(&host)?);
    host.lodge(&["resume", "writer"])?.ok()?;
    wait_for_state(&host, "running (unpaused)")?;
    host.lodge(&["destroy", "writer"])?.ok()?;
    Ok(())
}

/// All that the daemon has told so far.
fn events(host: &Host) -> Result<String> {
    let mut curl = Command::new("curl");
    curl.args(["-sN", "--max-time", "1", "--unix-socket"]).arg(host.socket());
    let done = curl.arg("http://lodge/v1/events?since=0").output().context("cannot run curl")?;
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

#[test]
fn a_disk_that_was_moved_by_hand_is_told_and_taken_over_when_asked() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let pool = host.root().join("var/lib/libvirt/images");
    std::fs::create_dir_all(&pool)?;
    let place = pool.display().to_string();
    host.lodge(&["pool-create-as", "images", "dir", "--target", &place])?.ok()?;
    let (disk, elsewhere) = (pool.join("writer.img"), pool.join("elsewhere.img"));
    writer_disk(&disk)?;
    let file = host.file("writer.xml", &document(&disk.display().to_string(), "raw"))?;
    host.lodge(&["define", &file])?.ok()?;
    host.lodge(&["start", "writer"])?.ok()?;
    wait("the guest writes", || Ok(told(&host) > 20))?;
    host.lodge(&["destroy", "writer"])?.ok()?;
    // What the disk is gets noted behind the guest's end; the doctor notes it too, and is waited for.
    host.lodge(&["storage", "doctor"])?;
    std::fs::rename(&disk, &elsewhere)?;
    let (was, is) = (disk.display().to_string(), elsewhere.display().to_string());
    host.lodge(&["start", "writer"])?.fails_saying(&[&was, &is, "--relocate"])?;
    host.lodge(&["pool-refresh", "images"])?.ok()?;
    wait("the move is told", || Ok(events(&host)?.contains("disk.moved")))?;
    let doctor = host.lodge(&["storage", "doctor"])?.stdout;
    ensure!(doctor.contains(&is), "the doctor does not name it: {doctor}");
    let files = host.lodge(&["files", "writer"])?.ok()?.stdout;
    ensure!(files.contains(&is) || files.contains(&was), "{files}");
    host.lodge(&["files", "writer", "--relocate"])?.ok()?;
    let usage = host.lodge(&["storage", "usage", "images"])?.ok()?.stdout;
    ensure!(usage.contains("elsewhere.img"), "{usage}");
    host.lodge(&["start", "writer"])?.ok()?;
    wait("the guest writes again", || Ok(told(&host) > 20))?;
    host.lodge(&["destroy", "writer"])?.ok()?;
    Ok(())
}

#[test]
fn block_jobs_by_the_command_line() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let pool = host.root().join("var/lib/libvirt/images");
    std::fs::create_dir_all(&pool)?;
    let path = |name: &str| pool.join(name).display().to_string();
    let qemu_img = |args: &[&str]| -> Result<()> {
        let done = Command::new("qemu-img").args(args).output().context("cannot run qemu-img")?;
        ensure!(done.status.success(), "qemu-img {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    };
    writer_disk(&host.root().join("raw"))?;
    let raw = host.root().join("raw").display().to_string();
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", &raw, &path("base.qcow2")])?;
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", &path("base.qcow2"), "-F", "qcow2", &path("top.qcow2")])?;
    let file = host.file("writer.xml", &document(&path("top.qcow2"), "qcow2"))?;
    host.lodge(&["define", &file])?.ok()?;
    host.lodge(&["start", "writer"])?.ok()?;
    let says = |args: &[&str], text: &str| -> Result<()> {
        let done = host.lodge(args)?.ok()?;
        ensure!(done.stdout.trim() == text, "`{}` said {:?}, not {text:?}", done.command, done.stdout);
        Ok(())
    };
    says(&["blockjob", "writer", "vda", "--info"], "No current block job for vda")?;
    host.lodge(&["blockcommit", "writer", "vda"])?
        .fails_saying(&["error: commit of 'vda' active layer requires active flag"])?;
    host.lodge(&["blockjob", "writer", "vda", "--abort"])?
        .fails_saying(&["disk vda does not have an active block job"])?;
    says(
        &["blockcommit", "writer", "vda", "--active", "--bandwidth", "4096", "--bytes"],
        "Active Block Commit started",
    )?;
    let info = host.json(&["blockjob", "writer", "vda", "--info"])?;
    ensure!(info["type"] == "active-commit" && info["bytes_per_second"] == 4096, "{info}");
    host.lodge(&["blockpull", "writer", "vda"])?.fails_saying(&["disk 'vda' already in active block job"])?;
    host.lodge(&["blockjob", "writer", "vda", "--bandwidth", "100"])?.ok()?;
    host.lodge(&["blockjob", "writer", "vda", "--abort"])?.ok()?;
    says(&["blockcommit", "writer", "vda", "--pivot", "--verbose"], "Successfully pivoted")?;
    let blocks = host.json(&["domblklist", "writer"])?;
    ensure!(blocks[0]["source"] == path("base.qcow2"), "{blocks}");
    says(
        &["blockcopy", "writer", "vda", "--dest", &path("copy.qcow2"), "--transient-job", "--finish"],
        "Successfully copied",
    )?;
    host.lodge(&["blockcopy", "writer", "vda", "--dest", &path("copy.qcow2"), "--transient-job"])?
        .fails_saying(&["already exists and is not a block device"])?;
    says(&["blockresize", "writer", "vda", "16MiB"], "Block device 'vda' is resized")?;
    let sizes = host.json(&["domblkinfo", "writer", "vda"])?;
    ensure!(sizes["capacity"] == 16 << 20, "{sizes}");
    let before = told(&host);
    wait("the guest writes on", || Ok(told(&host) > before + 20))?;
    host.lodge(&["destroy", "writer"])?.ok()?;
    qemu_img(&["check", "-q", "-f", "qcow2", &path("base.qcow2")])
}
