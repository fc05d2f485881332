//! `identity audit`: all machines beside each other.

use clap::Args;
use lodge_client::api::{AuditReport, ErrorKind, IdentityAudit};

use super::book::plain;
use crate::failure::{Failure, What};
use crate::instance::progress;
use crate::output::duration;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Audit {
    /// Read every disk, also one that has not changed since it was read
    #[arg(long)]
    fresh: bool,
}

impl Audit {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let job = client.audit_identities(&IdentityAudit { fresh: self.fresh }).await;
        let job = job.what(|| "Failed to look at all machines".to_owned())?;
        let job = progress::follow(&client, job.id, session).await?;
        let report: AuditReport =
            serde_json::from_value(job.result.unwrap_or_default()).map_err(|error| {
                Failure::new(ErrorKind::Corrupt, "the job's result is no report of an audit").because(error)
            })?;
        session.warn(&report.gaps);
        session.show(&report, text);
        // The table is what was asked for: the exit code says that there is something in it.
        if report.duplicates.is_empty() { Ok(()) } else { Err(Failure::silent(1)) }
    }
}

fn text(report: &AuditReport) -> String {
    let mut rows = Vec::new();
    for duplicate in &report.duplicates {
        for (at, holder) in duplicate.holders.iter().enumerate() {
            let first = |text: &str| if at == 0 { text.to_owned() } else { String::new() };
            rows.push(vec![
                first(&duplicate.item),
                first(&duplicate.value),
                holder.subject.clone(),
                holder.place.clone(),
            ]);
        }
    }
    let mut text = String::new();
    if !rows.is_empty() {
        text = crate::output::table(&["Item", "Value", "Machine", "Place"], &rows, false);
        text.push('\n');
    }
    let found = match report.duplicates.len() {
        0 => "no two are known by the same".to_owned(),
        1 => "1 value is that of more than one".to_owned(),
        count => format!("{count} values are those of more than one"),
    };
    let (machines, cached) = (report.machines, report.cached);
    text += &format!(
        "{machines} machines ({cached} unchanged since the last look), {}: {found}\n",
        duration(report.took_ms)
    );
    plain(&text)
}
