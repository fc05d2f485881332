//! `event`: what changes on the host, as it changes.

use clap::Args;
use lodge_client::api::Event as Change;

use crate::args::Format;
use crate::failure::{Failure, What};
use crate::output;
use crate::output::local_time;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Event {
    /// First those after this number that are still kept [default: new ones only]
    #[arg(long, value_name = "NUMBER")]
    since: Option<u64>,
    /// End after so many events
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

impl Event {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let mut events = client.events(self.since).await.what(|| "Failed to follow events".to_owned())?;
        let mut left = self.count;
        while left != Some(0) {
            let next = tokio::select! {
                next = events.next() => next,
                _ = tokio::signal::ctrl_c() => None,
            };
            let Some(event) = next else { break };
            output::print(&line(&event?, session.format()));
            left = left.map(|left| left - 1);
        }
        Ok(())
    }
}

/// One line each, JSON too: readers take lines.
fn line(event: &Change, format: Format) -> String {
    match format {
        Format::Json => serde_json::to_string(event).expect("the API's documents are JSON") + "\n",
        Format::Table => {
            let data = if event.data.is_null() { String::new() } else { format!("  {}", event.data) };
            format!(
                "{}  {:>6}  {:24} {}{data}\n",
                local_time(event.time_ms),
                event.seq,
                event.kind,
                event.subject
            )
        }
    }
}
