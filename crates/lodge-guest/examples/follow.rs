//! Makes a seed, or follows a guest by its agent's socket, without a daemon: to look at this crate by itself.
//!
//! ```text
//! cargo run -p lodge-guest --example follow -- seed USER-DATA KEY.pub OUT.iso MAC
//! cargo run -p lodge-guest --example follow -- guest AGENT.sock SPEED
//! ```

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use lodge_guest::readiness::guest::AgentGuest;
use lodge_guest::readiness::{Leases, Phase, Sight, Signal, watch};
use lodge_guest::seed::{Network, SeedSpec, UserData, hostname_of, nocloud};
use lodge_qemu::agent::Agent;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["seed", user_data, key, out, mac] => seed(user_data, key, out, mac),
        ["guest", socket, speed] => follow(socket, speed.parse()?).await,
        _ => bail!("seed USER-DATA KEY.pub OUT.iso MAC | guest AGENT.sock SPEED"),
    }
}

fn seed(user_data: &str, key: &str, out: &str, mac: &str) -> anyhow::Result<()> {
    let spec = SeedSpec {
        instance_id: format!("iid-{}", uuid::Uuid::new_v4()),
        hostname: hostname_of("follow"),
        user_data: Some(UserData::parse(&std::fs::read(user_data)?).context("the user-data")?),
        ssh_keys: vec![std::fs::read_to_string(key)?],
        network: Network::Dhcp(vec![mac.parse()?]),
        vendor_data: None,
    };
    let seed = nocloud(&spec)?;
    seed.notes.iter().for_each(|note| println!("note: {note}"));
    Ok(std::fs::write(out, &seed.iso)?)
}

struct NoLeases;

#[async_trait::async_trait]
impl Leases for NoLeases {
    async fn addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }
}

async fn follow(socket: &str, speed: f64) -> anyhow::Result<()> {
    let sight = Sight { agent_channel: true, nics: true, seed: true };
    let guest = Arc::new(AgentGuest::new(Agent::new(Path::new(socket)), Vec::new()));
    let watcher = watch(sight, speed, guest, Arc::new(NoLeases));
    watcher.signal(Signal::Started);
    let mut changes = watcher.subscribe();
    let begun = std::time::Instant::now();
    loop {
        changes.changed().await?;
        let now = changes.borrow_and_update().clone();
        println!("{:6.1} {:10} {}", begun.elapsed().as_secs_f64(), now.phase.word(), now.message);
        let told = now.failure.as_ref().is_none_or(|failure| failure.log_line.is_some() || failure.stalled);
        if now.phase == Phase::Failed && told || now.phase == Phase::Ready && now.hostname.is_some() {
            println!("{}", serde_json::to_string_pretty(&now)?);
            return Ok(());
        }
    }
}
