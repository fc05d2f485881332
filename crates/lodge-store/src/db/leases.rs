//! Which address a network gave to which interface. netd's journal is the authority while it runs; here is
//! what the daemon was told, for questions and for the next netd.

use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use super::{Db, DbError};

/// A lease's row. Addresses are in their usual notation; this crate does not read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    /// The network's UUID.
    pub network: String,
    /// The IP address.
    pub address: String,
    /// The interface's MAC address, lower case.
    pub mac: String,
    /// The name the guest gave itself.
    pub hostname: Option<String>,
    /// The DHCP client identifier, hexadecimal.
    pub client_id: Option<String>,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: i64,
}

const COLUMNS: &str = "network, address, mac, hostname, client_id, expires_ms";

impl Db {
    /// Notes leases, each new or renewed.
    pub async fn put_leases(&self, leases: Vec<LeaseRow>) -> Result<(), DbError> {
        self.write("note the leases", move |db| {
            let mut put = db.prepare_cached(&format!(
                "INSERT OR REPLACE INTO leases ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
            ))?;
            for lease in leases {
                let LeaseRow { network, address, mac, hostname, client_id, expires_ms } = lease;
                put.execute(params![network, address, mac, hostname, client_id, expires_ms])?;
            }
            Ok(())
        })
        .await
    }

    /// Removes one lease. `Ok(false)`: there was none.
    pub async fn remove_lease(&self, network: &str, address: &str) -> Result<bool, DbError> {
        let (network, address) = (network.to_owned(), address.to_owned());
        self.write("remove the lease", move |db| {
            db.prepare_cached("DELETE FROM leases WHERE network = ?1 AND address = ?2")?
                .execute([network, address])
                .map(|count| count > 0)
        })
        .await
    }

    /// Removes all leases of a network.
    pub async fn remove_leases(&self, network: &str) -> Result<(), DbError> {
        let network = network.to_owned();
        self.write("remove the network's leases", move |db| {
            db.prepare_cached("DELETE FROM leases WHERE network = ?1")?.execute([network]).map(|_| ())
        })
        .await
    }

    /// The leases of one network, or of all.
    pub async fn leases(&self, network: Option<&str>) -> Result<Vec<LeaseRow>, DbError> {
        let network = network.map(str::to_owned);
        self.read("list the leases", move |db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM leases WHERE ?1 IS NULL OR network = ?1 ORDER BY network, address"
            ))?;
            query.query_map([network], lease)?.collect()
        })
        .await
    }
}

fn lease(row: &Row<'_>) -> rusqlite::Result<LeaseRow> {
    Ok(LeaseRow {
        network: row.get(0)?,
        address: row.get(1)?,
        mac: row.get(2)?,
        hostname: row.get(3)?,
        client_id: row.get(4)?,
        expires_ms: row.get(5)?,
    })
}
