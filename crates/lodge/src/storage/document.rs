//! Documents made of arguments: `pool-define-as pool-create-as`, and how sizes are read and shown.

use std::str::FromStr as _;

use clap::Args;
use lodge_client::api::PoolOptions;
use lodge_model::Bytes;

use crate::failure::{Failure, What, invalid};
use crate::session::Session;

/// `251.97 GiB`, as virsh.
pub fn pretty(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.2} {}", UNITS[unit])
}

/// A size as virsh reads it: a number, with a unit if it is not bytes.
pub fn size(text: &str, option: &str) -> Result<u64, Failure> {
    let malformed = || {
        invalid(format!("Scaled numeric value '{text}' for <--{option}> option is malformed or out of range"))
    };
    Bytes::from_str(text).map(|bytes| bytes.0).map_err(|_| malformed())
}

/// A text as XML has it.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A pool, by its parts.
#[derive(Debug, Args)]
pub struct PoolArgs {
    /// name of the pool
    #[arg(value_name = "name")]
    name: String,
    /// type of the pool
    #[arg(value_name = "type")]
    kind: String,
    /// target for underlying storage
    #[arg(long, value_name = "string")]
    target: Option<String>,
    /// print XML document, but don't define/create
    #[arg(long)]
    print_xml: bool,
    /// validate the XML against the schema
    #[arg(long)]
    validate: bool,
}

/// A pool, by its parts, to be started.
#[derive(Debug, Args)]
pub struct PoolCreateArgs {
    #[command(flatten)]
    pool: PoolArgs,
    /// build the pool as normal
    #[arg(long)]
    build: bool,
    /// overwrite any existing data
    #[arg(long)]
    overwrite: bool,
    /// do not overwrite any existing data
    #[arg(long)]
    no_overwrite: bool,
}

impl PoolArgs {
    fn xml(&self) -> String {
        let target = self
            .target
            .as_deref()
            .map(|path| format!("  <target>\n    <path>{}</path>\n  </target>\n", escaped(path)));
        let (kind, name) = (escaped(&self.kind).replace('\'', "&apos;"), escaped(&self.name));
        format!("<pool type='{kind}'>\n  <name>{name}</name>\n{}</pool>\n", target.unwrap_or_default())
    }

    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let options = PoolOptions { validate: self.validate, ..PoolOptions::default() };
        self.take(&options, "define", "defined", session).await
    }

    async fn take(
        self,
        options: &PoolOptions,
        act: &str,
        done: &str,
        session: &mut Session,
    ) -> Result<(), Failure> {
        if self.print_xml {
            crate::output::print(&self.xml());
            return Ok(());
        }
        let view = session.client().await?.define_pool(&self.xml(), options).await;
        let view = view.what(|| format!("Failed to {act} pool {}", self.name))?;
        session.done(&view, |view| format!("Pool {} {done}\n", view.name));
        Ok(())
    }
}

impl PoolCreateArgs {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        exclusive(self.overwrite, self.no_overwrite)?;
        let options = PoolOptions {
            validate: self.pool.validate,
            start: true,
            build: self.build,
            overwrite: self.overwrite,
            no_overwrite: self.no_overwrite,
        };
        self.pool.take(&options, "create", "created", session).await
    }
}

/// virsh's word on two options that cannot both be.
pub fn exclusive(overwrite: bool, no_overwrite: bool) -> Result<(), Failure> {
    if overwrite && no_overwrite {
        return Err(invalid("Options --overwrite and --no-overwrite are mutually exclusive"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_virshs() {
        assert_eq!(pretty(0), "0.00 B");
        assert_eq!(pretty(200_704), "196.00 KiB");
        assert_eq!(pretty(1000), "1000.00 B");
        assert_eq!(size("16M", "capacity").unwrap(), 16 << 20);
        assert_eq!(size("1000", "capacity").unwrap(), 1000);
        assert!(size("x", "capacity").is_err());
    }
}
