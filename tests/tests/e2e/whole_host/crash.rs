//! `kill -9` of the daemon, at any moment, under load: no guest stops, none is lost, none is started twice.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lodge_tests::{Host, document::tiny, trace::processes_of, turn_alone};

const GUESTS: usize = 4;
const ROUNDS: u64 = 6;

#[test]
fn guests_outlive_a_killed_daemon_under_load() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let mut host = Host::start()?;
    // These run all the time and must never stop.
    for number in 0..GUESTS {
        let document = host.file("steady.xml", &tiny(&format!("steady{number}")))?;
        host.lodge(&["define", &document])?.ok()?;
        host.lodge(&["start", &format!("steady{number}")])?.ok()?;
    }
    let steady = pids(&host, "steady");
    ensure!(steady.len() == GUESTS, "not all guests run: {steady:?}");

    for round in 0..ROUNDS {
        let document = host.file("busy.xml", &tiny("busy"))?;
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (host, over, document) = (&host, &over, &document);
            // This one is defined, started, held and stopped all the time. What it is told may fail: its daemon dies.
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    for args in [
                        &["define", document][..],
                        &["start", "busy"],
                        &["suspend", "busy"],
                        &["destroy", "busy"],
                    ] {
                        drop(host.lodge(args));
                    }
                }
            });
            // A moment that differs from round to round: the load is at another point each time.
            std::thread::sleep(Duration::from_millis(150 + 37 * round));
            let killed = host.kill_daemon_now();
            over.store(true, Ordering::Relaxed);
            killed
        })?;
        host.start_daemon()?;
        ensure!(pids(&host, "steady") == steady, "a guest stopped or was started anew in round {round}");
        for number in 0..GUESTS {
            let state = host.lodge(&["domstate", &format!("steady{number}")])?.ok()?;
            ensure!(state.stdout.trim() == "running", "steady{number} is {}", state.stdout.trim());
        }
        let busy = pids(&host, "busy");
        ensure!(busy.len() <= 1, "started twice: {busy:?}");
        // Half a start is none: either the guest is there and known, or neither.
        let known = host.lodge(&["list", "--name"])?.ok()?.lines().contains(&"busy".to_owned());
        ensure!(known != busy.is_empty(), "busy is known: {known}, its processes: {busy:?}");
    }
    Ok(())
}

#[test]
fn a_guest_that_died_while_no_daemon_looked_is_told_as_shut_off() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let mut host = Host::start()?;
    let document = host.file("gone.xml", &tiny("gone"))?;
    host.lodge(&["define", &document])?.ok()?;
    host.lodge(&["start", "gone"])?.ok()?;
    host.kill_daemon()?;
    for pid in pids(&host, "gone").into_values().flatten() {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid of /proc is not 0");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while !pids(&host, "gone").is_empty() {
        ensure!(Instant::now() < deadline, "the guest does not die");
        std::thread::sleep(Duration::from_millis(5));
    }
    host.start_daemon()?;
    ensure!(host.lodge(&["domstate", "gone"])?.ok()?.stdout.trim() == "shut off");
    host.lodge(&["start", "gone"])?.ok()?;
    Ok(())
}

/// The QEMU processes of this host's guests whose names begin so.
fn pids(host: &Host, prefix: &str) -> BTreeMap<String, Vec<i32>> {
    let mut found: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for (pid, command) in processes_of(host.root()) {
        if let Some(name) = command.split("guest=").nth(1).and_then(|rest| rest.split(',').next())
            && name.starts_with(prefix)
        {
            found.entry(name.to_owned()).or_default().push(pid);
        }
    }
    found
}
