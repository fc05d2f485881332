//! `find-storage-pool-sources find-storage-pool-sources-as`.

use std::path::PathBuf;

use clap::Args;
use lodge_client::api::PoolSourceQuery;
use lodge_model::xml::escaped;

use crate::domain::read_file;
use crate::failure::{Failure, What};
use crate::output;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Find {
    /// type of storage pool sources to discover
    #[arg(value_name = "type")]
    kind: String,
    /// optional file of source xml to query for pools
    #[arg(long = "srcSpec", value_name = "string")]
    src_spec: Option<PathBuf>,
    /// the file again: virsh takes it without --srcSpec too
    #[arg(value_name = "file", hide = true, conflicts_with = "src_spec")]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct FindAs {
    /// type of storage pool sources to find
    #[arg(value_name = "type")]
    kind: String,
    /// optional host to query
    #[arg(long, value_name = "string")]
    host: Option<String>,
    /// optional port to query
    #[arg(long, value_name = "string")]
    port: Option<String>,
    /// optional initiator IQN to use for query
    #[arg(long, value_name = "string")]
    initiator: Option<String>,
    /// the host again: virsh takes it without --host too
    #[arg(value_name = "host", hide = true, conflicts_with = "host")]
    host_too: Option<String>,
}

impl Find {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let source = self.src_spec.or(self.file).map(|file| read_file(&file)).transpose()?;
        find(PoolSourceQuery { kind: self.kind, source }, session).await
    }
}

impl FindAs {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let port = self.port.as_deref().map(|port| format!(" port='{}'", escaped(port))).unwrap_or_default();
        let source = self.host.or(self.host_too).map(|host| {
            let initiator = self
                .initiator
                .as_deref()
                .map(|iqn| format!("  <initiator>\n    <iqn name='{}'/>\n  </initiator>\n", escaped(iqn)));
            let (host, initiator) = (escaped(&host), initiator.unwrap_or_default());
            format!("<source>\n  <host name='{host}'{port}/>\n{initiator}</source>\n")
        });
        find(PoolSourceQuery { kind: self.kind, source }, session).await
    }
}

async fn find(query: PoolSourceQuery, session: &mut Session) -> Result<(), Failure> {
    let sources = session.client().await?.find_pool_sources(&query).await;
    output::print(&sources.what(|| format!("Failed to find any {} pool sources", query.kind))?);
    Ok(())
}
