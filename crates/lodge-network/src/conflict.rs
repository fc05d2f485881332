//! Is the bridge's name free, is the subnet free, and if not: whose is it?
//!
//! Looked at before anything is made. Who an interface belongs to is nowhere written down for all programs,
//! so it is told from what each leaves: our own alias, libvirt's state files, Docker's and LXC's names,
//! NetworkManager's and networkd's run-time files.

use std::path::Path;

use ipnet::IpNet;

use crate::NetworkError;
use crate::link::{Link, Links};
use crate::mark::Mark;
use crate::plan::{Plan, overlap};

/// Finds what stands in the way of `plan`. `tag` is our root's; what bears it is no conflict.
pub async fn check(links: &Links, plan: &Plan, tag: &str) -> Result<(), NetworkError> {
    let all = links.all().await?;
    let Some(bridge) = plan.bridge.as_deref() else { return Ok(()) };
    let existing = all.iter().find(|link| link.name == bridge);
    if plan.mode == crate::plan::Mode::Bridge {
        return on_foreign_bridge(plan, bridge, existing);
    }
    if let Some(link) = existing {
        let (owner, hint) = owner(link, tag, "bridge name", Path::new("/run"));
        return Err(NetworkError::Conflict { what: format!("interface `{bridge}`"), owner, hint });
    }
    let by_index = |index: u32| all.iter().find(|link| link.index == index);
    for (index, taken) in links.addresses().await? {
        if let Some(link) = by_index(index)
            && let Some(ours) = plan.addresses.iter().find(|net| overlap(net, &taken))
        {
            return Err(subnet_taken(*ours, &format!("its address {taken}"), link, tag));
        }
    }
    for (index, route) in links.routes().await? {
        // A wider route (a VPN's 10.0.0.0/8) stays good: the kernel prefers the narrower one.
        if let Some(link) = by_index(index)
            && let Some(ours) = plan.addresses.iter().find(|net| net.contains(&route))
        {
            return Err(subnet_taken(*ours, &format!("its route to {route}"), link, tag));
        }
    }
    Ok(())
}

fn on_foreign_bridge(plan: &Plan, bridge: &str, existing: Option<&Link>) -> Result<(), NetworkError> {
    match existing {
        Some(link) if link.is_bridge || plan.switched => Ok(()),
        Some(_) => Err(NetworkError::Conflict {
            what: format!("interface `{bridge}`"),
            owner: "something that is no bridge".into(),
            hint: format!("name a bridge in <bridge name='…'/> of network `{}`", plan.name),
        }),
        None => Err(NetworkError::Link {
            act: "find the bridge",
            subject: bridge.to_owned(),
            source: std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "forward mode 'bridge' uses a bridge that the host has already; make it first",
            ),
        }),
    }
}

fn subnet_taken(ours: IpNet, how: &str, link: &Link, tag: &str) -> NetworkError {
    let (owner, hint) = owner(link, tag, "subnet in <ip …>", Path::new("/run"));
    NetworkError::Conflict {
        what: format!("subnet {}", ours.trunc()),
        owner: format!("interface `{}` by {how}, which belongs to {owner}", link.name),
        hint,
    }
}

