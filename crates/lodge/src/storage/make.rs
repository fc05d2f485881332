//! `vol-create vol-create-as vol-create-from vol-clone`.

use std::path::PathBuf;

use clap::Args;
use lodge_client::api::VolumeOptions;
use lodge_model::xml::escaped;

use super::document::size;
use super::volume::find;
use crate::domain::read_file;
use crate::failure::{Failure, What};
use crate::output;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Create {
    /// pool name
    #[arg(value_name = "pool")]
    pool: String,
    /// file containing an XML vol description
    #[arg(value_name = "file")]
    file: PathBuf,
    /// preallocate metadata (for qcow2 instead of full allocation)
    #[arg(long)]
    prealloc_metadata: bool,
    /// validate the XML against the schema
    #[arg(long)]
    validate: bool,
}

#[derive(Debug, Args)]
pub struct CreateAs {
    /// pool name
    #[arg(value_name = "pool")]
    pool: String,
    /// name of the volume
    #[arg(value_name = "name")]
    name: String,
    /// size of the vol, as scaled integer (default bytes)
    #[arg(value_name = "capacity")]
    capacity: String,
    /// initial allocation size, as scaled integer (default bytes)
    #[arg(long, value_name = "string")]
    allocation: Option<String>,
    /// file format type raw,bochs,qcow,qcow2,qed,vmdk
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// the backing volume if taking a snapshot
    #[arg(long, value_name = "string")]
    backing_vol: Option<String>,
    /// format of backing volume if taking a snapshot
    #[arg(long, value_name = "string", requires = "backing_vol")]
    backing_vol_format: Option<String>,
    /// preallocate metadata (for qcow2 instead of full allocation)
    #[arg(long)]
    prealloc_metadata: bool,
    /// print XML document, but don't define/create
    #[arg(long)]
    print_xml: bool,
    /// validate the XML against the schema
    #[arg(long)]
    validate: bool,
}

#[derive(Debug, Args)]
pub struct CreateFrom {
    /// pool name or uuid
    #[arg(value_name = "pool")]
    pool: String,
    /// file containing an XML vol description
    #[arg(value_name = "file")]
    file: PathBuf,
    /// input vol name or key
    #[arg(value_name = "vol")]
    vol: String,
    /// pool name or uuid of the input volume's pool
    #[arg(long, value_name = "string")]
    inputpool: Option<String>,
    /// preallocate metadata (for qcow2 instead of full allocation)
    #[arg(long)]
    prealloc_metadata: bool,
    /// use btrfs COW lightweight copy
    #[arg(long)]
    reflink: bool,
    /// validate the XML against the schema
    #[arg(long)]
    validate: bool,
}

#[derive(Debug, Args)]
pub struct Clone {
    /// orig vol name or key
    #[arg(value_name = "vol")]
    vol: String,
    /// clone name
    #[arg(value_name = "newname")]
    newname: String,
    /// pool name or uuid
    #[arg(long, value_name = "string")]
    pool: Option<String>,
    /// preallocate metadata (for qcow2 instead of full allocation)
    #[arg(long)]
    prealloc_metadata: bool,
    /// use btrfs COW lightweight copy
    #[arg(long)]
    reflink: bool,
    /// print XML document, but don't clone
    #[arg(long)]
    print_xml: bool,
    /// validate the XML against the schema
    #[arg(long)]
    validate: bool,
}

impl Create {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let pool = super::pool::view(&self.pool, session).await?;
        let (xml, shown) = (read_file(&self.file)?, self.file.display());
        let options = VolumeOptions {
            validate: self.validate,
            prealloc_metadata: self.prealloc_metadata,
            ..VolumeOptions::default()
        };
        let made = session.client().await?.create_volume(&pool.name, &xml, &options).await;
        let made = made.what(|| format!("Failed to create vol from {shown}"))?;
        session.done(&made, |view| format!("Vol {} created from {shown}\n", view.name));
        Ok(())
    }
}

