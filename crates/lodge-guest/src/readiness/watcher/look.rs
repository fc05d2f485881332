//! One look into a guest through its agent: what is asked depends on what is known and wanted.

use std::sync::Arc;
use std::time::Duration;

use super::super::cloud_init::{self, Records, Report, Verdict};
use super::super::{Event, Guest, GuestError, Machine, Phase};

/// What earlier looks found out about the guest, and about what its agent may.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The agent itself told addresses: from now on it is asked, not the leases.
    pub(super) addresses: bool,
    /// The agent reads no files for us.
    no_files: bool,
    /// The agent runs no programs for us.
    no_programs: bool,
    /// The failure whose log line was looked for.
    logged: Option<String>,
}

/// What the machine wants to know next.
#[derive(Debug, Clone)]
pub(super) struct Want {
    seed: bool,
    nics: bool,
    /// It is through: only addresses are of interest.
    settled: bool,
    /// Has the agent answered before?
    agent: bool,
    /// How long to wait for an answer, at this guest's speed.
    patience: Duration,
}

impl Want {
    pub(super) fn of(machine: &Machine) -> Self {
        let readiness = machine.readiness();
        Self {
            seed: machine.sight().seed,
            nics: machine.sight().nics,
            settled: readiness.phase == Phase::Ready && readiness.agent,
            agent: readiness.agent,
            patience: Duration::from_secs_f64((2.0 * readiness.speed).clamp(3.0, 30.0)),
        }
    }
}

const STATUS: &str = "/run/cloud-init/status.json";
const RESULT: &str = "/run/cloud-init/result.json";
const ENABLED: &str = "/run/cloud-init/enabled";
const DISABLED: &str = "/run/cloud-init/disabled";
const DS_IDENTIFY: &str = "/run/cloud-init/ds-identify.log";
const CONFIG: &str = "/etc/cloud/cloud.cfg";
const LOG: &str = "/var/log/cloud-init.log";
const OUTPUT: &str = "/var/log/cloud-init-output.log";

const RECORD_MAX_BYTES: usize = 256 << 10;
const LOG_MAX_BYTES: usize = 4 << 20;

/// Looks once. What it found comes as events, in their order.
pub(super) async fn look(guest: Arc<dyn Guest>, known: Known, want: Want) -> (Vec<Event>, Known) {
    let mut look = Look { guest, known, want, events: Vec::new() };
    // An agent that falls silent in the midst of it: the next look goes on from there.
    let _ = look.all().await;
    (look.events, look.known)
}

struct Look {
    guest: Arc<dyn Guest>,
    known: Known,
    want: Want,
    events: Vec<Event>,
}

impl Look {
    async fn all(&mut self) -> Result<(), GuestError> {
        if !self.want.agent || self.want.settled {
            self.guest.ping(self.want.patience).await?;
        }
        self.events.push(Event::AgentAnswered);
        self.addresses().await?;
        if self.want.settled {
            return Ok(());
        }
        self.inside().await?;
        let through = self.events.iter().any(|event| match event {
            Event::CloudInit(report) => report.verdict != Verdict::Running,
            Event::System { up, .. } => *up,
            _ => false,
        });
        if through {
            // Older agents do not know the call.
            if let Ok(name) = self.guest.hostname(self.want.patience).await {
                let name: String = name.chars().take(253).filter(|c| !c.is_control()).collect();
                self.events.push(Event::Hostname(name));
            }
        }
        Ok(())
    }

    async fn addresses(&mut self) -> Result<(), GuestError> {
        if !self.want.nics {
            return Ok(());
        }
        match self.guest.addresses(self.want.patience).await {
            Ok(addresses) if !addresses.is_empty() => {
                self.known.addresses = true;
                self.events.push(Event::Addresses(addresses));
                Ok(())
            }
            Ok(_) | Err(GuestError::Forbidden { .. } | GuestError::Failed { .. }) => Ok(()),
            Err(GuestError::Silent) => Err(GuestError::Silent),
        }
    }

    /// cloud-init's records, and where there is no cloud-init the system's own word.
    async fn inside(&mut self) -> Result<(), GuestError> {
        match self.cloud_init().await? {
            CloudInit::Says(report) => {
                let failed = match &report.verdict {
                    Verdict::Failed(failure) => Some(failure.module.clone()),
                    Verdict::Running | Verdict::Done => None,
                };
                self.events.push(Event::CloudInit(report));
                if let Some(module) = failed {
                    self.log_line(module).await?;
                }
            }
            CloudInit::Absent => self.system().await?,
            CloudInit::Hidden => {
                let note =
                    "its agent may neither read files nor run programs: its cloud-init cannot be followed";
                self.events.push(Event::Note(note.to_owned()));
                self.events.push(Event::System { up: true, word: String::new() });
            }
        }
        Ok(())
    }

    async fn cloud_init(&mut self) -> Result<CloudInit, GuestError> {
        if self.known.no_files {
            return self.cloud_init_by_command().await;
        }
        let status = match self.file(STATUS, RECORD_MAX_BYTES).await {
            Err(GuestError::Forbidden { .. }) => {
                self.known.no_files = true;
                return self.cloud_init_by_command().await;
            }
            status => status?,
        };
        let Some(status) = status else { return self.before_cloud_init().await };
        let result = self.file(RESULT, RECORD_MAX_BYTES).await?;
        let output =
            if result.is_none() { self.program("tail", &["-c", "2048", OUTPUT]).await? } else { None };
        let records = Records {
            status: Some(&status),
            result: result.as_deref(),
            output: output.as_deref(),
            seed: self.want.seed,
        };
        Ok(CloudInit::Says(Box::new(cloud_init::digest(&records))))
    }

