//! `save restore managedsave managedsave-remove`: memory to a file and back.

use std::path::{Path, PathBuf};

use clap::Args;
use lodge_client::api::{ManagedSaveOptions, RestoreOptions, SaveOptions};

use crate::failure::{Failure, What, invalid};
use crate::instance::progress::Spinner;
use crate::session::Session;

use super::edit::read_file;

#[derive(Debug, Args)]
pub struct Save {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// where to save the data
    #[arg(value_name = "file")]
    file: PathBuf,
    /// avoid file system cache when saving
    #[arg(long)]
    bypass_cache: bool,
    /// filename containing updated XML for the target
    #[arg(long, value_name = "string")]
    xml: Option<PathBuf>,
    /// set domain to be running on restore
    #[arg(long)]
    running: bool,
    /// set domain to be paused on restore
    #[arg(long)]
    paused: bool,
    /// display the progress of save
    #[arg(long)]
    verbose: bool,
}

impl Save {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        exclusive(self.running, self.paused)?;
        let (dom, file) = (&self.domain, absolute(&self.file)?);
        let options = SaveOptions {
            file: file.clone(),
            paused: self.paused,
            running: self.running,
            bypass_cache: self.bypass_cache,
            xml: self.xml.as_deref().map(read_file).transpose()?,
        };
        let client = session.client().await?;
        let spinner = Spinner::start(session, &format!("Saving {dom}"));
        let saved = client.save_domain(dom, &options).await;
        spinner.stop();
        let shown = self.file.display();
        let saved = saved.on_domain(dom, "save").map_err(|failure| failure.further(&format!("to {shown}")));
        session.done(&saved?, |view| format!("\nDomain '{}' saved to {shown}\n", view.name));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Restore {
    /// the state to restore
    #[arg(value_name = "file")]
    file: PathBuf,
    /// avoid file system cache when restoring
    #[arg(long)]
    bypass_cache: bool,
    /// filename containing updated XML for the target
    #[arg(long, value_name = "string")]
    xml: Option<PathBuf>,
    /// restore domain into running state
    #[arg(long)]
    running: bool,
    /// restore domain into paused state
    #[arg(long)]
    paused: bool,
}

impl Restore {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        exclusive(self.running, self.paused)?;
        let (shown, file) = (self.file.display(), absolute(&self.file)?);
        let options = RestoreOptions {
            file,
            paused: self.paused,
            running: self.running,
            bypass_cache: self.bypass_cache,
            xml: self.xml.as_deref().map(read_file).transpose()?,
        };
        let client = session.client().await?;
        let spinner = Spinner::start(session, &format!("Restoring from {shown}"));
        let restored = client.restore_domain(&options).await;
        spinner.stop();
        let view = restored.what(|| format!("Failed to restore domain from {shown}"))?;
        session.done(&view, |_| format!("Domain restored from {shown}\n"));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct ManagedSave {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// avoid file system cache when saving
    #[arg(long)]
    bypass_cache: bool,
    /// set domain to be running on next start
    #[arg(long)]
    running: bool,
    /// set domain to be paused on next start
    #[arg(long)]
    paused: bool,
    /// display the progress of save
    #[arg(long)]
    verbose: bool,
}

impl ManagedSave {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        exclusive(self.running, self.paused)?;
        let (client, dom) = (session.client().await?, &self.domain);
        let options = ManagedSaveOptions {
            paused: self.paused,
            running: self.running,
            bypass_cache: self.bypass_cache,
        };
        let spinner = Spinner::start(session, &format!("Saving {dom}"));
        let saved = client.managed_save(dom, &options).await.on_domain(dom, "save");
        spinner.stop();
        session.done(&saved?, |view| format!("\nDomain '{}' state saved by libvirt\n", view.name));
        Ok(())
    }
}

pub async fn remove_managed(dom: &str, session: &mut Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let before = client.domain(dom).await.on_domain(dom, "")?;
    if !before.managed_save {
        session.done(&before, |view| {
            format!("Domain '{}' has no manage save image; removal skipped", view.name)
        });
        return Ok(());
    }
    let view = client.remove_managed_save(dom).await;
    let view = view.what(|| format!("Failed to remove managed save image for domain '{}'", before.name))?;
    session.done(&view, |view| format!("Removed managedsave image for domain '{}'", view.name));
    Ok(())
}

fn exclusive(running: bool, paused: bool) -> Result<(), Failure> {
    if running && paused {
        return Err(invalid("Options --paused and --running are mutually exclusive"));
    }
    Ok(())
}

/// The daemon has another working directory.
fn absolute(file: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(file)
        .map_err(|error| invalid(format!("`{}` is no path", file.display())).because(error))?;
    path.into_os_string().into_string().map_err(|_| invalid("the file's path is not UTF-8"))
}
