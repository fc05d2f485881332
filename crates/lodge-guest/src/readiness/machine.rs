//! The rules of readiness: what was seen, and when, leads to a verdict.
//!
//! Pure: no clock, no I/O. Times are milliseconds since 1970, handed in. The watcher is the one who feeds it.

mod time;

use std::net::IpAddr;

use super::cloud_init::{Report, Verdict};
use super::{CloudInit, Failure, Milestone, Phase, Readiness};

/// What can be seen of a guest at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Its document has a guest agent's channel.
    pub agent_channel: bool,
    /// It has nics whose addresses can be known (leases, or its agent).
    pub nics: bool,
    /// It was given a seed: its cloud-init must read it.
    pub seed: bool,
}

/// Something seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Its processors began to run, or it was reset.
    Started,
    /// Its addresses now.
    Addresses(Vec<IpAddr>),
    /// Its agent answered.
    AgentAnswered,
    /// The name it gives itself.
    Hostname(String),
    /// What its cloud-init's records say.
    CloudInit(Box<Report>),
    /// The log's line of a failure was looked up.
    LogLine(String),
    /// It runs no cloud-init, or none that is switched on; its system is up, or not yet, with systemd's word.
    System {
        /// It will not change any more.
        up: bool,
        /// `running`, `degraded`, `starting`, …; empty where it cannot be asked.
        word: String,
    },
    /// What is odd, or what cannot be looked at.
    Note(String),
    /// It was held: time does not count until it goes on.
    Held,
    /// It goes on.
    Released,
    /// It is gone, and why.
    Gone(String),
    /// Nothing, but time has passed.
    Tick,
}

/// The rules and what they led to.
#[derive(Debug, Clone)]
pub struct Machine {
    sight: Sight,
    readiness: Readiness,
    /// When something moved last.
    moved_ms: u64,
    /// When it was held.
    held_ms: Option<u64>,
    /// The last report's mark of progress.
    mark: u64,
}

/// How much slowness is granted: beyond it a guest is stuck for all practical purposes.
const SPEED_MAX: f64 = 50.0;

/// Notes kept.
const NOTES_MAX: usize = 32;

impl Machine {
    /// A guest that does not run yet. `speed`: how many times slower than a bare host it will run, at least 1.
    pub fn new(sight: Sight, speed: f64, now_ms: u64) -> Self {
        let readiness = Readiness {
            phase: Phase::Stopped,
            since_ms: now_ms,
            message: "it does not run".to_owned(),
            failure: None,
            timeline: Vec::new(),
            addresses: Vec::new(),
            hostname: None,
            agent: false,
            cloud_init: None,
            notes: Vec::new(),
            speed: if speed.is_finite() { speed.clamp(1.0, SPEED_MAX) } else { 1.0 },
            deadline_ms: None,
        };
        Self { sight, readiness, moved_ms: now_ms, held_ms: None, mark: 0 }
    }

    /// Where it stands.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// What can be seen of it.
    pub fn sight(&self) -> Sight {
        self.sight
    }

    /// Takes in what was seen at `now_ms`. `true`: the readiness changed.
    pub fn apply(&mut self, event: Event, now_ms: u64) -> bool {
        let before = self.readiness.clone();
        self.take_in(event, now_ms);
        self.judge_time(now_ms);
        self.readiness.deadline_ms = self.deadline();
        before != self.readiness
    }

    fn take_in(&mut self, event: Event, now_ms: u64) {
        let running = self.readiness.phase != Phase::Stopped;
        match event {
            Event::Started => self.start(now_ms),
            Event::Gone(reason) => {
                self.enter(Phase::Stopped, now_ms);
                self.readiness.message = reason;
                self.readiness.failure = None;
                self.readiness.agent = false;
                self.held_ms = None;
            }
            Event::Held if running => self.held_ms = self.held_ms.or(Some(now_ms)),
            Event::Released => {
                if let Some(held) = self.held_ms.take() {
                    self.moved_ms += now_ms.saturating_sub(held);
                }
            }
            Event::Addresses(addresses) if running => self.addresses(addresses, now_ms),
            Event::AgentAnswered if running => self.agent_answered(now_ms),
            Event::Hostname(name) if running => self.readiness.hostname = Some(name),
            Event::CloudInit(report) if running => self.cloud_init(*report, now_ms),
            Event::LogLine(line) if running => {
                if let Some(failure) = &mut self.readiness.failure {
                    failure.log_line = Some(line);
                }
            }
            Event::System { up, word } if running => self.system(up, &word, now_ms),
            Event::Note(note) if running => self.note(note),
            // What was seen of a guest that is gone by now.
            Event::Held
            | Event::Addresses(_)
            | Event::AgentAnswered
            | Event::Hostname(_)
            | Event::CloudInit(_)
            | Event::LogLine(_)
            | Event::System { .. }
            | Event::Note(_)
            | Event::Tick => {}
        }
    }

    fn start(&mut self, now_ms: u64) {
        if self.readiness.phase == Phase::Stopped {
            self.readiness.timeline.clear();
            self.readiness.notes.clear();
        }
        self.readiness.failure = None;
        self.readiness.agent = false;
        self.readiness.cloud_init = None;
        self.readiness.addresses.clear();
        self.mark = 0;
        self.held_ms = None;
        self.enter(Phase::Booting, now_ms);
        "waiting for a sign of the guest".clone_into(&mut self.readiness.message);
        if !self.sight.agent_channel && !self.sight.nics {
            // Nothing can be seen of it: that it runs is all there is to know.
            self.note(
                "it has neither a nic nor a guest agent's channel: only that it runs can be known".to_owned(),
            );
            self.enter(Phase::Ready, now_ms);
            "it runs".clone_into(&mut self.readiness.message);
        }
    }

