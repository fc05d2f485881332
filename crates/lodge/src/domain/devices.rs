//! `domblklist` and `domiflist`.

use clap::Args;
use lodge_client::api::{ErrorKind, XmlOptions};

use crate::failure::{Failure, What};
use crate::output::or_dash;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Domblklist {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// get inactive rather than running configuration
    #[arg(long)]
    inactive: bool,
    /// additionally display the type and device value
    #[arg(long)]
    details: bool,
}

impl Domblklist {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let dom = &self.domain;
        only_the_present(dom, self.inactive, "domblklist", session).await?;
        let disks = session.client().await?.domain_blocks(dom).await.on_domain(dom, "")?;
        session.show(&disks, |disks| {
            let rows = disks.iter().map(|disk| {
                let short = [disk.target.clone(), or_dash(disk.source.as_ref())];
                let details = [disk.kind.clone(), disk.device.clone()];
                if self.details { details.into_iter().chain(short).collect() } else { short.to_vec() }
            });
            let heading: &[&str] =
                if self.details { &["Type", "Device", "Target", "Source"] } else { &["Target", "Source"] };
            session.table(heading, &rows.collect::<Vec<Vec<String>>>())
        });
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Domiflist {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// get inactive rather than running configuration
    #[arg(long)]
    inactive: bool,
}

impl Domiflist {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let dom = &self.domain;
        only_the_present(dom, self.inactive, "domiflist", session).await?;
        let nics = session.client().await?.domain_nics(dom).await.on_domain(dom, "")?;
        session.show(&nics, |nics| {
            let rows: Vec<Vec<String>> = nics
                .iter()
                .map(|nic| {
                    vec![
                        or_dash(nic.interface.as_ref()),
                        nic.kind.clone(),
                        or_dash(nic.source.as_ref()),
                        or_dash(nic.model.as_ref()),
                        nic.mac.clone(),
                    ]
                })
                .collect();
            session.table(&["Interface", "Type", "Source", "Model", "MAC"], &rows)
        });
        Ok(())
    }
}

/// `--inactive` is the same list where nothing differs; where something does, we do not have the other list yet.
async fn only_the_present(
    dom: &str,
    inactive: bool,
    verb: &str,
    session: &mut Session,
) -> Result<(), Failure> {
    if !inactive {
        return Ok(());
    }
    let client = session.client().await?;
    let view = client.domain(dom).await.on_domain(dom, "")?;
    if !view.state.is_active() || !view.changed {
        return Ok(());
    }
    let options = XmlOptions { inactive: true, ..XmlOptions::default() };
    client.domain_xml(dom, &options).await.on_domain(dom, "")?;
    Err(Failure::new(
        ErrorKind::Unsupported,
        format!("{verb} --inactive is not possible while the definition differs"),
    )
    .hint(format!("`lodge dumpxml --inactive {dom}` shows what the next start takes")))
}
