//! The parts of a seed that are ours: meta-data and network-config. Written as JSON, which is YAML that no value
//! can break out of.

use lodge_model::MacAddr;
use serde_json::{Map, Value, json};

use super::{KEYS_MAX, SeedError, SeedSpec};
use crate::keys;

pub(super) fn meta_data(spec: &SeedSpec) -> Result<String, SeedError> {
    check_hostname(&spec.hostname)?;
    if spec.ssh_keys.len() > KEYS_MAX {
        return Err(SeedError::TooManyKeys { found: spec.ssh_keys.len(), most: KEYS_MAX });
    }
    let mut keys = Vec::new();
    for (at, key) in spec.ssh_keys.iter().enumerate() {
        keys.push(keys::check_public(key).map_err(|source| SeedError::Key { number: at + 1, source })?);
    }
    let mut meta = Map::new();
    meta.insert("instance-id".to_owned(), json!(spec.instance_id));
    meta.insert("local-hostname".to_owned(), json!(spec.hostname));
    if !keys.is_empty() {
        meta.insert("public-keys".to_owned(), json!(keys));
    }
    Ok(pretty(&Value::Object(meta)))
}

/// Network config version 2: cloud-init's documentation, "Networking config Version 2".
pub(super) fn network_config(nics: &[MacAddr]) -> String {
    let ethernets: Map<_, _> =
        nics.iter().enumerate().map(|(at, mac)| (format!("nic{at}"), dhcp(*mac))).collect();
    pretty(&json!({ "version": 2, "ethernets": ethernets }))
}

/// `dhcp-identifier: mac`: a guest that was made anew on the same nic asks as the same client, so it gets the same
/// address.
fn dhcp(mac: MacAddr) -> Value {
    json!({ "match": { "macaddress": mac.to_string() }, "dhcp4": true, "dhcp-identifier": "mac" })
}

/// RFC 1123, 2.1; a trailing dot is not taken.
fn check_hostname(name: &str) -> Result<(), SeedError> {
    let fault = |reason| Err(SeedError::Hostname { name: name.chars().take(80).collect(), reason });
    if name.is_empty() || name.len() > 253 {
        return fault("it must have 1 to 253 characters");
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return fault("each part between dots must have 1 to 63 characters");
        }
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return fault("it has characters other than letters, digits, `-` and dots");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return fault("a part begins or ends with `-`");
        }
    }
    Ok(())
}

/// The host name for a domain called `name`: what may stand in a host name of it.
pub fn hostname_of(name: &str) -> String {
    let mut host = String::new();
    for c in name.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' => host.push(c.to_ascii_lowercase()),
            _ if host.is_empty() || host.ends_with('-') => {}
            _ => host.push('-'),
        }
    }
    host.truncate(63);
    let host = host.trim_end_matches('-');
    if host.is_empty() { "guest".to_owned() } else { host.to_owned() }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
