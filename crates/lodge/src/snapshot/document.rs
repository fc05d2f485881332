//! `snapshot-dumpxml snapshot-current snapshot-edit`: a snapshot's document.

use clap::Args;
use lodge_client::api::{SnapshotCreate, SnapshotDelete, SnapshotXmlOptions};

use super::Which;
use super::list::resolve;
use crate::domain::Document;
use crate::failure::{Failure, What, invalid};
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Dumpxml {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// snapshot name
    #[arg(value_name = "snapshotname")]
    snapshotname: String,
    /// include security sensitive information in XML dump
    #[arg(long)]
    security_info: bool,
}

impl Dumpxml {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let options = SnapshotXmlOptions { security_info: self.security_info };
        let xml = client.snapshot_xml(&self.domain, &self.snapshotname, &options).await;
        let xml = xml.what(|| format!("Failed to read snapshot '{}'", self.snapshotname))?;
        session.show(&xml, String::clone);
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Current {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// name of existing snapshot to make current
    #[arg(value_name = "snapshotname")]
    snapshotname: Option<String>,
    /// list the name, rather than the full xml
    #[arg(long)]
    name: bool,
    /// include security sensitive information in XML dump
    #[arg(long)]
    security_info: bool,
}

impl Current {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        if let Some(name) = &self.snapshotname {
            let secrets = SnapshotXmlOptions { security_info: true };
            let failed = || format!("Failed to make snapshot '{name}' the current one");
            let xml = client.snapshot_xml(&self.domain, name, &secrets).await.what(failed)?;
            let options = SnapshotCreate { redefine: true, current: true, ..SnapshotCreate::default() };
            let view = client.create_snapshot(&self.domain, &xml, &options).await.what(failed)?;
            session.done(&view, |view| format!("Snapshot {} set as current\n", view.name));
            return Ok(());
        }
        let which = Which { domain: self.domain.clone(), snapshotname: None, current: true };
        let name = resolve(&which, session).await?;
        if self.name {
            session.show(&name, |name| format!("{name}\n"));
            return Ok(());
        }
        let options = SnapshotXmlOptions { security_info: self.security_info };
        let client = session.client().await?;
        let xml = client.snapshot_xml(&self.domain, &name, &options).await;
        let xml = xml.what(|| format!("Failed to read snapshot '{name}'"))?;
        session.show(&xml, String::clone);
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Edit {
    #[command(flatten)]
    which: Which,
    /// allow renaming an existing snapshot
    #[arg(long)]
    rename: bool,
    /// allow cloning to new name
    #[arg(long)]
    clone: bool,
}

impl Edit {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        if self.rename && self.clone {
            return Err(invalid("Options --rename and --clone are mutually exclusive"));
        }
        let name = match (&self.which.snapshotname, self.which.current) {
            // virsh: `--current` beside a name makes that one the current one.
            (Some(name), _) => name.clone(),
            (None, _) => resolve(&self.which, session).await?,
        };
        let dom = &self.which.domain;
        let client = session.client().await?;
        let failed = || format!("Failed to edit snapshot '{name}'");
        let secrets = SnapshotXmlOptions { security_info: true };
        let before = client.snapshot_xml(dom, &name, &secrets).await.what(failed)?;
        let was_current = client.snapshot(dom, &name).await.what(failed)?.current;
        let current = was_current || (self.which.current && self.which.snapshotname.is_some());
        let document = Document { subject: format!("Snapshot {name}"), name: &name, text: &before };
        let options = SnapshotCreate { redefine: true, current, ..SnapshotCreate::default() };
        let define = async |text: &str| {
            self.refuse_other_name(text, &name)?;
            client.create_snapshot(dom, text, &options).await.what(failed)
        };
        let Some(view) = document.edit(session, current != was_current, define).await? else {
            return Ok(());
        };
        if view.name == name {
            session.say(&format!("Snapshot {name} edited.\n"));
            return Ok(());
        }
        if self.rename {
            let metadata = SnapshotDelete { metadata: true, ..SnapshotDelete::default() };
            let removed = client.delete_snapshot(dom, &name, &metadata).await;
            removed.what(|| format!("Failed to clean up {name}"))?;
        }
        let how = if self.rename { "renamed" } else { "cloned" };
        session.say(&format!("Snapshot {name} {how} to {}.\n", view.name));
        Ok(())
    }

    fn refuse_other_name(&self, text: &str, name: &str) -> Result<(), Failure> {
        if self.rename || self.clone {
            return Ok(());
        }
        let read = lodge_model::snapshot::DomainSnapshot::parse_redefinition(text, false);
        // What is no snapshot at all the daemon says, with its place.
        match read {
            Ok(snapshot) if snapshot.name() != name => {
                Err(invalid(format!("must use --rename or --clone to change {name} to {}", snapshot.name())))
            }
            _ => Ok(()),
        }
    }
}
