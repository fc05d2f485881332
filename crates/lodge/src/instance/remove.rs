//! `rm`: a domain with all its files.

use clap::Args;
use lodge_client::api::InstanceRemoval;

use crate::domain::would_go;
use crate::failure::{Failure, What};
use crate::session::Session;

use super::access;

#[derive(Debug, Args)]
pub struct Rm {
    /// domain names, ids or uuids
    #[arg(value_name = "domain", required = true)]
    domains: Vec<String>,
    /// Although it runs: it is destroyed first
    #[arg(short, long)]
    force: bool,
    /// Do nothing; list every file that would go
    #[arg(long)]
    dry_run: bool,
}

impl Rm {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let removal = InstanceRemoval { force: self.force, dry_run: self.dry_run };
        for dom in &self.domains {
            let view = client.domain(dom).await.on_domain(dom, "")?;
            let report = client.remove_instance(dom, &removal).await.on_domain(&view.name, "remove")?;
            if self.dry_run {
                session.show(&report, |report| would_go(report, session));
            } else {
                access::forget(view.uuid);
                session
                    .done(&report, |report| format!("Domain '{}' removed with its files\n", report.domain));
            }
        }
        Ok(())
    }
}