    /// No records: it has not begun, is switched off, or is not there. systemd's generator tells before any unit
    /// runs (`cloud-init-generator`); without systemd the configuration is all there is to see.
    async fn before_cloud_init(&mut self) -> Result<CloudInit, GuestError> {
        if self.file(ENABLED, 64).await?.is_some() {
            return Ok(CloudInit::Says(Box::new(cloud_init::not_begun())));
        }
        if self.file(DISABLED, 64).await?.is_some() {
            let absent = CloudInit::Absent;
            return Ok(if self.want.seed {
                CloudInit::Says(Box::new(cloud_init::switched_off()))
            } else {
                absent
            });
        }
        let is_installed = self.file(CONFIG, RECORD_MAX_BYTES).await?.is_some();
        Ok(if is_installed { CloudInit::Says(Box::new(cloud_init::not_begun())) } else { CloudInit::Absent })
    }

    async fn cloud_init_by_command(&mut self) -> Result<CloudInit, GuestError> {
        let Some(output) = self.program("cloud-init", &["status", "--format", "json"]).await? else {
            // It may run programs, but this one is not there.
            return Ok(if self.known.no_programs { CloudInit::Hidden } else { CloudInit::Absent });
        };
        let report: Option<Report> = cloud_init::digest_command(&output, self.want.seed);
        Ok(report.map_or(CloudInit::Absent, |report| CloudInit::Says(Box::new(report))))
    }

    async fn system(&mut self) -> Result<(), GuestError> {
        let output = self.program("systemctl", &["is-system-running"]).await?.unwrap_or_default();
        let word: String = String::from_utf8_lossy(&output).trim().chars().take(32).collect();
        let up = !matches!(word.as_str(), "initializing" | "starting");
        let word = if word.chars().all(|c| c.is_ascii_lowercase()) { word } else { String::new() };
        if self.known.no_programs {
            let note = "its agent runs no programs: whether its system is fully up cannot be seen";
            self.events.push(Event::Note(note.to_owned()));
        }
        if word == "degraded"
            && let Some(units) =
                self.program("systemctl", &["list-units", "--failed", "--plain", "--no-legend"]).await?
        {
            let units = String::from_utf8_lossy(&units);
            let names: Vec<String> = units
                .lines()
                .filter_map(|line| line.split_whitespace().next())
                .take(10)
                .map(|name| name.chars().take(80).flat_map(char::escape_debug).collect())
                .collect();
            self.events.push(Event::Note(format!("units that failed in it: {}", names.join(", "))));
        }
        self.events.push(Event::System { up, word });
        Ok(())
    }

    /// The log's line for a failure, once per failure.
    async fn log_line(&mut self, module: String) -> Result<(), GuestError> {
        if self.known.logged.as_ref() == Some(&module) {
            return Ok(());
        }
        let line = if module == "datasource" {
            let log = self.file(DS_IDENTIFY, RECORD_MAX_BYTES).await.unwrap_or_default().unwrap_or_default();
            cloud_init::ds_identify_line(&log)
        } else {
            // With what follows each line: a trace back may.
            let bad = r"\[(WARNING|ERROR|CRITICAL)\]|(WARNING|ERROR|CRITICAL)\]:";
            let found = self.program("grep", &["-a", "-E", "-m", "40", "-A", "60", bad, LOG]).await?;
            let log = match found {
                Some(found) if !found.is_empty() => found,
                _ => self.file(LOG, LOG_MAX_BYTES).await.unwrap_or_default().unwrap_or_default(),
            };
            let line = cloud_init::log_line(&log, &module);
            let words =
                if cloud_init::is_packages(&module) { self.package_manager_line().await? } else { None };
            match (words, line) {
                (Some(words), Some(line)) => Some(format!("{words} | {line}")),
                (words, line) => words.or(line),
            }
        };
        self.known.logged = Some(module);
        self.events.extend(line.map(Event::LogLine));
        Ok(())
    }

    async fn package_manager_line(&mut self) -> Result<Option<String>, GuestError> {
        let output = self.program("grep", &["-a", "-E", "-m", "5", "^(E|Error): ", OUTPUT]).await?;
        let output = match output {
            Some(output) if !output.is_empty() => output,
            _ => self.file(OUTPUT, LOG_MAX_BYTES).await?.unwrap_or_default(),
        };
        Ok(cloud_init::package_manager_line(&output))
    }

    /// A file's content. `None`: it is not there, or is not to be had this time.
    async fn file(&self, path: &str, longest: usize) -> Result<Option<Vec<u8>>, GuestError> {
        match self.guest.read_file(path, longest, self.want.patience).await {
            Err(GuestError::Failed { reason }) => {
                tracing::debug!(path, reason, "file of a guest not read");
                Ok(None)
            }
            other => other,
        }
    }

    /// A program's output. `None`: it is not there, or no programs are run.
    async fn program(&mut self, program: &str, args: &[&str]) -> Result<Option<Vec<u8>>, GuestError> {
        if self.known.no_programs {
            return Ok(None);
        }
        match self.guest.run(program, args, self.want.patience).await {
            Ok(output) => Ok(Some(output)),
            Err(GuestError::Forbidden { .. }) => {
                self.known.no_programs = true;
                Ok(None)
            }
            Err(GuestError::Failed { .. }) => Ok(None),
            Err(GuestError::Silent) => Err(GuestError::Silent),
        }
    }
}

/// What can be known of a guest's cloud-init.
enum CloudInit {
    /// Its records say this.
    Says(Box<Report>),
    /// It is not there, or switched off for good.
    Absent,
    /// The agent may not look.
    Hidden,
}
