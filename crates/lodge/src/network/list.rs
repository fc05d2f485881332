//! `net-list`.

use clap::Args;
use lodge_client::api::NetworkView;

use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

#[derive(Debug, Default, Args)]
pub struct NetList {
    /// list inactive networks
    #[arg(long)]
    inactive: bool,
    /// list inactive & active networks
    #[arg(long)]
    all: bool,
    /// list persistent networks
    #[arg(long)]
    persistent: bool,
    /// list transient networks
    #[arg(long)]
    transient: bool,
    /// list networks with autostart enabled
    #[arg(long)]
    autostart: bool,
    /// list networks with autostart disabled
    #[arg(long)]
    no_autostart: bool,
    /// list uuid's only
    #[arg(long)]
    uuid: bool,
    /// list network names only
    #[arg(long)]
    name: bool,
    /// list table (default)
    #[arg(long)]
    table: bool,
}

impl NetList {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        if [self.table, self.name, self.uuid].iter().filter(|asked| **asked).count() > 1 {
            return Err(invalid("Only one argument from --table, --name and --uuid may be specified."));
        }
        let mut networks =
            session.client().await?.networks().await.what(|| "Failed to list networks".to_owned())?;
        networks.retain(|network| self.admits(network));
        networks.sort_by_cached_key(|network| (!network.active, network.name.to_lowercase()));
        session.show(&networks, |networks| self.text(networks, session.quiet()));
        Ok(())
    }

    fn admits(&self, network: &NetworkView) -> bool {
        let either = |is: bool, yes: bool, no: bool| yes == no || is == yes;
        (self.all || network.active != self.inactive)
            && either(network.persistent, self.persistent, self.transient)
            && either(network.autostart, self.autostart, self.no_autostart)
    }

    fn text(&self, networks: &[NetworkView], quiet: bool) -> String {
        if self.name {
            return output::lines(networks.iter().map(|network| &network.name));
        }
        if self.uuid {
            return output::lines(networks.iter().map(|network| network.uuid));
        }
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let state = |active: bool| if active { "active" } else { "inactive" }.to_owned();
        let row = |network: &NetworkView| {
            vec![network.name.clone(), state(network.active), yes(network.autostart), yes(network.persistent)]
        };
        let rows: Vec<_> = networks.iter().map(row).collect();
        output::table(&["Name", "State", "Autostart", "Persistent"], &rows, quiet)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_table_is_virshs() {
        let network = |name: &str, active: bool| -> NetworkView {
            serde_json::from_value(serde_json::json!({
                "name": name, "uuid": "dd8fe884-6c02-601e-7551-cca97df1c5df", "active": active, "persistent": active,
                "autostart": false,
            }))
            .unwrap()
        };
        let networks = [network("default", true), network("isolated", false)];
        expect![[r"
             Name       State      Autostart   Persistent
            -----------------------------------------------
             default    active     no          yes
             isolated   inactive   no          no
        "]]
        .assert_eq(&NetList::default().text(&networks, false));
        assert!(NetList::default().admits(&networks[0]) && !NetList::default().admits(&networks[1]));
        let inactive = NetList { inactive: true, ..NetList::default() };
        assert!(!inactive.admits(&networks[0]) && inactive.admits(&networks[1]));
    }
}
