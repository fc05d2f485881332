//! `pool-event secret-event`: virsh's waits for what happens, on the daemon's stream of events.

use std::time::Duration;

use clap::Args;
use lodge_client::api::Event;

use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

/// How it is waited.
#[derive(Debug, Args)]
pub struct Waiting {
    /// which event type to wait for
    #[arg(long, value_name = "string")]
    event: Option<String>,
    /// loop until timeout or interrupt, rather than one-shot
    #[arg(long)]
    r#loop: bool,
    /// timeout seconds
    #[arg(long, value_name = "number")]
    timeout: Option<u64>,
    /// list valid event types
    #[arg(long)]
    list: bool,
    /// show timestamp for each printed event
    #[arg(long)]
    timestamp: bool,
}

/// virsh's type of an event, and its word for what happened, if it has one.
type Told = (&'static str, Option<&'static str>);

/// The events of one sort of object.
pub struct Sort {
    /// Before the dot of the daemon's events: `pool`.
    pub object: &'static str,
    /// How virsh calls it: `storage pool`.
    pub called: &'static str,
    /// virsh's types of events.
    pub types: &'static [&'static str],
    /// The type of an event by the word after the dot, and how virsh says what happened, if it says more.
    pub of: fn(&str) -> Option<Told>,
}

impl Waiting {
    /// Waits. `only`: events of this subject.
    pub async fn run(self, sort: &Sort, only: Option<String>, session: &mut Session) -> Result<(), Failure> {
        if self.list {
            let types: Vec<_> = sort.types.iter().map(ToString::to_string).collect();
            session.show(&types, |types| output::lines(types.iter()));
            return Ok(());
        }
        let Some(wanted) = self.event.clone() else {
            return Err(invalid("either --list or --event <type> is required"));
        };
        if !sort.types.contains(&wanted.as_str()) {
            return Err(invalid(format!("unknown event type {wanted}")));
        }
        if self.timeout == Some(0) {
            return Err(invalid("Numeric value '0' for <timeout> option is malformed or out of range"));
        }
        let mut events =
            session.client().await?.events(None).await.what(|| "Failed to follow events".to_owned())?;
        let ends = tokio::time::sleep(self.timeout.map_or(Duration::MAX, Duration::from_secs));
        tokio::pin!(ends);
        let mut seen = 0_u64;
        loop {
            let next = tokio::select! {
                next = events.next() => next,
                () = &mut ends => {
                    session.say("event loop timed out\n");
                    break;
                }
                _ = tokio::signal::ctrl_c() => {
                    session.say("event loop interrupted\n");
                    break;
                }
            };
            let Some(event) = next else { break };
            let event = event?;
            if only.as_ref().is_some_and(|only| *only != event.subject) {
                continue;
            }
            let Some(line) = self.line(sort, &wanted, &event) else { continue };
            session.show(&event, |_| line);
            seen += 1;
            if !self.r#loop {
                break;
            }
        }
        session.say(&format!("events received: {seen}\n"));
        if seen == 0 { Err(Failure::silent(1)) } else { Ok(()) }
    }

    /// virsh's line of an event that is waited for.
    fn line(&self, sort: &Sort, wanted: &str, event: &Event) -> Option<String> {
        let word = event.kind.strip_prefix(sort.object)?.strip_prefix('.')?;
        let (kind, said) = (sort.of)(word)?;
        if kind != wanted {
            return None;
        }
        let when = if self.timestamp { output::local_time(event.time_ms) + ": " } else { String::new() };
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        Some(format!("{when}event '{kind}' for {} {}{said}\n", sort.called, event.subject))
    }
}

/// Pools' events.
pub const POOLS: Sort = Sort {
    object: "pool",
    called: "storage pool",
    types: &["lifecycle", "refresh"],
    of: |word| {
        Some(match word {
            "defined" => ("lifecycle", Some("Defined")),
            "undefined" => ("lifecycle", Some("Undefined")),
            "started" => ("lifecycle", Some("Started")),
            "stopped" => ("lifecycle", Some("Stopped")),
            "created" => ("lifecycle", Some("Created")),
            "deleted" => ("lifecycle", Some("Deleted")),
            "refreshed" => ("refresh", None),
            _ => return None,
        })
    },
};

/// Secrets' events.
pub const SECRETS: Sort = Sort {
    object: "secret",
    called: "secret",
    types: &["lifecycle", "value-changed"],
    of: |word| {
        Some(match word {
            "defined" => ("lifecycle", Some("Defined")),
            "undefined" => ("lifecycle", Some("Undefined")),
            "value-changed" => ("value-changed", None),
            _ => return None,
        })
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_virshs() {
        let event = |kind: &str| Event {
            seq: 1,
            time_ms: 0,
            kind: kind.to_owned(),
            subject: "p".to_owned(),
            data: serde_json::Value::Null,
        };
        let waiting = Waiting { event: None, r#loop: false, timeout: None, list: false, timestamp: false };
        let line = |wanted: &str, kind: &str| waiting.line(&POOLS, wanted, &event(kind));
        let started = line("lifecycle", "pool.started").unwrap();
        assert_eq!(started, "event 'lifecycle' for storage pool p: Started\n");
        assert_eq!(line("refresh", "pool.refreshed").unwrap(), "event 'refresh' for storage pool p\n");
        assert_eq!(line("lifecycle", "pool.refreshed"), None);
        assert_eq!(line("lifecycle", "domain.started"), None);
    }
}
