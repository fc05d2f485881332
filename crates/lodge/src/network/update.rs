//! `net-update`: one entry of a network's document otherwise.

use clap::Args;
use lodge_client::api::{ChangeScope, NetworkUpdate, UpdateAct};

use crate::domain::read_file;
use crate::failure::{Failure, What, invalid};
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Update {
    /// network name or uuid
    #[arg(value_name = "network")]
    network: String,
    /// type of update (add-first, add-last (add), delete, or modify)
    #[arg(value_name = "command")]
    command: String,
    /// which section of network configuration to update
    #[arg(value_name = "section")]
    section: String,
    /// name of file containing xml (or, if it starts with '<', the complete xml element itself) to add/modify, or to
    /// be matched for search
    #[arg(value_name = "xml")]
    xml: String,
    /// which parent object to search through
    #[arg(long, value_name = "number")]
    parent_index: Option<usize>,
    /// affect next network startup
    #[arg(long)]
    config: bool,
    /// affect running network
    #[arg(long)]
    live: bool,
    /// affect current state of network
    #[arg(long, conflicts_with_all = ["config", "live"])]
    current: bool,
}

impl Update {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let act = match self.command.as_str() {
            "add" | "add-last" => UpdateAct::AddLast,
            "add-first" => UpdateAct::AddFirst,
            "delete" => UpdateAct::Delete,
            "modify" => UpdateAct::Modify,
            other => return Err(invalid(format!("unrecognized command name '{other}'"))),
        };
        let xml = if self.xml.starts_with('<') { self.xml } else { read_file(self.xml.as_ref())? };
        let (client, net) = (session.client().await?, &self.network);
        let before = client.network(net).await.on_network(net, "")?;
        let scope = ChangeScope { live: self.live, config: self.config };
        let update = NetworkUpdate { act, section: self.section, parent: self.parent_index, xml };
        let view = client.update_network(net, scope, &update).await.on_network(&before.name, "update")?;
        let affected = match (self.config, self.live || (!self.config && before.active)) {
            (true, true) => "persistent config and live state",
            (_, false) => "persistent config",
            (false, true) => "live state",
        };
        session.done(&view, |view| format!("Updated network {} {affected}\n", view.name));
        Ok(())
    }
}
