//! `net-info net-uuid net-name net-dhcp-leases`.

use clap::Args;
use lodge_client::api::{Lease, NetworkView};

use crate::failure::{Failure, What};
use crate::output::{field, local_time, or_dash};
use crate::session::Session;

async fn view(net: &str, session: &mut Session) -> Result<NetworkView, Failure> {
    session.client().await?.network(net).await.on_network(net, "")
}

pub async fn info(net: &str, session: &mut Session) -> Result<(), Failure> {
    let view = view(net, session).await?;
    session.show(&view, |view| {
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        let mut text = String::new();
        field(&mut text, "Name", &view.name);
        field(&mut text, "UUID", view.uuid);
        field(&mut text, "Active", yes(view.active));
        field(&mut text, "Persistent", yes(view.persistent));
        field(&mut text, "Autostart", yes(view.autostart));
        if let Some(bridge) = &view.bridge {
            field(&mut text, "Bridge", bridge);
        }
        text
    });
    Ok(())
}

pub async fn uuid(net: &str, session: &mut Session) -> Result<(), Failure> {
    let view = view(net, session).await?;
    session.show(&view.uuid, |uuid| format!("{uuid}\n"));
    Ok(())
}

pub async fn name(net: &str, session: &mut Session) -> Result<(), Failure> {
    let view = view(net, session).await?;
    session.show(&view.name, |name| format!("{name}\n"));
    Ok(())
}

#[derive(Debug, Args)]
pub struct Leases {
    /// network name or uuid
    #[arg(value_name = "network")]
    network: String,
    /// MAC address
    #[arg(long, value_name = "string")]
    mac: Option<String>,
}

impl Leases {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let net = &self.network;
        let mut leases = session.client().await?.leases(net).await.on_network(net, "get leases info for")?;
        if let Some(wanted) = &self.mac {
            leases.retain(|lease| lease.mac.eq_ignore_ascii_case(wanted));
        }
        session.show(&leases, |leases| {
            let heading =
                ["Expiry Time", "MAC address", "Protocol", "IP address", "Hostname", "Client ID or DUID"];
            session.table(&heading, &leases.iter().map(row).collect::<Vec<_>>())
        });
        Ok(())
    }
}

fn row(lease: &Lease) -> Vec<String> {
    vec![
        lease.expires_ms.map_or_else(|| "-".to_owned(), local_time),
        lease.mac.clone(),
        lease.family.to_string(),
        format!("{}/{}", lease.ip, lease.prefix),
        or_dash(lease.hostname.as_ref()),
        or_dash(lease.client_id.as_ref()),
    ]
}
