//! The watcher over a guest made of a few answers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use super::super::GuestError;
use super::*;

/// A guest's answers; what is not there is answered as a real agent would.
#[derive(Default)]
struct Answers {
    up: bool,
    files: HashMap<&'static str, String>,
    programs: HashMap<&'static str, String>,
    no_files: bool,
    no_programs: bool,
    leased: Vec<IpAddr>,
}

#[derive(Default)]
struct Fake(Mutex<Answers>);

impl Fake {
    fn set(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.0.lock().unwrap());
    }

    fn with<T>(&self, answer: impl FnOnce(&Answers) -> T) -> Result<T, GuestError> {
        let answers = self.0.lock().unwrap();
        if answers.up { Ok(answer(&answers)) } else { Err(GuestError::Silent) }
    }
}

fn forbidden() -> GuestError {
    GuestError::Forbidden { reason: "the command has been disabled".to_owned() }
}

#[async_trait]
impl Guest for Fake {
    async fn ping(&self, patience: Duration) -> Result<(), GuestError> {
        if self.with(|_| ()).is_err() {
            tokio::time::sleep(patience).await;
        }
        self.with(|_| ())
    }

    async fn read_file(&self, path: &str, _: usize, _: Duration) -> Result<Option<Vec<u8>>, GuestError> {
        self.with(|answers| {
            if answers.no_files {
                return Err(forbidden());
            }
            Ok(answers.files.get(path).map(|text| text.clone().into_bytes()))
        })?
    }

    async fn run(&self, program: &str, _: &[&str], _: Duration) -> Result<Vec<u8>, GuestError> {
        self.with(|answers| {
            if answers.no_programs {
                return Err(forbidden());
            }
            let output = answers.programs.get(program).map(|text| text.clone().into_bytes());
            output.ok_or_else(|| GuestError::Failed { reason: "no such program".to_owned() })
        })?
    }

    async fn addresses(&self, _: Duration) -> Result<Vec<IpAddr>, GuestError> {
        self.with(|_| Vec::new())
    }

    async fn hostname(&self, _: Duration) -> Result<String, GuestError> {
        self.with(|_| "test-system".to_owned())
    }
}

#[async_trait]
impl Leases for Fake {
    async fn addresses(&self) -> Vec<IpAddr> {
        self.0.lock().unwrap().leased.clone()
    }
}

const ALL: Sight = Sight { agent_channel: true, nics: true, seed: true };
const STATUS: &str = "/run/cloud-init/status.json";
const RESULT: &str = "/run/cloud-init/result.json";

fn start(sight: Sight) -> (Arc<Fake>, Watcher) {
    let fake = Arc::new(Fake::default());
    let watcher = watch(sight, 1.0, Arc::clone(&fake) as _, Arc::clone(&fake) as _);
    watcher.signal(Signal::Started);
    (fake, watcher)
}

async fn until(watcher: &Watcher, phase: Phase) -> Readiness {
    let mut readiness = watcher.subscribe();
    let wanted = readiness.wait_for(|readiness| readiness.phase == phase);
    tokio::time::timeout(Duration::from_secs(20), wanted).await.expect("in time").unwrap().clone()
}

#[tokio::test]
async fn a_guest_is_followed_from_power_on_to_ready_and_off() {
    let (fake, watcher) = start(ALL);
    until(&watcher, Phase::Booting).await;
    fake.set(|answers| answers.leased = vec!["192.168.122.7".parse().unwrap()]);
    until(&watcher, Phase::Address).await;
    fake.set(|answers| {
        answers.up = true;
        answers.files.insert("/run/cloud-init/enabled", String::new());
        answers.programs.insert("tail", "Setting up nginx\n".to_owned());
    });
    let readiness = until(&watcher, Phase::CloudInit).await;
    assert_eq!(readiness.message, "cloud-init has not begun yet");
    fake.set(|answers| {
        answers.files.insert(STATUS, r#"{"v1": {"stage": "modules-final"}}"#.to_owned());
    });
    let mut changes = watcher.subscribe();
    let seen = changes.wait_for(|readiness| readiness.message.contains("Setting up nginx")).await.unwrap();
    assert_eq!(seen.message, "cloud-init: stage modules-final; Setting up nginx");
    drop(seen);
    fake.set(|answers| {
        answers
            .files
            .insert(STATUS, r#"{"v1": {"stage": null, "datasource": "DataSourceNoCloud"}}"#.to_owned());
        answers
            .files
            .insert(RESULT, r#"{"v1": {"datasource": "DataSourceNoCloud", "errors": []}}"#.to_owned());
    });
    until(&watcher, Phase::Ready).await;
    let named = changes.wait_for(|readiness| readiness.hostname.is_some()).await.unwrap().clone();
    assert_eq!(named.hostname.as_deref(), Some("test-system"));
    watcher.signal(Signal::Gone("it was shut down".to_owned()));
    assert_eq!(until(&watcher, Phase::Stopped).await.message, "it was shut down");
}

#[tokio::test]
async fn a_failed_module_comes_with_its_log_line() {
    let (fake, watcher) = start(ALL);
    fake.set(|answers| {
        answers.up = true;
        let failed =
            r#"{"v1": {"stage": null, "modules-config": {"errors": ["('locale', Boom())"], "finished": 1}}}"#;
        answers.files.insert(STATUS, failed.to_owned());
        answers
            .files
            .insert(RESULT, r#"{"v1": {"datasource": "DataSourceNoCloud", "errors": ["x"]}}"#.to_owned());
        answers
            .programs
            .insert("grep", "1 - util.py[WARNING]: Running module locale (x) failed\n".to_owned());
    });
    until(&watcher, Phase::Failed).await;
    let mut changes = watcher.subscribe();
    let told =
        |readiness: &Readiness| readiness.failure.as_ref().is_some_and(|failure| failure.log_line.is_some());
    let failure = changes.wait_for(told).await.unwrap().failure.clone().unwrap();
    assert_eq!(failure.module, "locale");
    assert!(failure.log_line.unwrap().contains("Running module locale"));
}

#[tokio::test]
async fn an_agent_that_may_not_read_files_is_asked_by_programs_and_one_that_may_nothing_is_told() {
    let (fake, watcher) = start(ALL);
    fake.set(|answers| {
        answers.up = true;
        answers.no_files = true;
        let done = r#"{"status": "done", "detail": "DataSourceNoCloud", "errors": []}"#;
        answers.programs.insert("cloud-init", done.to_owned());
    });
    until(&watcher, Phase::Ready).await;
    let (fake, watcher) = start(ALL);
    fake.set(|answers| (answers.up, answers.no_files, answers.no_programs) = (true, true, true));
    let readiness = until(&watcher, Phase::Ready).await;
    assert!(readiness.notes.iter().any(|note| note.contains("cannot be followed")), "{:?}", readiness.notes);
}

#[tokio::test]
async fn without_cloud_init_the_system_itself_is_waited_for() {
    let (fake, watcher) = start(Sight { seed: false, ..ALL });
    fake.set(|answers| {
        answers.up = true;
        answers.programs.insert("systemctl", "starting\n".to_owned());
    });
    let mut changes = watcher.subscribe();
    changes.wait_for(|readiness| readiness.message.contains("its system is starting")).await.unwrap();
    fake.set(|answers| {
        answers.programs.insert("systemctl", "running\n".to_owned());
    });
    assert_eq!(
        until(&watcher, Phase::Ready).await.message,
        "its system is up (running); it has no cloud-init"
    );
}
