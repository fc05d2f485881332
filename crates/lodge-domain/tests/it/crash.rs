//! kill -9 of the daemon at random moments under load: no guest stops, none is lost, none runs twice.
//!
//! The daemon is this test program itself, started again as [`the_daemon_itself`]. Each of its eight guests has a
//! task that acts on it at random and writes a journal: what it is about to do, and how that ended. After the kill
//! the journal says of each guest which states are right: the one acknowledged last, or the one of the act that
//! was under way.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lodge_domain::{
    DefineOptions, DestroyOptions, Domains, Handle, SaveOptions, StartOptions, Ticket, UndefineOptions,
};

use crate::support::{Fakes, World, config, has_qemu, processes_below, tiny_with, until};

const GUESTS: usize = 8;
const ROUNDS: u64 = 12;
const DIR: &str = "LODGE_TEST_DAEMON_DIR";

/// What a guest does, as far as the journal can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Undefined,
    Off,
    Running,
    Paused,
    Saved,
}

const ACTS: [(&str, &[Mode], Mode); 7] = [
    ("define", &[Mode::Undefined, Mode::Off, Mode::Running, Mode::Paused, Mode::Saved], Mode::Off),
    ("start", &[Mode::Off, Mode::Saved], Mode::Running),
    ("managedsave", &[Mode::Running], Mode::Saved),
    ("suspend", &[Mode::Running], Mode::Paused),
    ("resume", &[Mode::Paused], Mode::Running),
    ("destroy", &[Mode::Running, Mode::Paused], Mode::Off),
    ("undefine", &[Mode::Off], Mode::Undefined),
];

fn after(act: &str, before: Mode) -> Mode {
    match act {
        "define" if before != Mode::Undefined => before,
        act => ACTS.iter().find(|(name, ..)| *name == act).unwrap().2,
    }
}

