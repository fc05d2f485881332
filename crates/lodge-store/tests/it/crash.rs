//! A process that writes is killed at random moments: afterwards each definition is an old one or a new one,
//! whole, and what was answered is there.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use lodge_store::{Collection, Db, Definitions};

const NAMES: u32 = 6;

/// A document that tells when it is cut or mixed: its round in every line.
fn document(name: u32, round: u64) -> String {
    let line = format!("  <round>{round}</round>\n");
    format!("<domain name='{name}'>\n{}</domain>\n", line.repeat(200))
}

fn round_of(name: u32, text: &str) -> u64 {
    let round = text.split("<round>").nth(1).and_then(|rest| rest.split('<').next()).expect("a round");
    let round = round.parse().expect("a number");
    assert_eq!(text, document(name, round), "the file is neither old nor new");
    round
}

#[test]
#[ignore = "run by the test below as a process of its own"]
fn writer() {
    let Some(dir) = std::env::var_os("LODGE_CRASH_DIR").map(PathBuf::from) else { return };
    let first: u64 = std::env::var("LODGE_CRASH_ROUND").unwrap().parse().unwrap();
    let definitions = Definitions::open_at(&dir.join("qemu"), Collection::Domains).unwrap();
    let db = Db::open(&dir.join("lodge.db")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        for name in 0..NAMES {
            let definitions = &definitions;
            scope.spawn(move || {
                for round in first.. {
                    definitions.put(&name.to_string(), &document(name, round)).unwrap();
                    println!("\nput {name} {round}");
                    if round % 3 == 0 {
                        definitions.set_autostart(&name.to_string(), round % 2 == 0).unwrap();
                    }
                }
            });
        }
        runtime.block_on(async {
            for round in first.. {
                db.set_value("round", round.to_string().into_bytes()).await.unwrap();
                println!("\nkv 0 {round}");
            }
        });
    });
}

/// Lets a writer run for a while and kills it; what it was told is durable.
fn killed_writer(dir: &Path, round: u64, after: Duration) -> HashMap<String, u64> {
    let mut writer = crate::child("crash::writer")
        .env("LODGE_CRASH_DIR", dir)
        .env("LODGE_CRASH_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    writer.kill().unwrap();
    let mut output = String::new();
    writer.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    writer.wait().unwrap();
    let mut answered = HashMap::new();
    // The last line may be cut.
    let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.lines() {
        if let [what @ ("put" | "kv"), name, round] = line.split(' ').collect::<Vec<_>>()[..] {
            answered.insert(format!("{what} {name}"), round.parse().unwrap());
        }
    }
    answered
}

#[test]
fn a_killed_writer_leaves_old_or_new_and_loses_nothing_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut seen = 0;
    for kill in 0..12_u64 {
        let jitter = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos() % 97;
        let after = Duration::from_millis(40 + 23 * kill + u64::from(jitter));
        let answered = killed_writer(dir.path(), kill * 1_000_000, after);
        seen += answered.len();

        let definitions = Definitions::open_at(&dir.path().join("qemu"), Collection::Domains).unwrap();
        let loaded = definitions.load_all().unwrap();
        assert!(loaded.faults.is_empty(), "{:?}", loaded.faults);
        for entry in &loaded.entries {
            let round = round_of(entry.name.parse().unwrap(), &entry.text);
            let told = answered.get(&format!("put {}", entry.name)).copied().unwrap_or(0);
            assert!(round >= told, "{}: round {round} is older than the answered {told}", entry.name);
        }
        let is_there = |name: &str| loaded.entries.iter().any(|entry| entry.name == name);
        let lost = answered.keys().filter_map(|what| what.strip_prefix("put ")).find(|name| !is_there(name));
        assert_eq!(lost, None, "answered and not there");
        for place in ["qemu", "qemu/autostart"] {
            for entry in std::fs::read_dir(dir.path().join(place)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(!name.starts_with('.'), "left over: {place}/{name}");
            }
        }
        let db = Db::open(&dir.path().join("lodge.db")).unwrap();
        let round = runtime.block_on(db.value("round")).unwrap();
        let round: u64 = round.map_or(0, |round| String::from_utf8(round).unwrap().parse().unwrap());
        assert!(round >= answered.get("kv 0").copied().unwrap_or(0));
    }
    assert!(seen > 0, "no writer was ever answered: nothing was tried");
}
