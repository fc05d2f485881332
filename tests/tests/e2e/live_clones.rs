//! Clones of a guest that runs: its memory goes on in another machine, it goes on itself, and its disk is as before, also
//! when the daemon is killed amid that.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, counter, document::tiny_with, turn};
use serde_json::Value;

/// A guest under TCG on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Defines and starts a guest that counts, on a qcow2 in the default pool, with a card and a generation id.
fn counting(host: &Host, name: &str) -> Result<PathBuf> {
    counting_on(host, name, "<interface type='user'>")
}

/// The same with a card that begins so.
fn counting_on(host: &Host, name: &str, card: &str) -> Result<PathBuf> {
    let raw = host.root().join("counter.raw");
    fs::write(&raw, counter::disk(1 << 20))?;
    let image = host.root().join(format!("var/lib/libvirt/images/{name}.qcow2"));
    let converted =
        Command::new("qemu-img").args(["convert", "-O", "qcow2"]).args([&raw, &image]).status()?;
    ensure!(converted.success(), "qemu-img failed");
    let devices = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
         <target dev='vda' bus='virtio'/></disk>\
         {card}<mac address='52:54:00:00:00:01'/><model type='virtio'/></interface>",
        image.display()
    );
    let document = tiny_with(name, &devices).replace("<vcpu>", "<genid/><vcpu>");
    let document = host.file(&format!("{name}.xml"), &document)?;
    host.lodge(&["define", &document])?.ok()?;
    host.lodge(&["start", name])?.ok()?;
    Ok(image)
}

fn counted(host: &Host, name: &str) -> Result<Vec<u32>> {
    let uuid = host.json(&["dominfo", name])?["uuid"].as_str().context("no uuid")?.to_owned();
    let log = host.root().join("run/lodge/guests").join(uuid).join("console.log");
    // A guest that has printed nothing yet has no log.
    Ok(fs::read(log).map(|log| counter::numbers(&String::from_utf8_lossy(&log))).unwrap_or_default())
}

fn count_past(host: &Host, name: &str, number: u32) -> Result<u32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(last) = counted(host, name)?.last().filter(|last| **last > number) {
            return Ok(*last);
        }
        ensure!(Instant::now() < deadline, "`{name}` does not count past {number}: {}", host.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One value of a guest's live document.
fn told(host: &Host, name: &str, before: &str) -> Result<String> {
    let xml = host.lodge(&["dumpxml", name])?.ok()?.stdout;
    let found = xml.split(before).nth(1).and_then(|rest| rest.split(['\'', '<']).next());
    Ok(found.with_context(|| format!("no `{before}` in {xml}"))?.to_owned())
}

/// The source's disk is the file that it was, alone, and nothing of the clone's making is left of it.
fn is_as_before(host: &Host, name: &str, image: &Path) -> Result<()> {
    for flags in [&["dumpxml", name][..], &["dumpxml", name, "--inactive"]] {
        let xml = host.lodge(flags)?.ok()?.stdout;
        ensure!(xml.contains(&format!("<source file='{}'", image.display())), "{flags:?}: {xml}");
        ensure!(!xml.contains("lodge-clone-"), "{flags:?}: {xml}");
    }
    ensure!(host.lodge(&["snapshot-list", name, "--name"])?.ok()?.lines().is_empty());
    let directory = image.parent().context("a directory")?;
    for entry in fs::read_dir(directory)?.chain(fs::read_dir(host.root().join("var/lib/libvirt/qemu/save"))?)
    {
        let file = entry?.file_name().to_string_lossy().into_owned();
        ensure!(!file.contains("lodge-clone-"), "{file} is left");
    }
    Ok(())
}

#[test]
fn a_running_guest_goes_on_twice_as_two_machines() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let image = counting(&host, "count")?;
    let before = count_past(&host, "count", 10)?;
    let made = host.lodge_for(PATIENCE, &["clone", "count", "twin"])?.ok()?;
    ensure!(made.stderr.contains("links are down"), "nothing is said of the links: {}", made.stderr);
    // The memory is the source's at one moment, and both go on from there.
    let first = *counted(&host, "twin")?.first().unwrap_or(&count_past(&host, "twin", before)?);
    ensure!(first >= before, "the clone began at {first}, and its source was at {before} already");
    let now = count_past(&host, "twin", first)?;
    count_past(&host, "count", before + 10)?;
    ensure!(now > first);
    is_as_before(&host, "count", &image)?;
    for before in ["<uuid>", "<genid>", "<mac address='", "<source file='"] {
        let (one, other) = (told(&host, "count", before)?, told(&host, "twin", before)?);
        ensure!(one != other, "both have {before}{one}");
    }
    ensure!(told(&host, "twin", "<link state='")? == "down");
    let log = host.json(&["identity", "log", "twin"])?;
    ensure!(log[0]["act"] == "clone" && log[0]["inside"] == "not-reset", "{log}");

    // One that does not go on at once is a saved guest, as `virsh managedsave` leaves one.
    let at = count_past(&host, "count", 0)?;
    host.lodge_for(PATIENCE, &["clone", "count", "later", "--no-start"])?.ok()?;
    ensure!(host.lodge(&["domstate", "later", "--reason"])?.ok()?.stdout.contains("shut off"));
    let info = host.lodge(&["dominfo", "later"])?.ok()?.stdout;
    ensure!(info.lines().any(|line| line.starts_with("Managed save:") && line.ends_with("yes")), "{info}");
    host.lodge(&["start", "later"])?.ok()?;
    let went_on = count_past(&host, "later", at)?;
    ensure!(counted(&host, "later")?.first().is_some_and(|first| *first >= at), "it began anew: {went_on}");
    is_as_before(&host, "count", &image)?;

    // Disks alone: another machine that boots.
    host.lodge_for(PATIENCE, &["clone", "count", "cold", "--disks-only", "--start"])?.ok()?;
    let first = count_past(&host, "cold", 0)?;
    ensure!(first < at, "a clone without memory began at {first}");
    is_as_before(&host, "count", &image)
}

