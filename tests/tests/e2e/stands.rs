//! Nobody starts on a file that somebody else stands on: told by virsh and by `lodge`, by a new daemon too.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Done, Host, SilentDisk, document::tiny_with, finish, skip, turn};

fn virsh(host: &Host, args: &[&str]) -> Result<Done> {
    let socket = host.root().join("run/libvirt/libvirt-sock");
    let mut virsh = Command::new("virsh");
    virsh.args(["-c", &format!("qemu:///system?socket={}", socket.display())]).args(args);
    finish(&mut virsh, Duration::from_mins(1), "virsh")
}

fn image(host: &Host, name: &str, below: Option<&Path>) -> Result<PathBuf> {
    let path = host.root().join("var/lib/libvirt/images").join(name);
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2"]);
    if let Some(below) = below {
        command.args(["-F", "qcow2", "-b"]).arg(below);
    }
    command.arg(&path);
    if below.is_none() {
        command.arg("8M");
    }
    ensure!(command.status()?.success(), "qemu-img made no {name}");
    Ok(path)
}

fn disk(path: &Path, target: &str, more: &str) -> String {
    format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
         <target dev='{target}' bus='virtio'/>{more}</disk>",
        path.display()
    )
}

fn define(host: &Host, name: &str, devices: &str) -> Result<()> {
    let document = host.file(&format!("{name}.xml"), &tiny_with(name, devices))?;
    host.lodge(&["define", &document])?.ok().map(drop)
}

fn runs_once(host: &Host, name: &str) -> Result<()> {
    host.lodge(&["start", name])?.ok()?;
    host.lodge(&["destroy", name])?.ok().map(drop)
}

#[test]
fn a_guest_does_not_start_on_what_another_stands_on() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    if Command::new("virsh").arg("--version").output().is_err() {
        skip("virsh is not installed (Debian's package libvirt-clients)");
        return Ok(());
    }
    let mut host = Host::start()?;
    let base = image(&host, "base.qcow2", None)?;
    let top = image(&host, "top.qcow2", Some(&base))?;
    let own = image(&host, "own.qcow2", None)?;
    define(&host, "below", &disk(&base, "vda", ""))?;
    // An overlay that nobody names is in nobody's way.
    runs_once(&host, "below")?;
    define(&host, "above", &disk(&top, "vda", ""))?;
    define(&host, "third", &disk(&own, "vda", ""))?;
    let why = format!(
        "`{}` is not written: `{}`, disk vda of domain 'above', stands on it",
        base.display(),
        top.display()
    );
    let next = format!("lodge chain flatten {}", top.display());
    virsh(&host, &["start", "below"])?.fails_saying(&["Failed to start domain 'below'", &why])?;
    host.lodge(&["start", "below"])?.fails_saying(&[&why, &next])?;
    ensure!(host.lodge(&["domstate", "below"])?.ok()?.stdout.trim() == "shut off");
    // A new daemon, too.
    host.kill_daemon()?;
    host.start_daemon()?;
    virsh(&host, &["start", "below"])?.fails_saying(&[&why])?;

    // Whose it is runs, and so do those who do not write to it.
    runs_once(&host, "above")?;
    define(&host, "reader", &disk(&base, "vda", "<readonly/>"))?;
    runs_once(&host, "reader")?;
    define(&host, "passing", &disk(&base, "vda", "<transient/>"))?;
    runs_once(&host, "passing")?;
    for name in ["reader", "passing"] {
        host.lodge(&["undefine", name])?.ok()?;
    }

    // Plugged in, it is the same.
    host.lodge(&["start", "third"])?.ok()?;
    let plug = |name: &str, more: &str| host.file(name, &disk(&base, "vdb", more));
    let (written, read) = (plug("written.xml", "")?, plug("read.xml", "<readonly/>")?);
    virsh(&host, &["attach-device", "third", &written, "--live"])?
        .fails_saying(&["Failed to attach device", &why])?;
    host.lodge(&["attach-device", "third", &written, "--live"])?.fails_saying(&[&why, &next])?;
    virsh(&host, &["attach-device", "third", &read, "--live"])?.ok()?;
    virsh(&host, &["detach-device", "third", &read, "--live"])?.ok()?;
    host.lodge(&["destroy", "third"])?.ok()?;

    // A guest's own snapshot keeps others out, and not itself.
    host.lodge(&["snapshot-create-as", "above", "s1", "--disk-only"])?.ok()?;
    runs_once(&host, "above")?;
    define(&host, "thief", &disk(&top, "vda", ""))?;
    virsh(&host, &["start", "thief"])?.fails_saying(&["is not written", "domain 'above'"])?;
    host.lodge(&["undefine", "thief"])?.ok()?;
    host.lodge(&["snapshot-delete", "above", "s1"])?.ok()?;
    runs_once(&host, "above")?;

    // Standing alone, it is in nobody's way any more.
    host.lodge(&["chain", "flatten", &top.display().to_string()])?.ok()?;
    virsh(&host, &["start", "below"])?.ok()?;
    host.lodge(&["destroy", "below"])?.ok()?;
    Ok(())
}

