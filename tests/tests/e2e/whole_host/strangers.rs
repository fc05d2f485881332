//! Machines on the networks that are no guests: an audit finds one that answers with a guest's address.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, document::tiny_with, turn_alone};

const MAC: &str = "52:54:00:5a:5a:01";
const BRIDGE: &str = "lgt-a1";

/// A machine on the host's bridge, played by a network namespace; it is gone when this is dropped.
struct Stranger(String);

impl Stranger {
    fn plug(mac: &str, addresses: &[&str]) -> Result<Self> {
        let space = format!("lodge-audit-{}", std::process::id());
        ip(&["netns", "add", &space])?;
        let stranger = Self(space);
        let space = stranger.0.as_str();
        ip(&["link", "add", "lgt-a1-s", "type", "veth", "peer", "name", "eth0", "netns", space])?;
        ip(&["link", "set", "lgt-a1-s", "master", BRIDGE, "up"])?;
        ip(&["-n", space, "link", "set", "eth0", "address", mac, "up"])?;
        for address in addresses {
            let mut words = vec!["-n", space, "addr", "add", address, "dev", "eth0"];
            words.extend(address.contains(':').then_some("nodad"));
            ip(&words)?;
        }
        Ok(stranger)
    }

    /// Says a word to an address, for which it must ask who that is; so the host learns who it is itself.
    fn speaks_to(&self, address: &str) -> Result<()> {
        let say = format!("for n in 1 2 3 4 5; do echo x >/dev/udp/{address}/9 && break; sleep 0.3; done");
        ip(&["netns", "exec", &self.0, "bash", "-c", &say])
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // A namespace goes when it goes; its cable goes now.
        drop(ip(&["link", "del", "lgt-a1-s"]));
        drop(ip(&["netns", "del", &self.0]));
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let done = Command::new("ip").args(args).output().context("ip does not run")?;
    ensure!(done.status.success(), "ip {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// By ARP, and by IPv6 alone, of which ARP's table knows nothing.
#[test]
fn a_stranger_with_a_guests_address_is_found_by_either_protocol() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let host = Host::start()?;
    let network = format!(
        "<network><name>lab</name><bridge name='{BRIDGE}' stp='off' delay='0'/>
         <ip address='192.168.231.1' netmask='255.255.255.0'/>
         <ip family='ipv6' address='2001:db8:231::1' prefix='64'/></network>"
    );
    let network = host.file("lab.xml", &network)?;
    host.lodge(&["net-define", &network])?.ok()?;
    host.lodge(&["net-start", "lab"])?.ok()?;
    let card = format!("<interface type='network'><mac address='{MAC}'/><source network='lab'/></interface>");
    let document = host.file("web1.xml", &tiny_with("web1", &card))?;
    host.lodge(&["define", &document])?.ok()?;
    host.lodge(&["identity", "audit"])?.ok()?;

    let found = |address: &str| -> Result<()> {
        let audit = host.lodge(&["identity", "audit"])?;
        let shown = &audit.stdout;
        ensure!(audit.status.code() == Some(1), "{:?}: {shown}{}", audit.status, audit.stderr);
        let words = ["mac-address", MAC, "web1", &format!("neighbour {address} on {BRIDGE}")];
        ensure!(words.iter().all(|word| shown.contains(word)), "{shown}");
        Ok(())
    };
    {
        let stranger = Stranger::plug(MAC, &["2001:db8:231::7/64"])?;
        stranger.speaks_to("2001:db8:231::1")?;
        found("2001:db8:231::7")?;
    }
    // It went, and the bridge has forgotten it.
    host.lodge(&["identity", "audit"])?.ok()?;
    let stranger = Stranger::plug(MAC, &["192.168.231.7/24"])?;
    stranger.speaks_to("192.168.231.1")?;
    found("192.168.231.7")
}