/// Two ends of a cable, both here, gone when dropped.
struct Cable;

impl Cable {
    const ENDS: [&str; 2] = ["lgt-near", "lgt-far"];

    /// None where links of that sort cannot be made.
    fn lay() -> Result<Option<Self>> {
        let ip = |args: &[&str]| Command::new("ip").args(args).output().context("cannot run `ip`");
        let [near, far] = Self::ENDS;
        if !ip(&["link", "add", near, "type", "veth", "peer", "name", far])?.status.success() {
            return Ok(None);
        }
        let cable = Self;
        ensure!(
            ip(&["link", "set", near, "up"])?.status.success()
                && ip(&["link", "set", far, "up"])?.status.success()
        );
        Ok(Some(cable))
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let gone = Command::new("ip").args(["link", "del", Self::ENDS[0]]).status();
        if !gone.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be removed", Self::ENDS[0]);
        }
    }
}

/// Its card is one of a host's link (macvtap), its disk stands alone after it was one of a chain.
#[test]
fn a_guest_with_a_card_of_the_hosts_link_goes_on_twice_by_whole_copies() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let Some(_cable) = Cable::lay()? else {
        lodge_tests::skip("links cannot be made here");
        return Ok(());
    };
    let host = Host::start()?;
    let card = format!("<interface type='direct'><source dev='{}' mode='bridge'/>", Cable::ENDS[0]);
    let image = counting_on(&host, "count", &card)?;
    let at = count_past(&host, "count", 10)?;
    let made = host.lodge_for(PATIENCE, &["clone", "count", "twin", "--full"])?.ok()?;
    ensure!(made.stderr.contains("links are down"), "nothing is said of the links: {}", made.stderr);
    let first = *counted(&host, "twin")?.first().unwrap_or(&count_past(&host, "twin", at)?);
    ensure!(first >= at, "the clone began at {first}, and its source was at {at} already");
    count_past(&host, "twin", first)?;
    let now = count_past(&host, "count", at)?;
    count_past(&host, "count", now)?;
    is_as_before(&host, "count", &image)?;
    let links = ["count", "twin"].map(|name| told(&host, name, "<target dev='macvtap"));
    let [one, other] = links.map(|link| link.map(|number| format!("macvtap{number}")));
    let (one, other) = (one?, other?);
    ensure!(one != other, "both are on {one}");
    for (name, link) in [("count", &one), ("twin", &other)] {
        let address = fs::read_to_string(format!("/sys/class/net/{link}/address"))?;
        ensure!(told(&host, name, "<mac address='")? == address.trim(), "{link} has {address}");
    }
    let disk = told(&host, "twin", "<source file='")?;
    let info = Command::new("qemu-img").args(["info", "-U", &disk]).output()?;
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    ensure!(info.contains("file format: qcow2") && !info.contains("backing file"), "{info}");
    // Linked is what a disk that is written cannot be.
    host.lodge(&["clone", "count", "x", "--linked"])?
        .fails_saying(&["is written by its domain", "template"])?;
    for name in ["count", "twin"] {
        host.lodge(&["destroy", name])?.ok()?;
    }
    for link in [one, other] {
        ensure!(!Path::new("/sys/class/net").join(&link).exists(), "{link} is left");
    }
    Ok(())
}