/// Whoever asks nothing of a file server that is gone starts, and the daemon ends when it is told to.
#[test]
fn a_directory_that_does_not_answer_holds_up_neither_a_start_nor_the_daemon() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    let gone = host.root().join("gone");
    fs::create_dir(&gone)?;
    host.lodge(&["pool-create-as", "gone", "dir", "--target", &gone.display().to_string()])?.ok()?;
    let base = image(&host, "base.qcow2", None)?;
    let top = image(&host, "../../../../gone/top.qcow2", Some(&base))?;
    let own = image(&host, "own.qcow2", None)?;
    let above_own = image(&host, "above-own.qcow2", Some(&own))?;
    define(&host, "below", &disk(&base, "vda", ""))?;
    define(&host, "above", &disk(&gone.join("top.qcow2"), "vda", ""))?;
    define(&host, "lone", &disk(&above_own, "vda", ""))?;
    ensure!(top.exists());
    host.lodge(&["start", "below"])?.fails_saying(&["stands on it"])?;
    let Some(silent) = SilentDisk::over(&gone) else { return Ok(()) };
    for most in [10, 5, 5] {
        let began = Instant::now();
        runs_once(&host, "lone")?;
        ensure!(began.elapsed() < Duration::from_secs(most), "a start took {:?}", began.elapsed());
        // It is known from before.
        host.lodge(&["start", "below"])?.fails_saying(&["stands on it"])?;
    }
    let mut asks = Command::new(lodge_tests::host::lodge_program()?)
        .arg("--connect")
        .arg(host.socket())
        .args(["pool-refresh", "gone"])
        .spawn()?;
    std::thread::sleep(Duration::from_secs(2));
    let (pid, began) = (host.daemon_pid(), Instant::now());
    let daemon = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("no pid")?;
    rustix::process::kill_process(daemon, rustix::process::Signal::TERM)?;
    let runs = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while runs() {
        ensure!(began.elapsed() < Duration::from_secs(40), "the daemon does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    asks.kill()?;
    asks.wait()?;
    // The next daemon comes up without it, and knows what it has seen when it answers.
    let began = Instant::now();
    host.start_daemon()?;
    ensure!(began.elapsed() < Duration::from_secs(30), "the daemon's start took {:?}", began.elapsed());
    runs_once(&host, "lone")?;
    drop(silent);
    let deadline = Instant::now() + Duration::from_mins(1);
    while host.lodge(&["start", "below"])?.ok().is_ok() {
        host.lodge(&["destroy", "below"])?.ok()?;
        ensure!(Instant::now() < deadline, "it is not looked at again");
    }
    Ok(())
}

/// How much longer a start takes beside thousands of guests with disks, each on an overlay of its own.
#[test]
#[ignore = "a measurement, of minutes"]
fn what_a_start_costs_beside_thousands_of_guests() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let mut host = Host::start()?;
    let base = image(&host, "base.qcow2", None)?;
    let own = image(&host, "own.qcow2", None)?;
    define(&host, "lone", &disk(&own, "vda", ""))?;
    let first = image(&host, "g.qcow2", Some(&base))?;
    define(&host, "g", &disk(&first, "vda", ""))?;
    let definitions = host.root().join("etc/libvirt/qemu");
    let stored = fs::read_to_string(definitions.join("g.xml"))?;
    let uuid =
        stored.split("<uuid>").nth(1).and_then(|rest| rest.split("</uuid>").next()).context("no uuid")?;
    let mut many = 0;
    for count in [0_u32, 1_000, 10_000] {
        host.kill_daemon()?;
        for number in many..count {
            let (name, path) = (format!("g{number}"), first.with_file_name(format!("g{number}.qcow2")));
            fs::copy(&first, &path)?;
            let text = stored.replace("<name>g</name>", &format!("<name>{name}</name>"));
            let text = text.replace(uuid, &format!("00000000-0000-4000-8000-{number:012}"));
            let text = text.replace("/g.qcow2", &format!("/{name}.qcow2"));
            fs::write(definitions.join(format!("{name}.xml")), text)?;
        }
        host.start_daemon()?;
        many = count;
        let mut took = Vec::new();
        for _ in 0..7 {
            // What the last end has set going in the background is over.
            std::thread::sleep(Duration::from_secs(2));
            let began = Instant::now();
            host.lodge(&["start", "lone"])?.ok()?;
            took.push(began.elapsed());
            host.lodge(&["destroy", "lone"])?.ok()?;
        }
        let first = took[0];
        took.sort();
        let median = took.get(took.len() / 2).context("there are some")?;
        eprintln!(
            "{count} other guests: {first:?} at first, {median:?} in the middle, {:?} at best",
            took[0]
        );
    }
    Ok(())
}
