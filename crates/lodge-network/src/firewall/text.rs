//! The rules as nft's text. Pure.
//!
//! Order matters in `forward`: traffic between guests of one bridge first, then *into* any bridge, then
//! *out of* any bridge. So a guest of one network does not reach another network's through the host.

use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::plan::{Mode, Nat, Plan};

/// A script that replaces the table by the rules of `plans`, or removes it when there are none.
pub fn ruleset(table: &str, plans: &[&Plan]) -> String {
    // `table` first, so that `delete` finds one; both happen in the one transaction.
    let mut text = format!("table inet {table}\ndelete table inet {table}\n");
    if plans.is_empty() {
        return text;
    }
    let mut rules = Rules::default();
    for plan in plans {
        rules.add(plan);
    }
    let Rules { input, cross, into, out_of, nat } = rules;
    writeln!(text, "table inet {table} {{").expect("a String takes all");
    chain(&mut text, "input", "filter hook input priority filter", &[input]);
    chain(&mut text, "forward", "filter hook forward priority filter", &[cross, into, out_of]);
    if !nat.is_empty() {
        chain(&mut text, "postrouting", "nat hook postrouting priority srcnat", &[nat]);
    }
    text.push_str("}\n");
    text
}

fn chain(text: &mut String, name: &str, hook: &str, parts: &[Vec<String>]) {
    write!(text, "\tchain {name} {{\n\t\ttype {hook}; policy accept;\n").expect("a String takes all");
    for rule in parts.iter().flatten() {
        writeln!(text, "\t\t{rule}").expect("a String takes all");
    }
    text.push_str("\t}\n");
}

#[derive(Default)]
struct Rules {
    input: Vec<String>,
    cross: Vec<String>,
    into: Vec<String>,
    out_of: Vec<String>,
    nat: Vec<String>,
}

impl Rules {
    fn add(&mut self, plan: &Plan) {
        let Some(bridge) = plan.bridge.as_deref() else { return };
        if plan.dhcp.is_some() {
            self.input.push(format!("iifname \"{bridge}\" udp dport 67 accept"));
        }
        if plan.dns.is_some() {
            self.input.push(format!("iifname \"{bridge}\" udp dport 53 accept"));
            self.input.push(format!("iifname \"{bridge}\" tcp dport 53 accept"));
        }
        self.cross.push(format!("iifname \"{bridge}\" oifname \"{bridge}\" accept"));
        let (from, to) = match &plan.forward_dev {
            Some(dev) => (format!("iifname \"{dev}\" "), format!("oifname \"{dev}\" ")),
            None => (String::new(), String::new()),
        };
        for net in &plan.addresses {
            let (family, subnet) = (family(net), net.trunc());
            let translated = match &plan.mode {
                Mode::Nat(nat) => matches!(net, IpNet::V4(_)) || nat.ipv6,
                Mode::Route => false,
                Mode::Isolated | Mode::Bridge | Mode::Open | Mode::Functions(_) => continue,
            };
            let only = if translated { "ct state established,related " } else { "" };
            self.into.push(format!("{from}oifname \"{bridge}\" {family} daddr {subnet} {only}accept"));
            self.out_of.push(format!("iifname \"{bridge}\" {to}{family} saddr {subnet} accept"));
            if let (true, Mode::Nat(nat)) = (translated, &plan.mode) {
                self.translate(net, &to, nat);
            }
        }
        self.into.push(format!("oifname \"{bridge}\" reject"));
        self.out_of.push(format!("iifname \"{bridge}\" reject"));
    }

    fn translate(&mut self, net: &IpNet, to: &str, nat: &Nat) {
        let (family, subnet) = (family(net), net.trunc());
        let from = format!("{family} saddr {subnet}");
        // What stays on the bridge, or goes to all on it, keeps its address.
        match net {
            IpNet::V4(_) => {
                self.nat.push(format!("{from} ip daddr {{ 224.0.0.0/24, 255.255.255.255 }} return"));
            }
            IpNet::V6(_) => self.nat.push(format!("{from} ip6 daddr ff02::/16 return")),
        }
        let (first, last) = nat.ports.unwrap_or((1_024, 65_535));
        let leaving = format!("{from} {family} daddr != {subnet} {to}");
        let matching = nat.addresses.filter(|(start, _)| start.is_ipv4() == matches!(net, IpNet::V4(_)));
        match matching {
            None => {
                self.nat.push(format!("{leaving}meta l4proto {{ tcp, udp }} masquerade to :{first}-{last}"));
                self.nat.push(format!("{leaving}masquerade"));
            }
            Some((start, end)) => {
                let addresses = if start == end {
                    literal(start)
                } else {
                    format!("{}-{}", literal(start), literal(end))
                };
                let target = format!("snat {family} to {addresses}");
                self.nat.push(format!("{leaving}meta l4proto {{ tcp, udp }} {target}:{first}-{last}"));
                self.nat.push(format!("{leaving}{target}"));
            }
        }
    }
}

fn literal(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn family(net: &IpNet) -> &'static str {
    match net {
        IpNet::V4(_) => "ip",
        IpNet::V6(_) => "ip6",
    }
}

#[cfg(test)]
mod tests;
