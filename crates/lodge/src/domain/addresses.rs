//! `domifaddr`.

use std::fmt::Write;

use clap::Args;
use lodge_client::api::{AddressSource, InterfaceAddresses};

use crate::failure::{Failure, What, invalid};
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Domifaddr {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// network interface name
    #[arg(long, value_name = "string")]
    interface: Option<String>,
    /// always display names and MACs of interfaces
    #[arg(long)]
    full: bool,
    /// address source: 'lease', 'agent', or 'arp'
    #[arg(long, value_name = "string")]
    source: Option<String>,
}

impl Domifaddr {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let source = match self.source.as_deref() {
            None | Some("lease") => AddressSource::Lease,
            Some("agent") => AddressSource::Agent,
            Some("arp") => AddressSource::Arp,
            Some(other) => return Err(invalid(format!("Unknown data source '{other}'"))),
        };
        let (client, dom) = (session.client().await?, &self.domain);
        let found = client.domain_interfaces(dom, source).await;
        let mut found = found.on_domain(dom, "query for interfaces addresses of")?;
        if let Some(wanted) = &self.interface {
            found.retain(|interface| interface.name == *wanted);
        }
        session.show(&found, |found| table(found, self.full, session.quiet()));
        Ok(())
    }
}

/// Not virsh's usual table: fixed columns, and a rule of 79 dashes.
fn table(found: &[InterfaceAddresses], full: bool, quiet: bool) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a String takes all");
    if !quiet {
        line(format_args!(" {:10} {:20} {:8}     Address", "Name", "MAC address", "Protocol"));
        line(format_args!("{}", "-".repeat(79)));
    }
    for interface in found {
        let mac = interface.mac.as_deref();
        if interface.addresses.is_empty() {
            line(format_args!(" {:10} {:17}    {:12} N/A", interface.name, mac.unwrap_or("N/A"), "N/A"));
        }
        for (at, address) in interface.addresses.iter().enumerate() {
            let (name, mac) =
                if full || at == 0 { (interface.name.as_str(), mac.unwrap_or_default()) } else { ("-", "-") };
            line(format_args!(
                " {name:10} {mac:17}    {:12} {}/{}",
                address.family, address.ip, address.prefix
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_table_is_virshs() {
        let found: Vec<InterfaceAddresses> = serde_json::from_value(serde_json::json!([
            { "name": "vnet0", "mac": "aa:bb:cc:dd:ee:ff", "addresses": [
                { "family": "ipv4", "ip": "192.168.122.3", "prefix": 24 }, { "family": "ipv6", "ip": "fd00::3", "prefix": 64 }] },
            { "name": "vnet1", "addresses": [] },
        ]))
        .unwrap();
        expect![[r"
             Name       MAC address          Protocol     Address
            -------------------------------------------------------------------------------
             vnet0      aa:bb:cc:dd:ee:ff    ipv4         192.168.122.3/24
             -          -                    ipv6         fd00::3/64
             vnet1      N/A                  N/A          N/A
        "]]
        .assert_eq(&table(&found, false, false));
    }
}
