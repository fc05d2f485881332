//! `undefine`, and what would go with `--dry-run`.

use clap::Args;
use lodge_client::api::{UndefineOptions, UndefineReport};

use crate::failure::{Failure, What, invalid};
use crate::output::size;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Undefine {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// remove domain managed state file
    #[arg(long)]
    managed_save: bool,
    /// remove associated storage volumes (comma separated list of targets or source paths) (see domblklist)
    #[arg(long, value_name = "string")]
    storage: Option<String>,
    /// remove all associated storage volumes (use with caution)
    #[arg(long)]
    remove_all_storage: bool,
    /// remove all domain snapshot metadata (vm must be inactive)
    #[arg(long)]
    snapshots_metadata: bool,
    /// remove nvram file
    #[arg(long)]
    nvram: bool,
    /// keep nvram file
    #[arg(long)]
    keep_nvram: bool,
    /// remove TPM state
    #[arg(long)]
    tpm: bool,
    /// keep TPM state
    #[arg(long)]
    keep_tpm: bool,
    /// do nothing; list every file that would go
    #[arg(long)]
    dry_run: bool,
}

impl Undefine {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        if self.nvram && self.keep_nvram {
            return Err(invalid("Options --nvram and --keep-nvram are mutually exclusive"));
        }
        if self.tpm && self.keep_tpm {
            return Err(invalid("Options --tpm and --keep-tpm are mutually exclusive"));
        }
        let (client, dom) = (session.client().await?, &self.domain);
        if let Some(asked) = &self.storage {
            if self.remove_all_storage {
                return Err(invalid("Options --storage and --remove-all-storage are mutually exclusive"));
            }
            let disks = client.domain_blocks(dom).await.on_domain(dom, "")?;
            let names = |wanted: &str| {
                disks.iter().any(|disk| disk.target == wanted || disk.source.as_deref() == Some(wanted))
            };
            if let Some(unknown) = asked.split(',').find(|wanted| !names(wanted)) {
                return Err(invalid(format!("Volume '{unknown}' was not found in domain's definition.")));
            }
        }
        let options = UndefineOptions {
            nvram: self.nvram,
            keep_nvram: self.keep_nvram,
            tpm: self.tpm,
            keep_tpm: self.keep_tpm,
            managed_save: self.managed_save,
            snapshots_metadata: self.snapshots_metadata,
            remove_all_storage: self.remove_all_storage,
            storage: self.storage,
            dry_run: self.dry_run,
        };
        let report = client.undefine_domain(dom, &options).await.on_domain(dom, "undefine")?;
        if self.dry_run {
            session.show(&report, |report| would_go(report, session));
        } else {
            session.done(&report, undefined);
        }
        Ok(())
    }
}

/// A line per file, what stays and why included.
pub fn would_go(report: &UndefineReport, session: &Session) -> String {
    let rows: Vec<Vec<String>> = report
        .files
        .iter()
        .map(|file| {
            let fate = match &file.kept_because {
                Some(why) => format!("stays: {why}"),
                None if file.removed => "goes".to_owned(),
                None => "stays".to_owned(),
            };
            vec![fate, file.what.clone(), size(file.size_bytes), file.path.clone()]
        })
        .collect();
    session.table(&["Fate", "What", "Size", "Path"], &rows)
}

/// virsh's lines: a volume each, then the domain.
fn undefined(report: &UndefineReport) -> String {
    let mut text = format!("Domain '{}' has been undefined\n", report.domain);
    for file in report.files.iter().filter(|file| file.what.starts_with("disk ")) {
        let target = file.what.trim_start_matches("disk ");
        text += &match &file.kept_because {
            Some(why) => format!("Volume '{target}'({}) stays: {why}\n", file.path),
            None if file.removed => format!("Volume '{target}'({}) removed.\n", file.path),
            None => continue,
        };
    }
    text
}