fn mode_of(domains: &Domains, name: &str) -> (Mode, Option<u32>) {
    let Ok(guest) = domains.find(name) else { return (Mode::Undefined, None) };
    let view = guest.snapshot();
    let pid = view.vmm.as_ref().map(|vmm| vmm.process.pid);
    match view.state.words().0 {
        "running" => (Mode::Running, pid),
        "paused" => (Mode::Paused, pid),
        "shut off" if view.managed_save => (Mode::Saved, pid),
        "shut off" => (Mode::Off, pid),
        other => panic!("{name} is {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is the daemon that the test below starts and kills"]
async fn the_daemon_itself() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let domains = Domains::open(config(&dir).await, Fakes::default().ports()).await.unwrap();
    let journal = OpenOptions::new().append(true).create(true).open(dir.join("journal")).unwrap();
    let journal = Arc::new(journal);
    println!("the daemon is up");
    let seed = u64::from(std::process::id());
    let tasks = (0..GUESTS).map(|guest| {
        let (domains, journal) = (domains.clone(), Arc::clone(&journal));
        tokio::spawn(act_for_ever(
            domains,
            journal,
            format!("g{guest}"),
            fastrand::Rng::with_seed(seed * 7919 + guest as u64 + 1),
        ))
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

async fn act_for_ever(domains: Domains, journal: Arc<File>, name: String, mut dice: fastrand::Rng) {
    let mut round = 0;
    loop {
        let (mode, _) = mode_of(&domains, &name);
        // Ends are rare, so that there is mostly something running.
        let is_rare = |act: &str| matches!(act, "undefine" | "destroy" | "managedsave");
        let ends = dice.usize(..4) == 0;
        let fitting: Vec<_> =
            ACTS.iter().filter(|(act, from, _)| from.contains(&mode) && (ends || !is_rare(act))).collect();
        let (act, ..) = fitting[dice.usize(..fitting.len())];
        round += 1;
        note(&journal, &format!("begin {name} {act}"));
        let done = do_it(&domains, &name, act, round).await;
        let pid = mode_of(&domains, &name).1.unwrap_or(0);
        note(&journal, &format!("end {name} {act} {} {pid}", if done.is_ok() { "ok" } else { "failed" }));
        done.unwrap();
    }
}

async fn do_it(
    domains: &Domains,
    name: &str,
    act: &str,
    round: u32,
) -> Result<(), lodge_domain::DomainError> {
    let guest = |name: &str| -> Result<Handle, lodge_domain::DomainError> { domains.find(name) };
    match act {
        "define" => {
            // The UUID is the name's for ever: a redefinition must give it.
            let number = name[1..].parse::<u32>().unwrap();
            let top =
                format!("<title>round {round}</title><uuid>00000000-0000-4000-8000-{number:012}</uuid>");
            domains.define(&tiny_with(name, &top, ""), DefineOptions::default()).await.map(drop)
        }
        "start" => guest(name)?.start(StartOptions::default(), Ticket::default()).await,
        "managedsave" => guest(name)?.managed_save(SaveOptions::default(), Ticket::default()).await,
        "suspend" => guest(name)?.suspend().await,
        "resume" => guest(name)?.resume().await,
        "destroy" => guest(name)?.destroy(DestroyOptions::default()).await,
        "undefine" => guest(name)?.undefine(UndefineOptions::default()).await.map(drop),
        other => unreachable!("{other}"),
    }
}

fn note(mut journal: &File, line: &str) {
    journal.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What the journal says of each guest: mode and pid acknowledged last, and the act under way.
#[derive(Debug, Clone, Default)]
struct Known {
    mode: Option<Mode>,
    pid: u32,
    under_way: Option<String>,
}

/// How many acts were acknowledged.
fn acts_in(dir: &Path) -> usize {
    let text = std::fs::read_to_string(dir.join("journal")).unwrap_or_default();
    text.lines().filter(|line| line.starts_with("end")).count()
}

fn read_journal(dir: &Path, known: &mut BTreeMap<String, Known>) {
    let text = std::fs::read_to_string(dir.join("journal")).unwrap_or_default();
    // A line without its end was cut by the kill: it was never written.
    for line in text.lines().take(text.matches('\n').count()) {
        let words: Vec<_> = line.split(' ').collect();
        let guest = known.entry(words[1].to_owned()).or_default();
        if words[0] == "begin" {
            guest.under_way = Some(words[2].to_owned());
        } else {
            assert_eq!(words[3], "ok", "{line}");
            guest.mode = Some(after(words[2], guest.mode.unwrap_or(Mode::Undefined)));
            guest.pid = words[4].parse().unwrap();
            guest.under_way = None;
        }
    }
    std::fs::remove_file(dir.join("journal")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_daemon_under_load_harms_no_guest() {
    if !has_qemu() {
        return;
    }
    let world = World::new();
    let dir = world.dir.path();
    let mut known = BTreeMap::new();
    let mut dice = fastrand::Rng::with_seed(u64::from(std::process::id()) + 1);
    let (mut acts, mut running_seen) = (0, 0);
    for round in 0..ROUNDS {
        let mut daemon = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::the_daemon_itself", "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        assert!(
            lines.any(|line| line.unwrap().contains("the daemon is up")),
            "round {round}: it did not come up"
        );
        // At a random moment, counted in acts: a busy machine makes it later, not emptier.
        let (acts_wanted, deadline) = (dice.usize(..60), Instant::now() + Duration::from_secs(20));
        while acts_in(dir) < acts_wanted && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_micros(dice.usize(..60_000) as u64));
        assert!(daemon.try_wait().unwrap().is_none(), "round {round}: the daemon ended by itself");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        acts += acts_in(dir);
        read_journal(dir, &mut known);
        running_seen += check(&world, &mut known, round).await;
    }
    assert!(
        acts > 100 && running_seen > 10,
        "{acts} acts, {running_seen} running: too little happened to prove anything"
    );
    println!("{acts} acts, {running_seen} guests found running after {ROUNDS} kills");
    let domains = Domains::open(config(dir).await, Fakes::default().ports()).await.unwrap();
    for view in domains.list() {
        let guest = domains.get(view.id).unwrap();
        if view.is_active() {
            guest.destroy(DestroyOptions::default()).await.unwrap();
        }
        guest.undefine(UndefineOptions { managed_save: true, ..UndefineOptions::default() }).await.unwrap();
    }
    domains.close(Duration::from_secs(5)).await;
    assert!(world.processes().is_empty() && world.cgroups().is_empty(), "{}", world.leavings());
}

/// A new daemon finds every guest as the journal allows; says how many run.
async fn check(world: &World, known: &mut BTreeMap<String, Known>, round: u64) -> usize {
    let dir = world.dir.path();
    let domains = Domains::open(config(dir).await, Fakes::default().ports()).await.unwrap();
    let mut running = 0;
    for (name, guest) in known.iter_mut() {
        if let Ok(found) = domains.find(name) {
            // A QEMU that was being ended when the daemon died.
            until(&found, "settled", |view| view.state.words().0 != "in shutdown").await;
        }
        let before = guest.mode.unwrap_or(Mode::Undefined);
        let (mode, pid) = mode_of(&domains, name);
        let allowed = match &guest.under_way {
            Some(act) => vec![before, after(act, before)],
            None => vec![before],
        };
        assert!(
            allowed.contains(&mode),
            "round {round}: {name} is {mode:?}, and {guest:?} allows {allowed:?}"
        );
        if matches!(mode, Mode::Running | Mode::Paused) {
            running += 1;
            if matches!(before, Mode::Running | Mode::Paused) {
                assert_eq!(pid, Some(guest.pid), "round {round}: {name} runs as another process");
            }
        }
        (guest.mode, guest.pid, guest.under_way) = (Some(mode), pid.unwrap_or(0), None);
    }
    // A destroyed guest's process may take a moment to be gone from /proc.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let (processes, cgroups) = (processes_below(dir).len(), world.cgroups().len());
        if processes == running && (cgroups == 0 || cgroups % running.max(1) == 0) {
            break;
        }
        assert!(Instant::now() < deadline, "round {round}: {running} guests, {}", world.leavings());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let open = lodge_store::saga::open_sagas(domains.store().db()).await.unwrap();
    assert!(open.is_empty(), "round {round}: {open:?}");
    domains.close(Duration::from_secs(10)).await;
    running
}
