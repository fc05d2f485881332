//! `dumpxml`, `define`, `create`: documents out and in.

use std::path::PathBuf;

use clap::Args;
use lodge_client::api::{DefineOptions, XmlOptions};

use crate::failure::{Failure, What};
use crate::output;
use crate::session::Session;

use super::edit::read_file;

#[derive(Debug, Args)]
pub struct Dumpxml {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// show inactive defined XML
    #[arg(long)]
    inactive: bool,
    /// include security sensitive information in XML dump
    #[arg(long)]
    security_info: bool,
    /// update guest CPU according to host CPU
    #[arg(long)]
    update_cpu: bool,
    /// provide XML suitable for migrations
    #[arg(long)]
    migratable: bool,
}

impl Dumpxml {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let options = XmlOptions {
            inactive: self.inactive,
            migratable: self.migratable,
            security_info: self.security_info,
            update_cpu: self.update_cpu,
        };
        let xml =
            session.client().await?.domain_xml(&self.domain, &options).await.on_domain(&self.domain, "")?;
        let end = if xml.ends_with('\n') { "" } else { "\n" };
        output::print(&format!("{xml}{end}"));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Define {
    /// file containing an XML domain description
    #[arg(value_name = "file")]
    file: PathBuf,
    /// validate the XML against the schema
    #[arg(long)]
    validate: bool,
}

impl Define {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (xml, file) = (read_file(&self.file)?, self.file.display());
        let options = DefineOptions { validate: self.validate, ..DefineOptions::default() };
        let view = session.client().await?.define_domain(&xml, &options).await;
        let view = view.what(|| format!("Failed to define domain from {file}"))?;
        session.warn(&view.warnings);
        session.done(&view, |view| format!("Domain '{}' defined from {file}\n", view.name));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Create {
    /// file containing an XML domain description
    #[arg(value_name = "file")]
    file: PathBuf,
    /// attach to console after creation
    #[arg(long)]
    console: bool,
    /// leave the guest paused after creation
    #[arg(long)]
    paused: bool,
    /// automatically destroy the guest when virsh disconnects
    #[arg(long)]
    autodestroy: bool,
    /// validate the XML against the schema
    #[arg(long)]
    validate: bool,
}

impl Create {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (xml, file) = (read_file(&self.file)?, self.file.display());
        let options = DefineOptions {
            validate: self.validate,
            start: true,
            paused: self.paused,
            autodestroy: self.autodestroy,
        };
        let view = session.client().await?.define_domain(&xml, &options).await;
        let view = view.what(|| format!("Failed to create domain from {file}"))?;
        session.warn(&view.warnings);
        session.done(&view, |view| format!("Domain '{}' created from {file}\n", view.name));
        if self.console {
            return super::attach(&view.name, false, session).await;
        }
        Ok(())
    }
}