impl CreateAs {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let pool = super::pool::view(&self.pool, session).await?;
        let client = session.client().await?;
        let backing = match &self.backing_vol {
            None => None,
            Some(vol) => Some(find(&client, vol, Some(&pool.name)).await?.path),
        };
        let xml = self.xml(backing.as_deref())?;
        if self.print_xml {
            output::print(&xml);
            return Ok(());
        }
        let options = VolumeOptions {
            validate: self.validate,
            prealloc_metadata: self.prealloc_metadata,
            ..VolumeOptions::default()
        };
        let made = client.create_volume(&pool.name, &xml, &options).await;
        let made = made.what(|| format!("Failed to create vol {}", self.name))?;
        session.done(&made, |view| format!("Vol {} created\n", view.name));
        Ok(())
    }

    fn xml(&self, backing: Option<&str>) -> Result<String, Failure> {
        let mut xml = format!("<volume>\n  <name>{}</name>\n", escaped(&self.name));
        xml += &format!("  <capacity>{}</capacity>\n", size(&self.capacity, "capacity")?);
        if let Some(allocation) = &self.allocation {
            xml += &format!("  <allocation>{}</allocation>\n", size(allocation, "allocation")?);
        }
        if let Some(format) = &self.format {
            xml += &format!("  <target>\n    <format type='{}'/>\n  </target>\n", escaped(format));
        }
        if let Some(path) = backing {
            xml += &format!("  <backingStore>\n    <path>{}</path>\n", escaped(path));
            if let Some(format) = &self.backing_vol_format {
                xml += &format!("    <format type='{}'/>\n", escaped(format));
            }
            xml += "  </backingStore>\n";
        }
        Ok(xml + "</volume>\n")
    }
}

impl CreateFrom {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let pool = super::pool::view(&self.pool, session).await?;
        let (xml, client) = (read_file(&self.file)?, session.client().await?);
        let from = find(&client, &self.vol, Some(self.inputpool.as_deref().unwrap_or(&pool.name))).await?;
        let options = VolumeOptions {
            validate: self.validate,
            prealloc_metadata: self.prealloc_metadata,
            reflink: self.reflink,
            from: Some(from.name.clone()),
            from_pool: Some(from.pool),
        };
        let made = client.create_volume(&pool.name, &xml, &options).await;
        let made = made.what(|| format!("Failed to create vol from {}", self.file.display()))?;
        session.done(&made, |view| format!("Vol {} created from input vol {}\n", view.name, from.name));
        Ok(())
    }
}

impl Clone {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let from = find(&client, &self.vol, self.pool.as_deref()).await?;
        let xml = client.volume_xml(&from.pool, &from.name).await;
        let xml = renamed(&xml.what(|| format!("Failed to clone vol from {}", from.name))?, &self.newname);
        if self.print_xml {
            output::print(&xml);
            return Ok(());
        }
        let options = VolumeOptions {
            validate: self.validate,
            prealloc_metadata: self.prealloc_metadata,
            reflink: self.reflink,
            from: Some(from.name.clone()),
            from_pool: None,
        };
        let made = client.create_volume(&from.pool, &xml, &options).await;
        let made = made.what(|| format!("Failed to clone vol from {}", from.name))?;
        session.done(&made, |view| format!("Vol {} cloned from {}\n", view.name, from.name));
        Ok(())
    }
}

/// The daemon's document with another name.
fn renamed(xml: &str, name: &str) -> String {
    let (Some((before, rest)), Some((_, after))) = (xml.split_once("<name>"), xml.split_once("</name>"))
    else {
        return xml.to_owned();
    };
    let _ = rest;
    format!("{before}<name>{}</name>{after}", escaped(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_its_own_name() {
        let xml = "<volume>\n  <name>a</name>\n  <key>/p/a</key>\n</volume>\n";
        assert_eq!(renamed(xml, "b<c"), "<volume>\n  <name>b&lt;c</name>\n  <key>/p/a</key>\n</volume>\n");
    }
}
