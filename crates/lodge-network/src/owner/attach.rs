//! Plugging guests in and out.

use lodge_model::NetworkId;

use super::{Owner, Plugged, host_side};
use crate::client::Netd;
use crate::link::gone;
use crate::mark::{Guest, Mark};
use crate::{AttachRequest, Attached, NetworkError, Nic};

/// libvirt's own prefix of tap names; a document's wish for such a name is not one.
pub(super) const AUTOMATIC: &str = "vnet";

impl Owner {
    pub(super) async fn attach(&mut self, request: AttachRequest) -> Result<Attached, NetworkError> {
        let id = self.by_name(&request.network)?;
        let entry = self.entry(id)?;
        let Some(running) = &entry.running else {
            return Err(NetworkError::Inactive { network: entry.name.clone() });
        };
        let bridge = running.plan.bridge.clone().unwrap_or_default();
        let wish = request.target.as_deref().filter(|target| !target.starts_with(AUTOMATIC));
        let template = wish.map_or_else(|| format!("{AUTOMATIC}%d"), ToOwned::to_owned);
        self.refuse_existing(wish).await?;
        let tap = make_tap(&template, request.queues)?;
        let guest = Guest { domain: request.domain, mac: request.mac, name: request.domain_name.clone() };
        let mark = Mark { guest: Some(guest.clone()), ..self.mark(id) };
        let link = self.links.find(&tap.name).await?.ok_or_else(|| gone("find the new tap", &tap.name))?;
        // The tap goes with its descriptors when any of this fails.
        let mtu = request.mtu.or(running.plan.mtu);
        self.links.plug(&link, running.ifindex, &mark.text(), host_side(request.mac), mtu).await?;
        if request.isolated {
            self.links.isolate(link.index, &tap.name).await?;
        }
        let names = names(&request);
        if running.plan.served() {
            let netd = Netd::at(&running.plan.name, running.control.clone());
            if let Err(error) = netd.set_names(request.mac, names.clone()).await {
                // A name is a standing wish: told again when netd is back.
                tracing::warn!(network = %running.plan.name, %error, "the guest's name is not known yet");
            }
        }
        let plugged = Plugged { names, ..plugged(&tap.name, &guest) };
        if let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut()) {
            running.nics.insert(tap.name.clone(), plugged);
        }
        // Before the guest can say anything.
        self.guard_ports().await;
        tracing::info!(tap = %tap.name, %bridge, domain = %request.domain_name, mac = %request.mac, "guest plugged in");
        Ok(Attached { taps: tap.fds, ifname: tap.name, bridge })
    }

    /// A wished name that an interface has already: ours or another's.
    pub(super) async fn refuse_existing(&self, wish: Option<&str>) -> Result<(), NetworkError> {
        let Some(wish) = wish else { return Ok(()) };
        let Some(link) = self.links.find(wish).await? else { return Ok(()) };
        let owner = match link.alias.as_deref().and_then(Mark::parse).and_then(|mark| mark.guest) {
            Some(guest) => format!("domain `{}`", guest.name),
            None => "something else on this host".to_owned(),
        };
        let hint = "choose another <target dev='…'/>, or leave it out for a free one".to_owned();
        Err(NetworkError::Conflict { what: format!("interface `{wish}`"), owner, hint })
    }

    pub(super) async fn detach(&mut self, ifname: &str) -> Result<(), NetworkError> {
        let ours = |link: &crate::link::Link| {
            let mark = link.alias.as_deref().and_then(Mark::parse);
            mark.is_some_and(|mark| mark.tag == self.tag && mark.guest.is_some())
        };
        if let Some(link) = self.links.find(ifname).await?.filter(ours) {
            self.links.delete(link.index, ifname).await?;
        }
        let mut forgotten = Vec::new();
        let mut had = false;
        for entry in self.entries.values_mut() {
            let Some(running) = &mut entry.running else { continue };
            if let Some(gone) = running.nics.remove(ifname) {
                had = true;
                forgotten.push((
                    Netd::at(&running.plan.name, running.control.clone()),
                    gone,
                    running.plan.served(),
                ));
            }
        }
        if had {
            self.guard_ports().await;
        }
        for (netd, gone, served) in forgotten {
            tracing::info!(tap = ifname, domain = %gone.nic.domain_name, "guest unplugged");
            if served && let Err(error) = netd.set_names(gone.nic.mac, Vec::new()).await {
                tracing::debug!(%error, "the guest's name is not forgotten yet");
            }
        }
        Ok(())
    }

    pub(super) fn by_name(&self, name: &str) -> Result<NetworkId, NetworkError> {
        let found = self.entries.iter().find(|(_, entry)| entry.name == name).map(|(id, _)| *id);
        let by_id = || name.parse().ok().filter(|id| self.entries.contains_key(id));
        found.or_else(by_id).ok_or_else(|| NetworkError::NotFound { name: name.to_owned() })
    }
}

pub(super) fn make_tap(name: &str, queues: u32) -> Result<lodge_sys::tap::Tap, NetworkError> {
    lodge_sys::tap::create(name, queues).map_err(|source| match source.kind() {
        std::io::ErrorKind::PermissionDenied => {
            NetworkError::NotPermitted { what: format!("making tap `{name}`"), source }
        }
        _ => NetworkError::Link { act: "make tap", subject: name.to_owned(), source },
    })
}

/// A guest's interface whose names are not known here.
pub(super) fn plugged(ifname: &str, guest: &Guest) -> Plugged {
    let Guest { domain, mac, name } = guest;
    let nic = Nic { ifname: ifname.to_owned(), domain: *domain, domain_name: name.clone(), mac: *mac };
    Plugged { nic, names: Vec::new() }
}

/// The names the host vouches for: the domain's, as it is and as a host name can be, those asked for, and the UUID,
/// which never changes and which every guest has.
pub(super) fn names(request: &AttachRequest) -> Vec<String> {
    let name = request.domain_name.to_ascii_lowercase();
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let label: String = name.chars().map(plain).collect();
    let label = label.trim_matches('-').to_owned();
    let mut names = Vec::new();
    let asked = request.hostnames.iter().map(|name| name.to_ascii_lowercase());
    for name in [name, label].into_iter().chain(asked).chain([request.domain.to_string()]) {
        if crate::netd::valid_name(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use lodge_model::{DomainId, MacAddr};

    use super::*;

    #[test]
    fn a_domain_is_known_by_its_name_and_by_what_a_host_name_can_be() {
        let request = |name: &str, hostnames: &[&str]| AttachRequest {
            network: "default".into(),
            domain: DomainId::random(),
            domain_name: name.into(),
            hostnames: hostnames.iter().map(ToString::to_string).collect(),
            mac: MacAddr::random(),
            target: None,
            mtu: None,
            queues: 1,
            isolated: false,
        };
        let cases: [(&str, &[&str], &[&str]); 4] = [
            ("rhel8.0", &["test-system"], &["rhel8.0", "rhel8-0", "test-system"]),
            ("Web 1", &["web-1"], &["web-1"]),
            ("10.0.0.1", &[], &["10-0-0-1"]),
            ("ü", &["-bad-"], &[]),
        ];
        for (name, asked, known) in cases {
            let request = request(name, asked);
            let names = names(&request);
            let (id, rest) = names.split_last().unwrap();
            let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
            assert_eq!((rest.as_slice(), id), (known, &request.domain.to_string()), "{name}");
        }
    }
}