/// Whose interface it is, and what can be done. `run` is the host's `/run`.
fn owner(link: &Link, tag: &str, ours: &str, run: &Path) -> (String, String) {
    let name = &link.name;
    let choose = format!("choose another {ours}");
    if let Some(mark) = link.alias.as_deref().and_then(Mark::parse) {
        return if mark.tag == tag {
            let network = mark.network;
            (format!("this daemon's network {network}"), format!("stop that network first, or {choose}"))
        } else {
            let owner = format!("another Lodge daemon (root tag {}, network {})", mark.tag, mark.network);
            (owner, format!("stop that network there with `lodge net-destroy`, or {choose}"))
        };
    }
    if let Some(network) = libvirt_network(name, run) {
        let hint = format!("stop it with `virsh net-destroy {network}`, or {choose}");
        return (format!("libvirt's network `{network}`"), hint);
    }
    let docker_bridge = name
        .strip_prefix("br-")
        .is_some_and(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    let by_name = [
        (name.starts_with("docker") || docker_bridge, "Docker"),
        (name.starts_with("podman") || name.starts_with("cni-"), "Podman"),
        (name.starts_with("lxcbr"), "LXC"),
        (name.starts_with("incusbr") || name.starts_with("lxdbr"), "Incus or LXD"),
    ];
    if let Some((_, who)) = by_name.iter().find(|(matches, _)| *matches) {
        return ((*who).to_owned(), choose);
    }
    if run.join(format!("NetworkManager/devices/{}", link.index)).exists() {
        let hint = format!("`nmcli device show {name}` tells more; {choose}");
        return ("NetworkManager".into(), hint);
    }
    if networkd_manages(link.index, run) {
        return ("systemd-networkd".into(), format!("`networkctl status {name}` tells more; {choose}"));
    }
    let hint = format!("`ip -d address show {name}` tells more; remove it if nobody needs it, or {choose}");
    ("something else on this host".into(), hint)
}

/// The libvirt network that runs on this bridge, by libvirt's own state files.
fn libvirt_network(bridge: &str, run: &Path) -> Option<String> {
    let files = std::fs::read_dir(run.join("libvirt/network")).ok()?;
    let needles = [format!("name='{bridge}'"), format!("name=\"{bridge}\"")];
    files.filter_map(Result::ok).map(|file| file.path()).find_map(|path| {
        let is_state = path.extension().is_some_and(|extension| extension == "xml");
        let text = is_state.then(|| std::fs::read_to_string(&path).ok()).flatten()?;
        let runs_on =
            text.lines().any(|line| line.contains("<bridge") && needles.iter().any(|n| line.contains(n)));
        runs_on.then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned())).flatten()
    })
}

fn networkd_manages(index: u32, run: &Path) -> bool {
    let state = std::fs::read_to_string(run.join(format!("systemd/netif/links/{index}"))).unwrap_or_default();
    state.lines().any(|line| line.starts_with("ADMIN_STATE=") && !line.ends_with("unmanaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, alias: Option<&str>) -> Link {
        Link {
            index: 7,
            name: name.into(),
            alias: alias.map(Into::into),
            mac: None,
            controller: None,
            is_bridge: true,
            is_macvtap: false,
            up: true,
            first_vlan: None,
        }
    }

    #[test]
    fn the_owner_is_told_from_what_each_program_leaves() {
        let run = tempfile::tempdir().unwrap();
        let libvirt = run.path().join("libvirt/network");
        std::fs::create_dir_all(&libvirt).unwrap();
        let state =
            "<networkstatus>\n <network>\n  <bridge name='virbr0' stp='on'/>\n </network>\n</networkstatus>";
        std::fs::write(libvirt.join("default.xml"), state).unwrap();
        let whose = |name: &str, alias| owner(&link(name, alias), "aa", "bridge name", run.path()).0;
        let uuid = "55ab064f-62f8-49d3-8d25-8ef36a524344";
        assert_eq!(whose("virbr0", None), "libvirt's network `default`");
        assert_eq!(whose("docker0", None), "Docker");
        assert_eq!(whose("br-0123456789ab", None), "Docker");
        assert_eq!(whose("br-lan", None), "something else on this host");
        let other = format!("lodge:bb:{uuid}");
        assert_eq!(
            whose("virbr1", Some(&other)),
            format!("another Lodge daemon (root tag bb, network {uuid})")
        );
        let own = format!("lodge:aa:{uuid}");
        assert_eq!(whose("virbr1", Some(&own)), format!("this daemon's network {uuid}"));
        std::fs::create_dir_all(run.path().join("NetworkManager/devices/7")).unwrap();
        assert_eq!(whose("br-lan", None), "NetworkManager");
    }
}
