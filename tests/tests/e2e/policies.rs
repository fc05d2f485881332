//! What is wished of a clone beside being another: addresses, private keys; and what it says must be filled.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lodge_tests::Host;
use serde_json::Value;

use super::identity::a_host_with_web1;

const PATIENCE: Duration = Duration::from_mins(5);

/// What the seed of this program's tests says of templates: an address of its own, keys, values left to be filled.
const FILES: &[(&str, &str)] = &[
    (
        "etc/network/interfaces",
        "auto eth0\niface eth0 inet static\n  address 192.0.2.9/24\n  gateway 192.0.2.1\n",
    ),
    ("etc/wireguard/wg0.conf", "[Interface]\nPrivateKey = c2VjcmV0\n"),
    ("etc/iscsi/initiatorname.iscsi", "InitiatorName=\n"),
    ("etc/sysconfig/network-scripts/ifcfg-eth1", "DEVICE=eth1\nBOOTPROTO=none\nIPADDR=\n"),
];

fn addresses(host: &Host, name: &str) -> Result<Vec<String>> {
    let shown = host.json(&["identity", "show", name])?;
    let view = if shown.is_array() { &shown[0] } else { &shown };
    let items = view["items"].as_array().context("items")?;
    let addresses = items.iter().filter(|item| item["item"] == "static-address");
    Ok(addresses.filter_map(|item| item["value"].as_str().map(str::to_owned)).collect())
}

fn says(view: &Value, place: &str) -> bool {
    view["to_fill"].as_array().is_some_and(|all| all.iter().any(|one| one.as_str() == Some(place)))
}

#[test]
fn a_clone_has_the_address_that_was_asked_for_or_is_not_made() -> Result<()> {
    let Some((_turn, host)) = a_host_with_web1("", FILES)? else { return Ok(()) };
    let clone = |args: &[&str]| host.lodge_for(PATIENCE, &[&["clone", "web1"][..], args].concat());

    let kept = clone(&["same"])?.ok()?;
    ensure!(kept.stderr.contains("192.0.2.9/24 is a static address"), "{}", kept.stderr);
    ensure!(addresses(&host, "same")? == ["192.0.2.9/24"], "{:?}", addresses(&host, "same")?);

    let other = clone(&["web2", "--address", "eth0=192.0.2.10/24,192.0.2.1"])?.ok()?;
    ensure!(!other.stderr.contains("192.0.2.9/24 is a static address"), "{}", other.stderr);
    ensure!(addresses(&host, "web2")? == ["192.0.2.10/24"], "{:?}", addresses(&host, "web2")?);

    let two = ["node", "--count", "2", "--address"];
    let refused = clone(&[&two[..], &["eth0=192.0.2.30/24"]].concat())?;
    ensure!(
        !refused.status.success() && refused.stderr.contains("2 clones are asked for"),
        "{}",
        refused.stderr
    );
    clone(&[&two[..], &["eth0=192.0.2.30-192.0.2.31/24"]].concat())?.ok()?;
    ensure!(
        addresses(&host, "node-1")? == ["192.0.2.30/24"] && addresses(&host, "node-2")? == ["192.0.2.31/24"]
    );
    clone(&["asks", "--address", "eth0=dhcp"])?.ok()?;
    ensure!(addresses(&host, "asks")?.is_empty(), "{:?}", addresses(&host, "asks")?);

    // The only interface that it has, by its number.
    clone(&["first", "--address", "0=dhcp"])?.ok()?;
    ensure!(addresses(&host, "first")?.is_empty(), "{:?}", addresses(&host, "first")?);

    // An address that would be written nowhere, and DHCP that nothing would ask.
    let unknown = ["no configuration of the interface `eth9`", "ask DHCP"];
    clone(&["lost", "--address", "eth9=dhcp"])?.fails_saying(&unknown)?;
    let lost = clone(&["lost", "--address", "eth9=192.0.2.40/24"])?;
    ensure!(
        !lost.status.success() && lost.stderr.contains("no configuration of the interface `eth9`"),
        "{}",
        lost.stderr
    );
    let listed = host.lodge(&["list", "--all", "--name"])?.ok()?.stdout;
    ensure!(!listed.contains("lost") && listed.contains("node-2"), "{listed}");
    Ok(())
}

#[test]
fn what_must_be_filled_is_told_and_private_keys_go_by_the_policy() -> Result<()> {
    let Some((_turn, host)) = a_host_with_web1("", FILES)? else { return Ok(()) };
    let (initiator, address) = (
        "/etc/iscsi/initiatorname.iscsi: InitiatorName is empty",
        "/etc/sysconfig/network-scripts/ifcfg-eth1: IPADDR is empty",
    );

    let strict = ["template", "create", "web1", "--name", "strict", "--private-keys", "refuse"];
    let refused = host.lodge_for(PATIENCE, &strict)?;
    ensure!(
        !refused.status.success() && refused.stderr.contains("/etc/wireguard/wg0.conf"),
        "{}",
        refused.stderr
    );
    ensure!(!host.lodge(&["template", "info", "strict"])?.status.success(), "a template was made");

    let made = host
        .lodge_for(PATIENCE, &["template", "create", "web1", "--name", "web", "--private-keys", "remove"])?;
    let made = made.ok()?;
    ensure!(made.stderr.contains(initiator), "{}", made.stderr);
    let info = host.lodge(&["template", "info", "web"])?.ok()?.stdout;
    ensure!(info.contains("To fill:") && info.contains(address), "{info}");
    let view = host.json(&["template", "info", "web"])?;
    ensure!(says(&view, initiator) && says(&view, address), "{view}");
    let gone = |view: &Value| {
        view["changes"].as_array().is_some_and(|all| all.iter().any(|one| one["item"] == "wireguard-key"))
    };
    ensure!(gone(&view), "{view}");

    let clone = host.lodge_for(PATIENCE, &["clone", "web", "web2"])?.ok()?;
    ensure!(clone.stderr.contains(&format!("to be filled: {address}")), "{}", clone.stderr);
    let shown = host.lodge_for(PATIENCE, &["identity", "show", "web2"])?.ok()?.stdout;
    ensure!(shown.contains(&format!("to be filled: {address}")), "{shown}");
    ensure!(!shown.contains("wireguard-key"), "{shown}");

    let rules = host.lodge(&["identity", "rules"])?.ok()?.stdout;
    ensure!(rules.contains("iscsi-initiator") && rules.contains("new-suffix"), "{rules}");
    Ok(())
}