    fn addresses(&mut self, addresses: Vec<IpAddr>, now_ms: u64) {
        if addresses.is_empty() || addresses == self.readiness.addresses {
            return;
        }
        let first = self.readiness.addresses.is_empty();
        self.readiness.addresses = addresses;
        if !first {
            return;
        }
        self.moved(now_ms);
        if self.reached() < Phase::Address {
            self.enter(Phase::Address, now_ms);
            if self.sight.agent_channel {
                "it has an address; waiting for its agent".clone_into(&mut self.readiness.message);
            } else {
                self.note("it has no guest agent's channel: what goes on inside cannot be seen".to_owned());
                self.enter(Phase::Ready, now_ms);
                "it has an address; more cannot be seen".clone_into(&mut self.readiness.message);
            }
        }
    }

    fn agent_answered(&mut self, now_ms: u64) {
        if self.readiness.agent {
            return;
        }
        self.readiness.agent = true;
        self.moved(now_ms);
        if self.reached() < Phase::Agent {
            self.enter(Phase::Agent, now_ms);
            "its agent answers; looking at its cloud-init".clone_into(&mut self.readiness.message);
        }
    }

    fn cloud_init(&mut self, report: Report, now_ms: u64) {
        let changed = self.mark != report.mark;
        self.mark = report.mark;
        if changed {
            self.moved(now_ms);
        }
        self.readiness.cloud_init = Some(CloudInit {
            stage: report.stage.clone(),
            datasource: report.datasource.clone(),
            failed: report.failed.clone(),
            recoverable: report.recoverable.clone(),
        });
        match report.verdict {
            Verdict::Running => {
                if self.is_stalled() && !changed {
                    return;
                }
                if self.readiness.phase != Phase::Ready {
                    self.readiness.failure = None;
                    self.enter(Phase::CloudInit, now_ms);
                    self.readiness.message = report.message;
                }
            }
            Verdict::Done => {
                self.readiness.failure = None;
                self.enter(Phase::Ready, now_ms);
                self.readiness.message = report.message;
                for complaint in report.recoverable {
                    self.note(format!("cloud-init: {complaint}"));
                }
                if self.sight.nics && self.readiness.addresses.is_empty() {
                    self.note("it has no address that is known here".to_owned());
                }
            }
            Verdict::Failed(failure) => {
                let known = self.readiness.failure.take().filter(|known| known.module == failure.module);
                let log_line = failure.log_line.clone().or(known.and_then(|known| known.log_line));
                self.enter(Phase::Failed, now_ms);
                self.readiness.message = report.message;
                self.readiness.failure = Some(Failure { log_line, ..failure });
            }
        }
    }

    fn system(&mut self, up: bool, word: &str, now_ms: u64) {
        if up && self.sight.seed {
            self.note("it was given a seed, but it has no cloud-init that would read it".to_owned());
        }
        if up {
            self.readiness.failure = None;
            self.enter(Phase::Ready, now_ms);
            self.readiness.message = match word {
                "" => "its agent answers; more cannot be seen".to_owned(),
                word => format!("its system is up ({word}); it has no cloud-init"),
            };
        } else if !self.is_stalled() && self.readiness.phase != Phase::Ready {
            self.enter(Phase::Agent, now_ms);
            self.readiness.message = format!("its system is {word}; it has no cloud-init");
        }
    }

    /// The furthest it came, whatever it is now.
    fn reached(&self) -> Phase {
        let gone_through = self.readiness.timeline.iter().rev().map(|milestone| milestone.phase);
        gone_through
            .take_while(|phase| *phase != Phase::Booting)
            .filter(|phase| *phase != Phase::Failed)
            .max()
            .unwrap_or(Phase::Booting)
    }

    fn is_stalled(&self) -> bool {
        self.readiness.failure.as_ref().is_some_and(|failure| failure.stalled)
    }

    /// Something moved: a stalled guest is on its way again.
    fn moved(&mut self, now_ms: u64) {
        self.moved_ms = now_ms;
        if self.is_stalled() {
            let reached = self.reached();
            self.readiness.failure = None;
            self.enter(reached, now_ms);
            "it moves again".clone_into(&mut self.readiness.message);
        }
    }

    fn enter(&mut self, phase: Phase, now_ms: u64) {
        if self.readiness.phase == phase && phase != Phase::Booting {
            return;
        }
        if let Some(last) = self.readiness.timeline.last_mut() {
            last.duration_ms = Some(now_ms.saturating_sub(last.entered_ms));
        }
        self.readiness.phase = phase;
        self.readiness.since_ms = now_ms;
        self.moved_ms = now_ms;
        // A guest that resets itself for ever must not fill the memory.
        const MILESTONES_MAX: usize = 64;
        if self.readiness.timeline.len() < MILESTONES_MAX {
            self.readiness.timeline.push(Milestone { phase, entered_ms: now_ms, duration_ms: None });
        }
    }

    fn note(&mut self, note: String) {
        if !self.readiness.notes.contains(&note) && self.readiness.notes.len() < NOTES_MAX {
            self.readiness.notes.push(note);
        }
    }
}

#[cfg(test)]
mod tests;
