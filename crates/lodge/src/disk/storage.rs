//! `storage doctor usage needs`.

use clap::{Args, Subcommand};
use lodge_client::api::{DoctorQuery, FindingView, GrowthView, NeedView, RepairOptions, UsageView};

use crate::failure::{Failure, What};
use crate::output::{field, local_time, size};
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub enum Noun {
    /// Find files that nobody owns, that are broken, missing, moved, or left over; say why; offer the repair
    Doctor(Doctor),
    /// Both sizes of each disk of a pool, how fast it grows, and the day the pool will be full
    Usage(Usage),
    /// Who needs a file, and what to do so that it is needed no more
    Needs(Needs),
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Read every qcow2 that nobody has, for lost clusters and damage
    #[arg(long)]
    deep: bool,
    /// The finding to repair; without --apply it is only said what would be done
    #[arg(long, value_name = "ID")]
    repair: Option<String>,
    /// Only say what a repair would do; so it is without --apply
    #[arg(long, requires = "repair", conflicts_with = "apply")]
    dry_run: bool,
    /// Do the repair
    #[arg(long, requires = "repair")]
    apply: bool,
}

#[derive(Debug, Args)]
pub struct Usage {
    /// The pool's name or UUID
    #[arg(value_name = "POOL", default_value = "default")]
    pool: String,
}

#[derive(Debug, Args)]
pub struct Needs {
    /// The file's path on the daemon's host
    #[arg(value_name = "FILE")]
    path: String,
}

impl Noun {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            Self::Doctor(verb) => verb.run(session).await,
            Self::Usage(Usage { pool }) => {
                let view = session.client().await?.pool_usage(&pool).await;
                let view = view.what(|| format!("failed to look at pool '{pool}'"))?;
                session.show(&view, |view| usage(view, session));
                Ok(())
            }
            Self::Needs(Needs { path }) => {
                let needs = session.client().await?.needs(&path).await;
                let needs = needs.what(|| format!("failed to look at '{path}'"))?;
                session.show(&needs, |needs| needs_text(needs, session));
                Ok(())
            }
        }
    }
}

impl Doctor {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        if let Some(id) = &self.repair {
            let options = RepairOptions { apply: self.apply };
            let done = client.repair(id, &options).await.what(|| format!("failed to repair '{id}'"))?;
            session.show(&done, repair);
            return Ok(());
        }
        let found = client.doctor(&DoctorQuery { deep: self.deep }).await;
        let found = found.what(|| "failed to look at the storage".to_owned())?;
        session.show(&found, |found| findings(found));
        Ok(())
    }
}

fn repair(done: &FindingView) -> String {
    let what = match (done.repaired, done.safe) {
        (true, _) => "done",
        (false, true) => "would be done, with --apply",
        (false, false) => "is not done by itself",
    };
    format!("{} {}\n{}\n{what}: {}\n", done.kind, done.path, done.why, done.repair)
}

fn findings(found: &[FindingView]) -> String {
    if found.is_empty() {
        return "Nothing is wrong\n".to_owned();
    }
    let mut text = String::new();
    for finding in found {
        let how = if finding.safe {
            format!("lodge storage doctor --repair {} --apply ({})", finding.id, finding.repair)
        } else {
            finding.repair.clone()
        };
        text += &format!("{} ({})\n  {}\n  {how}\n", finding.path, finding.kind, finding.why);
    }
    text
}

pub(super) fn needs_text(needs: &[NeedView], session: &Session) -> String {
    if needs.is_empty() {
        return "Nobody needs it\n".to_owned();
    }
    let rows: Vec<_> = needs.iter().map(|need| vec![need.why.clone(), need.next.clone()]).collect();
    session.table(&["Why", "Next"], &rows)
}

fn usage(view: &UsageView, session: &Session) -> String {
    let mut text = String::new();
    field(&mut text, "Pool", &view.pool);
    field(&mut text, "Capacity", size(view.capacity_bytes));
    field(&mut text, "Used", size(view.allocation_bytes));
    field(&mut text, "Free", size(view.available_bytes));
    field(&mut text, "Promised", size(view.promised_bytes));
    field(&mut text, "Growth", per_day(view.growth));
    field(&mut text, "Full", full(view.growth));
    let rows: Vec<_> = view
        .disks
        .iter()
        .map(|disk| {
            let name = disk.path.rsplit('/').next().unwrap_or_default().to_owned();
            let owner = disk.needed_by.first().cloned().unwrap_or_else(|| "-".to_owned());
            vec![
                name,
                disk.format.clone(),
                size(disk.guest_bytes),
                size(disk.host_bytes),
                per_day(disk.growth),
                owner,
            ]
        })
        .collect();
    text + "\n" + &session.table(&["Disk", "Format", "Guest size", "Host size", "Growth", "Needed by"], &rows)
}

fn per_day(growth: GrowthView) -> String {
    match growth.bytes_per_day {
        None => "not known yet".to_owned(),
        Some(bytes) if bytes < 0 => format!("-{} a day", size(bytes.unsigned_abs())),
        Some(bytes) => format!("{} a day", size(bytes.unsigned_abs())),
    }
}

fn full(growth: GrowthView) -> String {
    growth.full_ms.map_or("not in sight".to_owned(), |full_ms| local_time(full_ms.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_finding_says_why_and_what_to_do() {
        let finding = |safe| FindingView {
            id: "leftover-00000001".to_owned(),
            kind: "leftover".to_owned(),
            path: "/p/.lodge-tmp.disk.1.1".to_owned(),
            why: "an act that made it was cut off".to_owned(),
            repair: "remove it".to_owned(),
            safe,
            repaired: false,
        };
        expect![[r"
            /p/.lodge-tmp.disk.1.1 (leftover)
              an act that made it was cut off
              lodge storage doctor --repair leftover-00000001 --apply (remove it)
        "]]
        .assert_eq(&findings(&[finding(true)]));
        assert_eq!(findings(&[]), "Nothing is wrong\n");
        assert!(repair(&finding(false)).contains("is not done by itself: remove it"));
    }
}
