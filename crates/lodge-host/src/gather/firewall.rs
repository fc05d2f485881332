//! nftables as it answers, forwarding, and other people's chains that drop what is forwarded.

use serde_json::Value;

use crate::facts::Firewall;

use super::{find_program, output, text};

pub(super) fn firewall() -> Firewall {
    let nft = find_program("nft");
    let chains = nft.as_deref().map(|nft| output(nft, &["-j", "list", "chains"]));
    let tables = nft.as_deref().map(|nft| output(nft, &["-j", "list", "tables"]));
    Firewall {
        tables: tables.map(|told| told.map(|json| table_names(&json))),
        forward_drops: chains.and_then(Result::ok).map(|json| forward_drops(&json)).unwrap_or_default(),
        ip_forward: match text("/proc/sys/net/ipv4/ip_forward").trim() {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        },
        nft,
    }
}

/// The objects of one sort in `nft -j`'s answer: `{"nftables": [{"table": {…}}, …]}`.
fn objects(json: &str, sort: &str) -> Vec<Value> {
    let answer: Value = serde_json::from_str(json).unwrap_or_default();
    let list = answer.get("nftables").and_then(Value::as_array).cloned().unwrap_or_default();
    list.into_iter().filter_map(|entry| entry.get(sort).cloned()).collect()
}

fn word<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn table_names(json: &str) -> Vec<String> {
    objects(json, "table")
        .iter()
        .map(|table| format!("{} {}", word(table, "family"), word(table, "name")))
        .collect()
}

/// Base chains at the forward hook with policy drop, but for our own and libvirt's.
fn forward_drops(json: &str) -> Vec<String> {
    objects(json, "chain")
        .iter()
        .filter(|chain| word(chain, "hook") == "forward" && word(chain, "policy") == "drop")
        .filter(|chain| !word(chain, "table").starts_with("lodge"))
        .map(|chain| format!("{} {} {}", word(chain, "family"), word(chain, "table"), word(chain, "name")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_forward_policy_is_seen() {
        let json = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
            {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", "policy": "drop"}},
            {"chain": {"family": "ip", "table": "filter", "name": "DOCKER"}},
            {"chain": {"family": "inet", "table": "lodge", "name": "f", "hook": "forward", "policy": "drop"}}]}"#;
        assert_eq!(forward_drops(json), ["ip filter FORWARD"]);
        assert!(forward_drops("not json").is_empty());
        assert_eq!(table_names(r#"{"nftables": [{"table": {"family": "ip", "name": "nat"}}]}"#), ["ip nat"]);
    }
}
