//! `snapshot-create snapshot-create-as`: a document, or one made of options.

use std::path::PathBuf;

use clap::Args;
use lodge_client::api::SnapshotCreate;
use lodge_model::markup::Markup;

use crate::domain::read_file;
use crate::failure::{Failure, What, invalid};
use crate::instance::progress::Spinner;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Create {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// domain snapshot XML
    #[arg(value_name = "xmlfile")]
    xmlfile: Option<PathBuf>,
    /// redefine metadata for existing snapshot
    #[arg(long)]
    redefine: bool,
    /// with redefine, set current snapshot
    #[arg(long)]
    current: bool,
    /// take snapshot but create no metadata
    #[arg(long)]
    no_metadata: bool,
    /// halt domain after snapshot is created
    #[arg(long)]
    halt: bool,
    /// capture disk state but not vm state
    #[arg(long)]
    disk_only: bool,
    /// reuse any existing external files
    #[arg(long)]
    reuse_external: bool,
    /// quiesce guest's file systems
    #[arg(long)]
    quiesce: bool,
    /// require atomic operation (it always is)
    #[arg(long)]
    atomic: bool,
    /// take a live snapshot
    #[arg(long)]
    live: bool,
    /// validate the XML against the schema
    #[arg(long)]
    validate: bool,
}

impl Create {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let xml = match &self.xmlfile {
            Some(file) => read_file(file)?,
            None => "<domainsnapshot/>".to_owned(),
        };
        let options = SnapshotCreate {
            // virsh: the current one of those known can only be one that is redefined.
            redefine: self.redefine || self.current,
            current: self.current,
            no_metadata: self.no_metadata,
            halt: self.halt,
            disk_only: self.disk_only,
            reuse_external: self.reuse_external,
            quiesce: self.quiesce,
            live: self.live,
            validate: self.validate,
        };
        let from = self.xmlfile.as_deref().map(|file| format!(" from '{}'", file.display()));
        take(&self.domain, &xml, options, &from.unwrap_or_default(), session).await
    }
}

#[derive(Debug, Args)]
pub struct CreateAs {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// name of snapshot
    #[arg(value_name = "name")]
    name: Option<String>,
    /// description of snapshot
    #[arg(value_name = "description")]
    description: Option<String>,
    /// print XML document rather than create
    #[arg(long)]
    print_xml: bool,
    /// take snapshot but create no metadata
    #[arg(long)]
    no_metadata: bool,
    /// halt domain after snapshot is created
    #[arg(long)]
    halt: bool,
    /// capture disk state but not vm state
    #[arg(long)]
    disk_only: bool,
    /// reuse any existing external files
    #[arg(long)]
    reuse_external: bool,
    /// quiesce guest's file systems
    #[arg(long)]
    quiesce: bool,
    /// require atomic operation (it always is)
    #[arg(long)]
    atomic: bool,
    /// take a live snapshot
    #[arg(long)]
    live: bool,
    /// validate the XML against the schema
    #[arg(long)]
    validate: bool,
    /// memory attributes: [file=]name[,snapshot=type]
    #[arg(long, value_name = "string")]
    memspec: Option<String>,
    /// disk attributes: disk[,snapshot=type][,driver=type][,stype=type][,file=name]
    #[arg(long, value_name = "string")]
    diskspec: Vec<String>,
}

impl CreateAs {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let xml = self.document()?;
        if self.print_xml {
            session.say(&format!("{xml}\n"));
            return Ok(());
        }
        let options = SnapshotCreate {
            redefine: false,
            current: false,
            no_metadata: self.no_metadata,
            halt: self.halt,
            disk_only: self.disk_only,
            reuse_external: self.reuse_external,
            quiesce: self.quiesce,
            live: self.live,
            validate: self.validate,
        };
        take(&self.domain, &xml, options, "", session).await
    }

    fn document(&self) -> Result<String, Failure> {
        let mut text = Markup::new();
        text.start("domainsnapshot", &[]);
        if let Some(name) = &self.name {
            text.leaf("name", &[], name);
        }
        if let Some(description) = &self.description {
            text.leaf("description", &[], description);
        }
        if let Some(spec) = &self.memspec {
            let (mut file, mut snapshot) = (None, None);
            for part in words(spec) {
                match part.split_once('=') {
                    Some(("snapshot", value)) if snapshot.is_none() => snapshot = Some(value.to_owned()),
                    Some(("file", value)) if file.is_none() => file = Some(value.to_owned()),
                    _ if file.is_none() && !part.contains('=') => file = Some(part),
                    _ => return Err(invalid(format!("unable to parse memspec: {spec}"))),
                }
            }
            let mut attributes: Vec<(&str, &dyn std::fmt::Display)> = Vec::new();
            if let Some(snapshot) = &snapshot {
                attributes.push(("snapshot", snapshot));
            }
            if let Some(file) = &file {
                attributes.push(("file", file));
            }
            text.empty("memory", &attributes);
        }
        if !self.diskspec.is_empty() {
            text.start("disks", &[]);
            for spec in &self.diskspec {
                disk(&mut text, spec)?;
            }
            text.end();
        }
        Ok(text.finish())
    }
}

