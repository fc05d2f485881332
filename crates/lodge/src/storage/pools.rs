//! `pool-list pool-info`.

use clap::Args;
use lodge_client::api::PoolView;

use super::document::pretty;
use crate::failure::{Failure, What, invalid};
use crate::output::{self, field};
use crate::session::Session;

#[derive(Debug, Default, Args)]
pub struct List {
    /// list inactive pools
    #[arg(long)]
    inactive: bool,
    /// list inactive & active pools
    #[arg(long)]
    all: bool,
    /// list transient pools
    #[arg(long)]
    transient: bool,
    /// list persistent pools
    #[arg(long)]
    persistent: bool,
    /// list pools with autostart enabled
    #[arg(long)]
    autostart: bool,
    /// list pools with autostart disabled
    #[arg(long)]
    no_autostart: bool,
    /// only list pool of specified type(s) (if supported)
    #[arg(long, value_name = "string", value_delimiter = ',')]
    r#type: Vec<String>,
    /// display extended details for pools
    #[arg(long)]
    details: bool,
    /// list UUID of active pools only
    #[arg(long)]
    uuid: bool,
    /// list name of active pools only
    #[arg(long)]
    name: bool,
}

impl List {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        const KINDS: [&str; 14] = [
            "dir",
            "fs",
            "netfs",
            "logical",
            "disk",
            "iscsi",
            "scsi",
            "mpath",
            "rbd",
            "sheepdog",
            "gluster",
            "zfs",
            "vstorage",
            "iscsi-direct",
        ];
        if let Some(unknown) = self.r#type.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(invalid(format!("Invalid pool type '{unknown}'")));
        }
        let mut pools = session.client().await?.pools().await.what(|| "Failed to list pools".to_owned())?;
        pools.retain(|pool| self.admits(pool));
        pools.sort_by_cached_key(|pool| (!pool.active, pool.name.to_lowercase()));
        session.show(&pools, |pools| self.text(pools, session.quiet()));
        Ok(())
    }

    fn admits(&self, pool: &PoolView) -> bool {
        let either = |is: bool, yes: bool, no: bool| yes == no || is == yes;
        (self.all || pool.active != self.inactive)
            && either(pool.persistent, self.persistent, self.transient)
            && either(pool.autostart, self.autostart, self.no_autostart)
            && (self.r#type.is_empty() || self.r#type.contains(&pool.kind))
    }

    fn text(&self, pools: &[PoolView], quiet: bool) -> String {
        if self.name {
            return output::lines(pools.iter().map(|pool| &pool.name));
        }
        if self.uuid {
            return output::lines(pools.iter().map(|pool| pool.uuid));
        }
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        if !self.details {
            let state = |active: bool| if active { "active" } else { "inactive" }.to_owned();
            let rows: Vec<_> = pools
                .iter()
                .map(|pool| vec![pool.name.clone(), state(pool.active), yes(pool.autostart)])
                .collect();
            return output::table(&["Name", "State", "Autostart"], &rows, quiet);
        }
        let state = |active: bool| if active { "running" } else { "inactive" }.to_owned();
        let size = |pool: &PoolView, bytes| if pool.active { pretty(bytes) } else { "-".to_owned() };
        let row = |pool: &PoolView| {
            vec![
                pool.name.clone(),
                state(pool.active),
                yes(pool.autostart),
                yes(pool.persistent),
                size(pool, pool.capacity_bytes),
                size(pool, pool.allocation_bytes),
                size(pool, pool.available_bytes),
            ]
        };
        let heading = ["Name", "State", "Autostart", "Persistent", "Capacity", "Allocation", "Available"];
        output::table(&heading, &pools.iter().map(row).collect::<Vec<_>>(), quiet)
    }
}

#[derive(Debug, Args)]
pub struct Info {
    /// pool name or uuid
    #[arg(value_name = "pool")]
    pool: String,
    /// Return pool info in bytes
    #[arg(long)]
    bytes: bool,
    /// Also what virsh does not show: whether copies share their blocks
    #[arg(long)]
    all: bool,
}

impl Info {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let view = super::pool::view(&self.pool, session).await?;
        session.show(&view, |view| {
            let yes = |yes: bool| if yes { "yes" } else { "no" };
            let size = |bytes: u64| if self.bytes { bytes.to_string() } else { pretty(bytes) };
            let mut text = String::new();
            field(&mut text, "Name", &view.name);
            field(&mut text, "UUID", view.uuid);
            field(&mut text, "State", if view.active { "running" } else { "inactive" });
            field(&mut text, "Persistent", yes(view.persistent));
            field(&mut text, "Autostart", yes(view.autostart));
            if view.active {
                field(&mut text, "Capacity", size(view.capacity_bytes));
                field(&mut text, "Allocation", size(view.allocation_bytes));
                field(&mut text, "Available", size(view.available_bytes));
            }
            // virsh has no such line: only for who asks for more than it shows.
            if let (true, Some(reflink)) = (self.all, view.reflink) {
                field(&mut text, "Reflink", yes(reflink));
            }
            text
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_tables_are_virshs() {
        let pool = |name: &str, active: bool| -> PoolView {
            serde_json::from_value(serde_json::json!({
                "name": name, "uuid": "dd8fe884-6c02-601e-7551-cca97df1c5df", "kind": "dir", "active": active,
                "persistent": true, "autostart": false, "capacity_bytes": 270_553_174_016_u64,
                "allocation_bytes": 41_737_007_104_u64, "available_bytes": 228_816_166_912_u64,
            }))
            .unwrap()
        };
        let pools = [pool("p", true), pool("p2", false)];
        expect![[r"
             Name   State      Autostart
            ------------------------------
             p      active     no
             p2     inactive   no
        "]]
        .assert_eq(&List::default().text(&pools, false));
        expect![[r"
             Name   State      Autostart   Persistent   Capacity     Allocation   Available
            ----------------------------------------------------------------------------------
             p      running    no          yes          251.97 GiB   38.87 GiB    213.10 GiB
             p2     inactive   no          yes          -            -            -
        "]]
        .assert_eq(&List { details: true, ..List::default() }.text(&pools, false));
        assert!(List::default().admits(&pools[0]) && !List::default().admits(&pools[1]));
    }
}
