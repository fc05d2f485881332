//! `attach-disk`, `detach-disk`, `change-media`: disks by their parts.

use std::os::unix::fs::FileTypeExt;

use clap::Args;
use lodge_client::Client;
use lodge_client::api::{ChangeScope, DomainChange, ErrorKind, XmlOptions};
use lodge_model::domain::Domain;
use lodge_model::domain::disk::{Disk, DiskDevice, DiskSource, SourceKind};
use lodge_model::markup::Markup;
use lodge_model::xml::WriteOptions;

use super::scope::{Lasting, Scope, change};
use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct AttachDisk {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// source of disk device or name of network disk
    #[arg(value_name = "source")]
    source: String,
    /// target of disk device
    #[arg(value_name = "target")]
    target: String,
    /// target bus of disk device
    #[arg(long, value_name = "string")]
    targetbus: Option<String>,
    /// driver of disk device
    #[arg(long, value_name = "string")]
    driver: Option<String>,
    /// subdriver of disk device
    #[arg(long, value_name = "string")]
    subdriver: Option<String>,
    /// `IOThread` to be used by supported device
    #[arg(long, value_name = "string")]
    iothread: Option<u32>,
    /// cache mode of disk device
    #[arg(long, value_name = "string")]
    cache: Option<String>,
    /// io policy of disk device
    #[arg(long, value_name = "string")]
    io: Option<String>,
    /// target device type
    #[arg(long = "type", value_name = "string")]
    device: Option<String>,
    /// mode of device reading and writing
    #[arg(long, value_name = "string", value_parser = ["readonly", "shareable"])]
    mode: Option<String>,
    /// type of source (block|file)
    #[arg(long, value_name = "string", value_parser = ["block", "file"])]
    sourcetype: Option<String>,
    /// serial of disk device
    #[arg(long, value_name = "string")]
    serial: Option<String>,
    /// wwn of disk device
    #[arg(long, value_name = "string")]
    wwn: Option<String>,
    /// custom alias name of disk device
    #[arg(long, value_name = "string")]
    alias: Option<String>,
    /// print XML document rather than attach the disk
    #[arg(long)]
    print_xml: bool,
    #[command(flatten)]
    lasting: Lasting,
}

impl AttachDisk {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let xml = self.xml();
        if self.print_xml {
            output::print(&xml);
            return Ok(());
        }
        let client = session.client().await?;
        let scope = self.lasting.asked(&self.domain, &client).await?;
        let to = DomainChange::AttachDevice { xml };
        let view = change(&client, &self.domain, scope, &to, "Failed to attach disk").await?;
        session.done(&view, |_| "Disk attached successfully\n".to_owned());
        Ok(())
    }

    fn xml(&self) -> String {
        let is_block = std::fs::metadata(&self.source).is_ok_and(|of| of.file_type().is_block_device());
        let kind = self.sourcetype.as_deref().unwrap_or(if is_block { "block" } else { "file" });
        let mut text = Markup::new();
        let device = self.device.as_deref();
        let attributes: Vec<(&str, &dyn std::fmt::Display)> =
            [Some(("type", &kind as &dyn std::fmt::Display)), device.as_ref().map(|of| ("device", of as _))]
                .into_iter()
                .flatten()
                .collect();
        text.start("disk", &attributes);
        let driver: Vec<(&str, &dyn std::fmt::Display)> = [
            self.driver.as_ref().map(|of| ("name", of as _)),
            self.subdriver.as_ref().map(|of| ("type", of as _)),
            self.iothread.as_ref().map(|of| ("iothread", of as _)),
            self.cache.as_ref().map(|of| ("cache", of as _)),
            self.io.as_ref().map(|of| ("io", of as _)),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !driver.is_empty() {
            text.empty("driver", &driver);
        }
        if !self.source.is_empty() {
            text.empty("source", &[(if kind == "block" { "dev" } else { "file" }, &self.source)]);
        }
        match &self.targetbus {
            Some(bus) => text.empty("target", &[("dev", &self.target), ("bus", bus)]),
            None => text.empty("target", &[("dev", &self.target)]),
        }
        if let Some(mode) = &self.mode {
            text.empty(mode, &[]);
        }
        if let Some(serial) = &self.serial {
            text.leaf("serial", &[], serial);
        }
        if let Some(alias) = &self.alias {
            text.empty("alias", &[("name", alias)]);
        }
        if let Some(wwn) = &self.wwn {
            text.leaf("wwn", &[], wwn);
        }
        text.finish()
    }
}

#[derive(Debug, Args)]
pub struct DetachDisk {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// target of disk device
    #[arg(value_name = "target")]
    target: String,
    /// print XML document rather than detach the disk
    #[arg(long)]
    print_xml: bool,
    #[command(flatten)]
    lasting: Lasting,
}

impl DetachDisk {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let scope = self.lasting.asked(&self.domain, &client).await?;
        let document = document(&client, &self.domain, scope).await?;
        let xml = element(find(&document, &self.target)?);
        if self.print_xml {
            output::print(&xml);
            return Ok(());
        }
        let to = DomainChange::DetachDevice { xml };
        let view = change(&client, &self.domain, scope, &to, "Failed to detach disk").await?;
        session.done(&view, |_| "Disk detached successfully\n".to_owned());
        Ok(())
    }
}