fn disk(text: &mut Markup, spec: &str) -> Result<(), Failure> {
    let refuse = || invalid(format!("unable to parse diskspec: {spec}"));
    let mut parts = words(spec).into_iter();
    let name = parts.next().filter(|name| !name.is_empty()).ok_or_else(refuse)?;
    let (mut snapshot, mut driver, mut kind, mut file) = (None, None, None, None);
    for part in parts {
        let (word, value) = part.split_once('=').ok_or_else(refuse)?;
        let slot = match word {
            "snapshot" => &mut snapshot,
            "driver" => &mut driver,
            "stype" => &mut kind,
            "file" => &mut file,
            _ => return Err(refuse()),
        };
        if slot.replace(value.to_owned()).is_some() {
            return Err(refuse());
        }
    }
    if !matches!(kind.as_deref(), None | Some("file" | "block")) {
        return Err(invalid(format!("Unknown storage type: '{}'", kind.unwrap_or_default())));
    }
    let mut attributes: Vec<(&str, &dyn std::fmt::Display)> = vec![("name", &name)];
    if let Some(snapshot) = &snapshot {
        attributes.push(("snapshot", snapshot));
    }
    if let Some(kind) = &kind {
        attributes.push(("type", kind));
    }
    if driver.is_none() && file.is_none() {
        text.empty("disk", &attributes);
        return Ok(());
    }
    text.start("disk", &attributes);
    if let Some(driver) = &driver {
        text.empty("driver", &[("type", driver)]);
    }
    if let Some(file) = &file {
        let attribute = if kind.as_deref() == Some("block") { "dev" } else { "file" };
        text.empty("source", &[(attribute, file)]);
    }
    text.end();
    Ok(())
}

/// A list parted by commas; two commas are one that belongs to a word.
fn words(spec: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut letters = spec.chars().peekable();
    while let Some(letter) = letters.next() {
        let last = words.last_mut().expect("it begins with one and only grows");
        match letter {
            ',' if letters.next_if_eq(&',').is_some() => last.push(','),
            ',' => words.push(String::new()),
            letter => last.push(letter),
        }
    }
    words
}

async fn take(
    dom: &str,
    xml: &str,
    options: SnapshotCreate,
    from: &str,
    session: &mut Session,
) -> Result<(), Failure> {
    if options.quiesce && !options.disk_only {
        return Err(invalid("--quiesce requires --disk-only"));
    }
    let client = session.client().await?;
    let spinner = Spinner::start(session, &format!("Taking a snapshot of {dom}"));
    let taken = client.create_snapshot(dom, xml, &options).await.on_domain(dom, "take a snapshot of");
    spinner.stop();
    session.done(&taken?, |view| format!("Domain snapshot {} created{from}\n", view.name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_part_words_and_two_are_one() {
        assert_eq!(words("vda,file=/a,,b,snapshot=no"), ["vda", "file=/a,b", "snapshot=no"]);
        assert_eq!(words(""), [""]);
    }

    #[test]
    fn a_disk_is_written_as_virsh_writes_it() {
        let of = |spec| {
            let mut text = Markup::new();
            disk(&mut text, spec).map(|()| text.finish())
        };
        assert_eq!(of("vda").unwrap(), "<disk name='vda'/>\n");
        assert_eq!(
            of("vda,driver=qcow2,file=/a&b").unwrap(),
            "<disk name='vda'>\n  <driver type='qcow2'/>\n  <source file='/a&amp;b'/>\n</disk>\n"
        );
        for wrong in ["", "vda,what=1", "vda,file", "vda,file=/a,file=/b", "vda,stype=net"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
