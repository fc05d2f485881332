//! Progress for what takes longer than a second: a bar where a share is known, a spinner where not.
//!
//! Only a person at a terminal sees it, on standard error; nothing of it is left when the act ends.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lodge_client::Client;
use lodge_client::api::{ErrorKind, Job};

use crate::failure::Failure;
use crate::session::Session;

/// A bar's fine steps.
const STEPS: f64 = 1000.0;

/// An act without a known share.
pub struct Spinner(ProgressBar);

impl Spinner {
    /// Shows `text` from now on, with the time it takes.
    pub fn start(session: &Session, text: &str) -> Self {
        let bar = bar(session, None, "{spinner} {msg} {elapsed:>5}");
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// Says something else.
    pub fn say(&self, text: String) {
        self.0.set_message(text);
    }

    /// Leaves no trace.
    pub fn stop(&self) {
        self.0.finish_and_clear();
    }
}

fn bar(session: &Session, length: Option<u64>, template: &str) -> ProgressBar {
    let target =
        if session.shows_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    ProgressBar::with_draw_target(length, target).with_style(style(template))
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

/// Follows a job to its end; ^C leaves it running and says how to come back to it.
pub async fn follow(client: &Client, id: u64, session: &Session) -> Result<Job, Failure> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
    let steps = |share: f64| (share.clamp(0.0, 1.0) * STEPS) as u64;
    let bar = bar(session, Some(steps(1.0)), "{spinner} {msg} {elapsed:>5}");
    bar.enable_steady_tick(Duration::from_millis(120));
    let show = |job: &Job| {
        if let Some(share) = job.progress {
            bar.set_style(style("{spinner} {msg} [{bar:30}] {percent:>3}% {elapsed:>5}"));
            bar.set_position(steps(share));
        }
        bar.set_message(told(job));
    };
    tokio::select! {
        ended = client.follow_job(id, show) => {
            bar.finish_and_clear();
            Ok(ended?)
        }
        _ = tokio::signal::ctrl_c() => {
            bar.finish_and_clear();
            let left = Failure::new(ErrorKind::Conflict, format!("left job {id} running"));
            Err(left.hint(format!("`lodge job wait {id}` comes back to it, `lodge job cancel {id}` stops it")))
        }
    }
}

/// Where a job is, in a few words.
pub fn told(job: &Job) -> String {
    let parts = [job.phase.as_str(), job.message.as_str()];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let all = if parts.is_empty() { format!("{} {}", job.kind, job.subject) } else { parts.join(": ") };
    all.chars().take(90).collect()
}
