//! Waiting for a block job, with virsh's line of progress.
//!
//! The job is looked at now and then, as virsh does it: a job that is gone has ended, and the events say how.

use std::time::{Duration, Instant};

use lodge_client::Client;
use lodge_client::api::{BlockJobEnd, BlockJobView};

use super::job::ended_otherwise;
use crate::failure::{Failure, What};
use crate::output;

/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What is done when the job is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It is left so.
    Stay,
    /// The disk changes over.
    Pivot,
    /// The job is ended; the disk stays where it is.
    Quit,
}

/// What is awaited.
#[derive(Debug)]
pub struct Waiting {
    pub domain: String,
    pub disk: String,
    pub verbose: bool,
    pub timeout_s: Option<u64>,
    pub is_async: bool,
    pub after: After,
}

/// virsh's name of a job.
pub fn label(job: &BlockJobView) -> &'static str {
    match job.kind.as_str() {
        "pull" => "Block Pull",
        "copy" => "Block Copy",
        "commit" => "Block Commit",
        "active-commit" => "Active Block Commit",
        _ => "Unknown job",
    }
}

/// `Block commit: [ 42.00 %]`; never 100 before all is there.
pub fn progress(label: &str, job: &BlockJobView) -> String {
    let share = if job.all == 0 { 0.0 } else { job.done as f64 * 100.0 / job.all as f64 };
    let share = if job.done < job.all { share.min(99.99) } else { 100.0 };
    format!("{label}: [{share:5.2} %]")
}

/// Follows the job until it is ready or has ended, and then does what is to be done.
pub async fn follow(client: &Client, waiting: &Waiting, label: &str) -> Result<(), Failure> {
    let Waiting { domain: dom, disk, .. } = waiting;
    let begun = Instant::now();
    let (name, target) =
        (client.domain(dom).await.on_domain(dom, "")?.name, target_of(client, dom, disk).await?);
    let mut events = client.events(None).await.ok();
    loop {
        let Some(job) = client.block_job(dom, disk).await.on_domain(dom, "")? else { break };
        if waiting.verbose {
            output::complain(&format!("\r{}", progress(label, &job)));
        }
        if job.ready {
            return end(client, waiting).await;
        }
        if waiting.timeout_s.is_some_and(|limit| begun.elapsed() >= Duration::from_secs(limit)) {
            cancel(client, waiting).await?;
            return Err(ended_otherwise(label, "aborted: it took too long"));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => {
                cancel(client, waiting).await?;
                return Err(ended_otherwise(label, "aborted"));
            }
        }
    }
    if waiting.verbose {
        output::complain(&format!("\r{label}: [100.00 %]"));
    }
    let Some(events) = events.as_mut() else { return Ok(()) };
    // It was told before the job was gone.
    let told = async {
        while let Some(Ok(event)) = events.next().await {
            let detail = event.data.get("detail").and_then(serde_json::Value::as_str).unwrap_or_default();
            let is_it = event.kind == "domain.block_job" && event.subject == name;
            if is_it && detail.starts_with(&format!("{target} ")) && !detail.ends_with(" ready") {
                return Some(detail.to_owned());
            }
        }
        None
    };
    match tokio::time::timeout(Duration::from_secs(2), told).await {
        Ok(Some(detail)) if detail.contains(" failed") => {
            let why = detail.split_once(" failed").map_or("", |(_, why)| why);
            Err(ended_otherwise(label, &format!("failed{why}")))
        }
        Ok(Some(detail)) if detail.ends_with(" canceled") => Err(ended_otherwise(label, "aborted")),
        _ => Ok(()),
    }
}

async fn end(client: &Client, waiting: &Waiting) -> Result<(), Failure> {
    let pivot = match waiting.after {
        After::Stay => return Ok(()),
        After::Pivot => true,
        After::Quit => false,
    };
    let end = BlockJobEnd { pivot, is_async: waiting.is_async };
    let words = if pivot { "failed to pivot job for disk" } else { "failed to finish job for disk" };
    let (dom, disk) = (&waiting.domain, &waiting.disk);
    client.end_block_job(dom, disk, &end).await.what(|| format!("{words} {disk}"))
}

async fn cancel(client: &Client, waiting: &Waiting) -> Result<(), Failure> {
    let end = BlockJobEnd { pivot: false, is_async: waiting.is_async };
    let (dom, disk) = (&waiting.domain, &waiting.disk);
    client.end_block_job(dom, disk, &end).await.what(|| format!("failed to abort job for disk {disk}"))
}

async fn target_of(client: &Client, dom: &str, disk: &str) -> Result<String, Failure> {
    let disks = client.domain_blocks(dom).await.on_domain(dom, "")?;
    let found = disks.into_iter().find(|known| known.target == disk || known.source.as_deref() == Some(disk));
    Ok(found.map_or_else(|| disk.to_owned(), |found| found.target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_virshs() {
        let job = |done, all| BlockJobView {
            kind: "commit".to_owned(),
            bytes_per_second: 0,
            done,
            all,
            ready: false,
        };
        assert_eq!(progress("Block commit", &job(0, 7)), "Block commit: [ 0.00 %]");
        assert_eq!(progress("Block commit", &job(1, 3)), "Block commit: [33.33 %]");
        assert_eq!(progress("Block commit", &job(99_999_999, 100_000_000)), "Block commit: [99.99 %]");
        assert_eq!(progress("Block commit", &job(3, 3)), "Block commit: [100.00 %]");
    }
}
