//! nftables, forwarding, and others who manage guests or networks here.

use crate::facts::{Facts, Firewall, OtherManagers};
use crate::report::{Check, Status};

use super::check;

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let mut found = vec![
        user(facts),
        nftables(&facts.firewall, facts.system.root),
        forwarding(&facts.firewall),
        others(&facts.others),
    ];
    found.extend(drops(&facts.firewall));
    found.extend(dns(&facts.others));
    found
}

fn user(facts: &Facts) -> Check {
    let system = &facts.system;
    let found = format!(
        "{}, Linux {} on {}, {} processors, {}",
        if system.distribution.is_empty() { "an unknown distribution" } else { &system.distribution },
        system.kernel,
        system.architecture,
        facts.cpu.count,
        if system.root { "as root" } else { "as an ordinary user: guests get user-mode networking only" },
    );
    check("system", "system", Status::Info, found, None)
}

fn nftables(firewall: &Firewall, root: bool) -> Check {
    let (id, title) = ("firewall.nft", "nftables");
    match (&firewall.nft, &firewall.tables) {
        (None, _) => {
            let found = "there is no nft: networks of mode nat and route do not start";
            check(id, title, Status::Warn, found, Some("`apt install nftables`".to_owned()))
        }
        (Some(_), Some(Ok(tables))) if tables.is_empty() => {
            check(id, title, Status::Ok, "nft answers; no tables yet", None)
        }
        (Some(_), Some(Ok(tables))) => {
            check(id, title, Status::Ok, format!("nft answers; tables: {}", tables.join(", ")), None)
        }
        (Some(_), Some(Err(error))) if !root => {
            check(id, title, Status::Info, format!("nft is there and needs root to answer ({error})"), None)
        }
        (Some(_), Some(Err(error))) => {
            let next = "use a kernel with nf_tables (`modprobe nf_tables`); networks of mode nat do not start without";
            check(id, title, Status::Warn, format!("nft fails: {error}"), Some(next.to_owned()))
        }
        (Some(_), None) => check(id, title, Status::Info, "nft was not asked", None),
    }
}

fn forwarding(firewall: &Firewall) -> Check {
    let (status, found) = match firewall.ip_forward {
        Some(true) => (Status::Ok, "net.ipv4.ip_forward is 1"),
        Some(false) => (
            Status::Info,
            "net.ipv4.ip_forward is 0; Lodge sets it when the first network of mode nat or route starts",
        ),
        None => (Status::Warn, "net.ipv4.ip_forward cannot be read"),
    };
    let next = (status == Status::Warn).then(|| "mount /proc, and boot a kernel with IPv4".to_owned());
    check("firewall.forward", "forwarding", status, found, next)
}

/// A dropping policy elsewhere wins over our accepting: nftables asks every chain at a hook.
fn drops(firewall: &Firewall) -> Option<Check> {
    if firewall.forward_drops.is_empty() {
        return None;
    }
    let found = format!("these chains drop what is forwarded: {}", firewall.forward_drops.join("; "));
    let next = if firewall.forward_drops.iter().any(|chain| chain == "ip filter FORWARD") {
        "Docker sets this policy; let guests' bridges through: `nft insert rule ip filter FORWARD iifname \"virbr*\" accept` \
         and `nft insert rule ip filter FORWARD oifname \"virbr*\" accept` (with Docker put them into chain DOCKER-USER)"
    } else {
        "let guests' bridges through in that chain: an accept in Lodge's own table does not overrule another's drop"
    };
    Some(check("firewall.conflict", "other firewalls", Status::Warn, found, Some(next.to_owned())))
}

fn others(others: &OtherManagers) -> Check {
    let bridge = match others.virbr0.as_deref() {
        None => "",
        Some(alias) if alias.starts_with("lodge:") => "; virbr0 is up and Lodge's",
        Some(_) => "; virbr0 is up and not Lodge's",
    };
    let (id, title) = ("others", "other managers");
    if others.running.is_empty() {
        return check(id, title, Status::Ok, format!("none is running{bridge}"), None);
    }
    let list: Vec<_> = others.running.iter().map(|(name, pid)| format!("{name} (pid {pid})")).collect();
    let found = format!("{}{bridge}", list.join(", "));
    let is_libvirt = |name: &str| name == "libvirtd" || name == "virtqemud" || name == "virtnetworkd";
    if others.running.iter().any(|(name, _)| is_libvirt(name)) {
        let next = "the same guests and networks must not have two managers: `systemctl stop libvirtd.socket libvirtd` (or \
                    virtqemud, virtnetworkd), or give Lodge its own `--root` and other bridge names and subnets";
        return check(id, title, Status::Warn, found, Some(next.to_owned()));
    }
    check(id, title, Status::Info, found, None)
}

/// A server on the wildcard address takes port 53 of every bridge to come.
fn dns(others: &OtherManagers) -> Option<Check> {
    let taken: Vec<_> = others.dns.iter().map(String::as_str).collect();
    if taken.is_empty() {
        return None;
    }
    let title = "DNS on port 53";
    if taken.contains(&"0.0.0.0") {
        let next = "have that server listen on its own addresses only (for dnsmasq: `bind-interfaces`), or networks of \
                    Lodge cannot answer DNS";
        let found = "a server listens on every address (`ss -lunp 'sport = :53'`)";
        return Some(check("others.dns", title, Status::Warn, found, Some(next.to_owned())));
    }
    Some(check("others.dns", title, Status::Info, format!("answered on {}", taken.join(", ")), None))
}
