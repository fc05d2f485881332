//! Pools by their parts: `pool-define-as pool-create-as`.

use std::fmt::Write as _;

use clap::Args;
use lodge_client::api::PoolOptions;
use lodge_model::xml::escaped;

use super::document::exclusive;
use crate::failure::{Failure, What, invalid};
use crate::session::Session;

/// A pool, by its parts.
#[derive(Debug, Default, Args)]
pub struct PoolArgs {
    /// name of the pool
    #[arg(value_name = "name")]
    name: String,
    /// type of the pool
    #[arg(value_name = "type")]
    kind: String,
    /// source-host for underlying storage
    #[arg(long, value_name = "string")]
    source_host: Option<String>,
    /// source path for underlying storage
    #[arg(long, value_name = "string")]
    source_path: Option<String>,
    /// source device for underlying storage
    #[arg(long, value_name = "string")]
    source_dev: Option<String>,
    /// source name for underlying storage
    #[arg(long, value_name = "string")]
    source_name: Option<String>,
    /// target for underlying storage
    #[arg(long, value_name = "string")]
    target: Option<String>,
    /// format for underlying storage
    #[arg(long, value_name = "string")]
    source_format: Option<String>,
    /// auth type to be used for underlying storage
    #[arg(long, value_name = "string")]
    auth_type: Option<String>,
    /// auth username to be used for underlying storage
    #[arg(long, value_name = "string")]
    auth_username: Option<String>,
    /// auth secret usage to be used for underlying storage
    #[arg(long, value_name = "string", conflicts_with = "secret_uuid")]
    secret_usage: Option<String>,
    /// auth secret UUID to be used for underlying storage
    #[arg(long, value_name = "string")]
    secret_uuid: Option<String>,
    /// adapter name to be used for underlying storage
    #[arg(long, value_name = "string")]
    adapter_name: Option<String>,
    /// adapter wwnn to be used for underlying storage
    #[arg(long, value_name = "string")]
    adapter_wwnn: Option<String>,
    /// adapter wwpn to be used for underlying storage
    #[arg(long, value_name = "string")]
    adapter_wwpn: Option<String>,
    /// adapter parent scsi_hostN to be used for underlying vHBA storage
    #[arg(long, value_name = "string")]
    adapter_parent: Option<String>,
    /// nfsvers value for NFS pool mount option
    #[arg(long, value_name = "string")]
    source_protocol_ver: Option<String>,
    /// initiator iqn for underlying storage
    #[arg(long, value_name = "string")]
    source_initiator: Option<String>,
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
        let (kind, name) = (escaped(&self.kind), escaped(&self.name));
        let (source, target) = (self.source(), target.unwrap_or_default());
        format!("<pool type='{kind}'>\n  <name>{name}</name>\n{source}{target}</pool>\n")
    }

    /// `<source>`, in virsh's order.
    fn source(&self) -> String {
        let mut text = String::new();
        let mut line = |value: Option<&String>, before: &str, after: &str| {
            if let Some(value) = value {
                // A String takes all.
                let _ = writeln!(text, "    {before}{}{after}", escaped(value));
            }
        };
        line(self.source_host.as_ref(), "<host name='", "'/>");
        line(self.source_path.as_ref(), "<dir path='", "'/>");
        line(self.source_dev.as_ref(), "<device path='", "'/>");
        line(self.source_initiator.as_ref(), "<initiator>\n      <iqn name='", "'/>\n    </initiator>");
        text += &self.adapter();
        text += &self.auth();
        let mut line = |value: Option<&String>, before: &str, after: &str| {
            if let Some(value) = value {
                let _ = writeln!(text, "    {before}{}{after}", escaped(value));
            }
        };
        line(self.source_format.as_ref(), "<format type='", "'/>");
        line(self.source_name.as_ref(), "<name>", "</name>");
        line(self.source_protocol_ver.as_ref(), "<protocol ver='", "'/>");
        if text.is_empty() { text } else { format!("  <source>\n{text}  </source>\n") }
    }

    fn adapter(&self) -> String {
        if let (Some(wwnn), Some(wwpn)) = (&self.adapter_wwnn, &self.adapter_wwpn) {
            let parent = self.adapter_parent.as_ref().map(|parent| format!(" parent='{}'", escaped(parent)));
            let (wwnn, wwpn, parent) = (escaped(wwnn), escaped(wwpn), parent.unwrap_or_default());
            return format!("    <adapter type='fc_host'{parent} wwnn='{wwnn}' wwpn='{wwpn}'/>\n");
        }
        let name = self.adapter_name.as_ref();
        name.map(|name| format!("    <adapter type='scsi_host' name='{}'/>\n", escaped(name)))
            .unwrap_or_default()
    }

    fn auth(&self) -> String {
        let (Some(kind), Some(user)) = (&self.auth_type, &self.auth_username) else { return String::new() };
        let secret = match (&self.secret_usage, &self.secret_uuid) {
            (Some(usage), _) => format!("usage='{}'", escaped(usage)),
            (None, Some(uuid)) => format!("uuid='{}'", escaped(uuid)),
            (None, None) => return String::new(),
        };
        let (kind, user) = (escaped(kind), escaped(user));
        format!("    <auth type='{kind}' username='{user}'>\n      <secret {secret}/>\n    </auth>\n")
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
        if self.adapter_wwnn.is_some() != self.adapter_wwpn.is_some() {
            return Err(invalid("Both --adapter-wwnn and --adapter-wwpn are needed, or none of them"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_written_as_virsh_does() {
        let text = |text: &str| Some(text.to_owned());
        let args = PoolArgs {
            name: "p".to_owned(),
            kind: "netfs".to_owned(),
            source_host: text("h"),
            source_path: text("/a'b"),
            source_format: text("nfs"),
            target: text("/t"),
            ..PoolArgs::default()
        };
        expect_test::expect![[r"
            <pool type='netfs'>
              <name>p</name>
              <source>
                <host name='h'/>
                <dir path='/a&apos;b'/>
                <format type='nfs'/>
              </source>
              <target>
                <path>/t</path>
              </target>
            </pool>
        "]]
        .assert_eq(&args.xml());
        let plain = PoolArgs { name: "p".to_owned(), kind: "dir".to_owned(), ..PoolArgs::default() };
        assert_eq!(plain.xml(), "<pool type='dir'>\n  <name>p</name>\n</pool>\n");
    }
}