#[test]
fn what_a_memory_cannot_be_cloned_with_is_told() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let host = Host::start()?;
    let document = host.file("plain.xml", &tiny_with("plain", ""))?;
    host.lodge(&["define", &document])?.ok()?;
    host.lodge(&["start", "plain"])?.ok()?;
    host.lodge(&["clone", "plain", "x"])?.fails_saying(&["VM generation id", "--disks-only", "--force"])?;
    host.lodge(&["clone", "plain", "x", "--keep-identity"])?.fails_saying(&["it twice"])?;
    host.lodge(&["template", "create", "plain"])?.fails_saying(&["runs", "shut it down first"])?;
    ensure!(host.lodge(&["list", "--all", "--name"])?.ok()?.lines() == ["plain"]);
    Ok(())
}

#[test]
fn a_source_is_as_before_when_the_daemon_is_killed_amid_its_clone() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    let image = counting(&host, "count")?;
    count_past(&host, "count", 5)?;
    for round in 0..8_u64 {
        let name = format!("r{round}");
        host.cut(&["clone", "count", &name, "--no-start"], |_| {
            std::thread::sleep(Duration::from_millis(60 + 90 * round));
            Ok(())
        })?;
        let at = counted(&host, "count")?.last().copied().unwrap_or(0);
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = is_as_before(&host, "count", &image) {
            ensure!(Instant::now() < deadline, "round {round}: {error:#}\n{}", host.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        count_past(&host, "count", at)?;
        let names = host.lodge(&["list", "--all", "--name"])?.ok()?.lines();
        let disk = image.with_file_name(format!("{name}.qcow2")).exists();
        let memory = host.root().join(format!("var/lib/libvirt/qemu/save/{name}.save")).exists();
        let is_known = names.contains(&name);
        ensure!(
            disk == is_known && memory == is_known,
            "round {round}: known {is_known}, disk {disk}, memory {memory}"
        );
    }
    Ok(())
}

/// Waits until a clone's memory is on the disk, and until it was taken up: the clone goes on then.
pub fn goes_on(root: &Path, clone: &str, patience: Duration) -> Result<()> {
    let memory = root.join(format!("var/lib/libvirt/qemu/save/{clone}.save"));
    let deadline = Instant::now() + patience;
    for is_there in [true, false] {
        while memory.exists() != is_there {
            ensure!(Instant::now() < deadline, "`{clone}` does not go on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

/// Waits until the daemon is done with making a clone another machine by itself.
pub fn is_settled(host: &Host, clone: &str, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let jobs = host.json(&["job", "list"])?;
        let own = |job: &&Value| job["kind"] == "guest.settle" && job["subject"] == clone;
        if let Some(job) = jobs.as_array().context("jobs")?.iter().find(own)
            && job["state"] != "running"
        {
            ensure!(job["state"] == "done", "{job}");
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "nobody finishes `{clone}`: {jobs}\n{}", host.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// It has no agent, so nobody can make it another machine; and that is told, whoever is the daemon.
#[test]
fn a_clone_that_cannot_be_finished_is_told_of_also_by_the_next_daemon() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    counting(&host, "count")?;
    count_past(&host, "count", 5)?;
    let root = host.root().to_owned();
    host.cut(&["clone", "count", "twin"], |_| goes_on(&root, "twin", PATIENCE))?;
    let at = count_past(&host, "twin", 0)?;
    is_settled(&host, "twin", PATIENCE)?;
    count_past(&host, "twin", at)?;
    ensure!(told(&host, "twin", "<link state='")? == "down");
    let log = host.json(&["identity", "log", "twin"])?;
    let warnings = log[0]["warnings"].to_string();
    ensure!(log[0]["inside"] == "not-reset" && warnings.contains("not wholly another machine"), "{log}");
    ensure!(!warnings.contains("until it runs"), "what was said before it ran still stands: {log}");
    host.lodge(&["identity", "check", "twin"])?.fails_saying(&["not another machine yet", "it runs"])?;
    host.lodge(&["destroy", "twin"])?.ok()?;
    let what = ["not another machine yet", "lodge identity reset twin"];
    host.lodge(&["identity", "check", "twin"])?.fails_saying(&what)?;

    // One that waits is finished when it goes on, whoever starts it.
    host.lodge_for(PATIENCE, &["clone", "count", "later", "--no-start"])?.ok()?;
    let what = ["not another machine yet", "when it goes on"];
    host.lodge(&["identity", "check", "later"])?.fails_saying(&what)?;
    host.lodge(&["start", "later"])?.ok()?;
    is_settled(&host, "later", PATIENCE)?;
    host.lodge(&["destroy", "later"])?.ok()?;
    // What is gone is forgotten, and what has its UUID then is another.
    let document = host.lodge(&["dumpxml", "later"])?.ok()?.stdout;
    host.lodge(&["undefine", "later"])?.ok()?;
    let document = host.file("later.xml", &document)?;
    host.lodge(&["define", &document])?.ok()?;
    let checked = host.lodge(&["identity", "check", "later"])?;
    ensure!(!checked.stderr.contains("another machine yet"), "{}", checked.stderr);
    Ok(())
}
