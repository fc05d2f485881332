//! What starting and stopping a network touches on the host besides its own bridge and rules: the kernel's
//! switch of forwarding, systemd-resolved, and a netd nobody holds any more.

use std::path::Path;

use ipnet::IpNet;
use lodge_sys::process::{Identity, Process};
use lodge_sys::tool::Tool;

use crate::client::Netd;
use crate::launch::{self, Places, file};
use crate::plan::Plan;
use crate::{NetworkError, limits};

/// Ends the netd that belongs to these places: by its record, or by what answers on its socket.
pub(super) async fn end_any_netd(places: &Places, network: &str) {
    if let Some(process) = launch::find(places) {
        launch::end(&process).await;
    }
    if !places.control.exists() {
        return;
    }
    let netd = Netd::at(network, places.control.clone());
    if let Ok(status) = netd.status(limits::NETD_ANSWER).await
        && let Ok(Some(identity)) = Identity::of(status.pid)
        && let Ok(Some(process)) = Process::hold(identity)
    {
        launch::end(&process).await;
    }
}

/// Guests reach nothing unless the host forwards. Told when it was off: it is the whole host's switch.
pub(super) fn switch_forwarding_on(plan: &Plan) -> Result<Vec<String>, NetworkError> {
    let mut notes = Vec::new();
    let families = [
        (
            "IPv4",
            "/proc/sys/net/ipv4/ip_forward",
            plan.addresses.iter().any(|net| matches!(net, IpNet::V4(_))),
        ),
        (
            "IPv6",
            "/proc/sys/net/ipv6/conf/all/forwarding",
            plan.addresses.iter().any(|net| matches!(net, IpNet::V6(_))),
        ),
    ];
    for (family, path, wanted) in families {
        let path = Path::new(path);
        let off = wanted && std::fs::read_to_string(path).map_err(file("read", path))?.trim() == "0";
        if off {
            std::fs::write(path, "1\n").map_err(file("switch forwarding on in", path))?;
            tracing::info!(family, "forwarding switched on");
            notes
                .push(format!("{family} forwarding was off on this host; it is on now ({})", path.display()));
        }
    }
    Ok(notes)
}

/// Where systemd-resolved runs, it learns whom to ask for the guests' domain. Elsewhere the host asks
/// the bridge's address itself (`dig @192.168.122.1 NAME`).
pub(super) async fn tell_resolved(plan: &Plan) {
    let (Some(bridge), Some(gateway), Some(rules)) =
        (plan.bridge.as_deref(), plan.gateway(), plan.dns.as_ref())
    else {
        return;
    };
    if !Path::new("/run/systemd/resolve/io.systemd.Resolve").exists() {
        return;
    }
    let domain =
        rules.domain.as_deref().map_or_else(|| "~.lodge.internal".to_owned(), |domain| format!("~{domain}"));
    let gateway = gateway.to_string();
    let calls: [&[&str]; 3] =
        [&["dns", bridge, &gateway], &["domain", bridge, &domain], &["default-route", bridge, "no"]];
    for args in calls {
        if let Err(error) = Tool::new("resolvectl", limits::NETD_ANSWER).args(args).run().await {
            tracing::warn!(network = %plan.name, ?args, %error, "systemd-resolved was not told");
            return;
        }
    }
}