/// The document that a change for `scope` begins with.
pub(super) async fn document(client: &Client, dom: &str, scope: ChangeScope) -> Result<Domain, Failure> {
    let options = XmlOptions { inactive: scope.config, security_info: true, ..XmlOptions::default() };
    let xml = client.domain_xml(dom, &options).await.on_domain(dom, "")?;
    Domain::parse(&xml).map_err(|faults| Failure::new(ErrorKind::Corrupt, faults.to_string()))
}

/// The disk with this target or source.
fn find<'a>(document: &'a Domain, wanted: &str) -> Result<&'a Disk, Failure> {
    let disks = &document.devices.disks;
    let found = disks.iter().find(|disk| disk.target.dev == wanted);
    let found = found.or_else(|| disks.iter().find(|disk| disk.path() == Some(wanted)));
    found.ok_or_else(|| {
        Failure::new(ErrorKind::NotFound, format!("No disk found whose source path or target is {wanted}"))
    })
}

fn element(disk: &Disk) -> String {
    disk.to_xml(&WriteOptions { security_info: true, ..WriteOptions::default() })
}

#[derive(Debug, Args)]
pub struct ChangeMedia {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// Fully-qualified path or target of disk device
    #[arg(value_name = "path")]
    path: String,
    /// source of the media
    #[arg(value_name = "source")]
    source: Option<String>,
    /// Eject the media
    #[arg(long)]
    eject: bool,
    /// Insert the media
    #[arg(long)]
    insert: bool,
    /// Update the media
    #[arg(long)]
    update: bool,
    /// force media changing
    #[arg(long)]
    force: bool,
    /// print XML document rather than change media
    #[arg(long)]
    print_xml: bool,
    /// source media is a block device
    #[arg(long)]
    block: bool,
    #[command(flatten)]
    scope: Scope,
}

impl ChangeMedia {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let act = match (self.eject, self.insert, self.update) {
            (true, false, false) => "eject",
            (false, true, false) => "insert",
            (false, false, _) => "update",
            _ => return Err(invalid("Options --eject, --insert and --update are mutually exclusive")),
        };
        if act == "eject" && self.source.is_some() {
            return Err(invalid("Options --eject and --source are mutually exclusive"));
        }
        if act == "insert" && self.source.is_none() {
            return Err(invalid("No disk source specified for inserting"));
        }
        let client = session.client().await?;
        let scope = self.scope.asked();
        let document = document(&client, &self.domain, scope).await?;
        let xml = self.changed(find(&document, &self.path)?, act)?;
        if self.print_xml {
            output::print(&xml);
            return Ok(());
        }
        let to = DomainChange::UpdateDevice { xml, force: self.force };
        let what = format!("Failed to complete action {act} on media");
        let view = change(&client, &self.domain, scope, &to, &what).await?;
        let done = match act {
            "eject" => "ejected",
            "insert" => "inserted",
            _ => "updated",
        };
        session.done(&view, |_| format!("Successfully {done} media.\n"));
        Ok(())
    }

    /// The drive with its medium as it is to be.
    fn changed(&self, drive: &Disk, act: &str) -> Result<String, Failure> {
        let path = &self.path;
        if !matches!(drive.device, DiskDevice::Cdrom | DiskDevice::Floppy) {
            let text = format!("No disk found whose source path or target is {path}");
            return Err(Failure::new(ErrorKind::NotFound, text));
        }
        let has_medium = drive.path().is_some();
        let state = |text: String| Err(Failure::new(ErrorKind::InvalidState, text));
        match act {
            "eject" if !has_medium => return state(format!("The disk device '{path}' doesn't have media")),
            "insert" if has_medium => return state(format!("The disk device '{path}' already has media")),
            _ => {}
        }
        let mut changed = drive.clone();
        changed.source = self.source.as_ref().map(|path| {
            let path = Some(path.clone());
            changed.kind = if self.block { SourceKind::Block } else { SourceKind::File };
            Box::new(if self.block {
                DiskSource { dev: path, ..DiskSource::default() }
            } else {
                DiskSource { file: path, ..DiskSource::default() }
            })
        });
        changed.backing_store = None;
        Ok(element(&changed))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        verb: AttachDisk,
    }

    #[test]
    fn a_disk_is_written_by_its_parts() {
        let line =
            "x web1 /a<b vdb --targetbus scsi --driver qemu --subdriver qcow2 --mode readonly --serial 5";
        let xml = Line::parse_from(line.split(' ')).verb.xml();
        let want = "<disk type='file'>\n  <driver name='qemu' type='qcow2'/>\n  <source file='/a&lt;b'/>\n  \
                    <target dev='vdb' bus='scsi'/>\n  <readonly/>\n  <serial>5</serial>\n</disk>\n";
        assert_eq!(xml, want);
    }
}
