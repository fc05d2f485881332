//! `identity log`.

use clap::{Args, Subcommand};
use lodge_client::api::{IdentityAct, IdentityLogQuery, InsideState};

use crate::failure::{Failure, What};
use crate::output::local_time;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// What became of identities: each clone, template and reset, item by item
    Log(Log),
}

#[derive(Debug, Args)]
pub struct Log {
    /// Of this machine only, by name or UUID
    #[arg(value_name = "DOMAIN")]
    domain: Option<String>,
}

impl Verb {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            Self::Log(Log { domain }) => {
                let query = IdentityLogQuery { machine: domain };
                let acts = session.client().await?.identity_log(&query).await;
                let acts = acts.what(|| "Failed to read what became of identities".to_owned())?;
                session.show(&acts, |acts| acts.iter().map(entry).collect::<Vec<_>>().join("\n"));
                Ok(())
            }
        }
    }
}

/// One act, a line per item.
fn entry(act: &IdentityAct) -> String {
    let of = if act.source.is_empty() { String::new() } else { format!(" of '{}'", act.source) };
    let inside = match act.inside {
        InsideState::Reset => "",
        InsideState::Kept => " (inside left as it was)",
        InsideState::NotReset => " (inside NOT changed)",
    };
    let time = local_time(act.time_ms);
    let mut text = format!("{time}  {} '{}'{of} by {}{inside}\n", act.act, act.name, act.caller);
    for change in &act.changes {
        let place = if change.place.is_empty() { String::new() } else { format!(" {}", change.place) };
        let new = if change.new.is_empty() { "(none)" } else { &change.new };
        let old = if change.old.is_empty() { "(none)" } else { &change.old };
        text += &format!("    {}{place}: {old} -> {new}  [{}]\n", change.item, change.verified);
    }
    for warning in &act.warnings {
        text += &format!("    warning: {warning}\n");
    }
    text.chars().map(|letter| if letter.is_control() && letter != '\n' { '?' } else { letter }).collect()
}
