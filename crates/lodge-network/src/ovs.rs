//! Ports of an Open vSwitch bridge, by its own `ovs-vsctl`: the switch's database outlives a tap and a guest.
//!
//! Whose a port is stands in the database, as libvirt writes it (`external_ids:vm-id`), so that what a crash left is
//! found there. Deliberately absent: limits and isolation of such ports, which are refused.

use std::path::Path;
use std::time::Duration;

use lodge_model::domain::interface::Vlans;
use lodge_model::{DomainId, MacAddr};
use lodge_sys::tool::{Tool, ToolError, find};

use crate::{NetworkError, SwitchPort};

const PROGRAM: &str = "ovs-vsctl";
/// `ovs-vsctl` waits for the switch itself for as long, and we for it.
const SWITCH_PATIENCE: &str = "--timeout=5";
const PATIENCE: Duration = Duration::from_secs(10);
/// Where the switch's database listens.
const DATABASE: &str = "/var/run/openvswitch/db.sock";

/// Puts a tap on a bridge of the switch's, in place of what had its name before.
pub(crate) async fn add(
    ifname: &str,
    guest: (DomainId, MacAddr),
    port: &SwitchPort,
    vlans: Option<&Vlans>,
    mtu: Option<u32>,
) -> Result<(), NetworkError> {
    run(port_arguments(ifname, guest, port, vlans, mtu))
        .await
        .map(drop)
        .map_err(|error| failed(ifname, &error))
}

/// Takes one port away; none is no error.
pub(crate) async fn remove(ifname: &str) -> Result<(), NetworkError> {
    if !is_there() {
        return Ok(());
    }
    let arguments = ["--", "--if-exists", "del-port", ifname].map(str::to_owned);
    run(arguments.to_vec()).await.map(drop).map_err(|error| failed(ifname, &error))
}

/// Takes away all ports of a guest's.
pub(crate) async fn remove_all(domain: DomainId) -> Result<(), NetworkError> {
    if !is_there() {
        return Ok(());
    }
    let mine = format!("external_ids:vm-id=\"{domain}\"");
    let ask = ["--bare", "--columns=name", "find", "Interface", mine.as_str()].map(str::to_owned);
    let said = run(ask.to_vec()).await.map_err(|error| failed(&domain.to_string(), &error))?;
    for ifname in String::from_utf8_lossy(&said).split_whitespace() {
        remove(ifname).await?;
    }
    Ok(())
}

/// Whether there is a switch at all.
fn is_there() -> bool {
    Path::new(DATABASE).exists() && find(PROGRAM).is_some()
}

async fn run(arguments: Vec<String>) -> Result<Vec<u8>, ToolError> {
    Tool::new(PROGRAM, PATIENCE).arg(SWITCH_PATIENCE).args(arguments).run().await
}

fn failed(subject: &str, error: &ToolError) -> NetworkError {
    NetworkError::Switch {
        subject: subject.to_owned(),
        missing: matches!(error, ToolError::Missing { .. }),
        detail: error.to_string(),
    }
}

fn port_arguments(
    ifname: &str,
    (domain, mac): (DomainId, MacAddr),
    port: &SwitchPort,
    vlans: Option<&Vlans>,
    mtu: Option<u32>,
) -> Vec<String> {
    let SwitchPort { bridge, interface, profile } = port;
    let mut all: Vec<String> =
        ["--", "--if-exists", "del-port", ifname, "--", "add-port", bridge.as_str(), ifname]
            .map(str::to_owned)
            .to_vec();
    if let Some(vlans) = vlans {
        if let Some((native, untagged)) = vlans.native {
            let mode = if untagged { "native-untagged" } else { "native-tagged" };
            all.extend([format!("vlan_mode={mode}"), format!("tag={native}")]);
        }
        let tags: Vec<String> = vlans.tags.iter().map(ToString::to_string).collect();
        all.push(format!("{}={}", if vlans.trunk { "trunk" } else { "tag" }, tags.join(",")));
    }
    let mut set =
        |what: String| all.extend(["--", "set", "Interface", ifname, what.as_str()].map(str::to_owned));
    set(format!("external-ids:attached-mac=\"{mac}\""));
    set(format!("external-ids:iface-id=\"{interface}\""));
    set(format!("external-ids:vm-id=\"{domain}\""));
    if let Some(profile) = profile {
        set(format!("external-ids:port-profile=\"{profile}\""));
    }
    set("external-ids:iface-status=active".to_owned());
    if let Some(mtu) = mtu {
        set(format!("mtu_request={mtu}"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_says_whose_it_is_and_which_vlans_it_has() {
        let domain: DomainId = "c937928f-8741-480c-9b26-fc0c70160668".parse().unwrap();
        let guest = (domain, MacAddr([0x52, 0x54, 0, 0, 0, 1]));
        let port = SwitchPort {
            bridge: "ovs0".into(),
            interface: "09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f".into(),
            profile: Some("menial".into()),
        };
        let trunk = Vlans { trunk: true, tags: vec![42, 47], native: Some((47, true)) };
        let all = port_arguments("vnet0", guest, &port, Some(&trunk), Some(9000)).join(" ");
        let expected = "-- --if-exists del-port vnet0 -- add-port ovs0 vnet0 vlan_mode=native-untagged tag=47 trunk=42,47 \
            -- set Interface vnet0 external-ids:attached-mac=\"52:54:00:00:00:01\" \
            -- set Interface vnet0 external-ids:iface-id=\"09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f\" \
            -- set Interface vnet0 external-ids:vm-id=\"c937928f-8741-480c-9b26-fc0c70160668\" \
            -- set Interface vnet0 external-ids:port-profile=\"menial\" \
            -- set Interface vnet0 external-ids:iface-status=active -- set Interface vnet0 mtu_request=9000";
        assert_eq!(all, expected);
        let one = Vlans { trunk: false, tags: vec![7], native: None };
        let all =
            port_arguments("vnet0", guest, &SwitchPort { profile: None, ..port }, Some(&one), None).join(" ");
        assert!(all.contains("add-port ovs0 vnet0 tag=7 -- set") && !all.contains("port-profile"), "{all}");
    }
}
