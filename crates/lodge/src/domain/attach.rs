//! `attach-device`, `detach-device`, `update-device`: devices given as libvirt's XML.

use std::path::PathBuf;

use clap::Args;
use lodge_client::api::DomainChange;

use super::edit::read_file;
use super::scope::{Lasting, change};
use crate::failure::Failure;
use crate::session::Session;

/// A domain, a file, and which of its documents.
#[derive(Debug, Args)]
pub struct Device {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// XML file
    #[arg(value_name = "file")]
    file: PathBuf,
    #[command(flatten)]
    lasting: Lasting,
}

#[derive(Debug, Args)]
pub struct Update {
    #[command(flatten)]
    device: Device,
    /// force device update
    #[arg(long)]
    force: bool,
}

/// `attach-device`.
pub async fn attach(device: Device, session: &mut Session) -> Result<(), Failure> {
    device.run("attach device from", "attached", |xml| DomainChange::AttachDevice { xml }, session).await
}

/// `detach-device`.
pub async fn detach(device: Device, session: &mut Session) -> Result<(), Failure> {
    device.run("detach device from", "detached", |xml| DomainChange::DetachDevice { xml }, session).await
}

/// `update-device`.
pub async fn update(update: Update, session: &mut Session) -> Result<(), Failure> {
    let force = update.force;
    let to = |xml| DomainChange::UpdateDevice { xml, force };
    update.device.run("update device from", "updated", to, session).await
}

impl Device {
    async fn run(
        self,
        act: &str,
        done: &str,
        to: impl FnOnce(String) -> DomainChange,
        session: &mut Session,
    ) -> Result<(), Failure> {
        let xml = read_file(&self.file)?;
        let client = session.client().await?;
        let scope = self.lasting.asked(&self.domain, &client).await?;
        let what = format!("Failed to {act} {}", self.file.display());
        let view = change(&client, &self.domain, scope, &to(xml), &what).await?;
        session.done(&view, |_| format!("Device {done} successfully\n"));
        Ok(())
    }
}
