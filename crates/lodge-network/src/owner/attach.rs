//! Plugging guests in and out.

use lodge_model::domain::interface::Bandwidth;
use lodge_model::{MacAddr, NetworkId};

use super::{Owner, Plugged, Running, host_side};
use crate::client::Netd;
use crate::limit::{self, Floor, Script, Side};
use crate::link::{Link, gone};
use crate::mark::{Guest, Mark};
use crate::ovs;
use crate::port::PortRules;
use crate::{AttachRequest, Attached, CardOptions, NetworkError, Nic};

/// libvirt's own prefix of tap names; a document's wish for such a name is not one.
pub(super) const AUTOMATIC: &str = "vnet";

impl Owner {
    pub(super) async fn attach(&mut self, request: AttachRequest) -> Result<Attached, NetworkError> {
        let mut filtered = None;
        let attached = self.attach_filtered(request, &mut filtered).await;
        if let (Err(_), Some(ifname)) = (&attached, filtered) {
            self.take_filter(&ifname).await?;
        }
        attached
    }

    /// `filtered`: the card that has been given a filter.
    async fn attach_filtered(
        &mut self,
        request: AttachRequest,
        filtered: &mut Option<String>,
    ) -> Result<Attached, NetworkError> {
        let id = self.by_name(&request.network)?;
        let entry = self.entry(id)?;
        let Some(running) = &entry.running else {
            return Err(NetworkError::Inactive { network: entry.name.clone() });
        };
        if running.plan.lends() {
            return Err(NetworkError::Card {
                what: "a network of forward mode 'hostdev' lends devices of the host's, which cannot be plugged into a \
                       running guest yet",
                hint: "--config gives it at the next start",
            });
        }
        let bridge = running.plan.bridge.clone().unwrap_or_default();
        let rules = PortRules::of(&running.document, &bridge, &request)?;
        let options = CardOptions {
            bandwidth: rules.bandwidth.clone(),
            vlans: rules.vlans.clone(),
            ..request.options.clone()
        };
        let floor = running.floor_of(request.mac, rules.bandwidth.as_ref())?;
        let wish = request.target.as_deref().filter(|target| !target.starts_with(AUTOMATIC));
        let template = wish.map_or_else(|| format!("{AUTOMATIC}%d"), ToOwned::to_owned);
        self.refuse_existing(wish).await?;
        let tap = make_tap(&template, request.queues)?;
        let guest = guest_of(&request, floor, rules.isolated);
        let mark = Mark { guest: Some(guest.clone()), ..self.mark(id) };
        let link = self.links.find(&tap.name).await?.ok_or_else(|| gone("find the new tap", &tap.name))?;
        // The tap goes with its descriptors when any of this fails.
        let mtu = request.mtu.or(running.plan.mtu);
        let mac = host_side(request.mac);
        if options.filter.is_some() && rules.switch.is_some() {
            return Err(unfiltered(
                "filterref is not supported for network interfaces with virtualport type openvswitch",
            ));
        }
        self.give_filter(
            options.filter.as_ref(),
            &tap.name,
            (request.domain, &request.domain_name),
            (request.mac, running.plan.dhcp.is_some()),
        )
        .await?;
        *filtered = Some(tap.name.clone());
        if let Some(port) = &rules.switch {
            self.links.dress(link.index, &tap.name, &mark.text(), mac, mtu).await?;
            tell_card(&tap.name, &options, Side::Hosts).await?;
            ovs::add(&tap.name, (request.domain, request.mac), port, rules.vlans.as_ref(), mtu).await?;
        } else {
            self.links.plug(&link, running.ifindex, &mark.text(), mac, mtu).await?;
            if rules.isolated {
                self.links.isolate(link.index, &tap.name).await?;
            }
            self.tell_port(&bridge, &link, &options).await?;
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
            if floor.is_some()
                && let Err(error) = running.share().await
            {
                running.nics.remove(&tap.name);
                return Err(error);
            }
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

    /// Does what else is said of a port of a bridge.
    pub(super) async fn tell_port(
        &self,
        bridge: &str,
        port: &Link,
        options: &CardOptions,
    ) -> Result<(), NetworkError> {
        if let Some(vlans) = &options.vlans {
            let found = self.links.find(bridge).await?;
            let first = found.and_then(|bridge| bridge.first_vlan);
            let first = first.ok_or_else(|| NetworkError::NoVlans { bridge: bridge.to_owned() })?;
            self.links.set_vlans(port.index, &port.name, first, vlans).await?;
        }
        tell_card(&port.name, options, Side::Hosts).await
    }

    /// Limits what goes over a guest's card anew.
    pub(super) async fn limit(&mut self, ifname: &str, bandwidth: &Bandwidth) -> Result<(), NetworkError> {
        let link = self.links.find(ifname).await?.ok_or_else(|| gone("find", ifname))?;
        let side = if link.is_macvtap { Side::Guests } else { Side::Hosts };
        let script = Script::of_card(ifname, bandwidth, side);
        let mut all = self.entries.values_mut().filter_map(|entry| entry.running.as_mut());
        let Some(running) = all.find(|running| running.nics.contains_key(ifname)) else {
            return limit::renew(ifname, script).await;
        };
        let known = &running.nics[ifname];
        let (mac, before) = (known.nic.mac, known.floor);
        let others = running.nics.iter().filter(|(name, _)| *name != ifname);
        let others = others.filter_map(|(_, plugged)| Some(plugged.floor?.kib_s)).sum();
        let floor = Floor::of(bandwidth, mac, (&running.plan.name, running.limits()), others)?;
        limit::renew(ifname, script).await?;
        if floor == before {
            return Ok(());
        }
        if let Some(known) = running.nics.get_mut(ifname) {
            known.floor = floor;
        }
        running.share().await?;
        // What a network that is made anew knows it by.
        if let Some(mut mark) = link.alias.as_deref().and_then(Mark::parse)
            && let Some(guest) = &mut mark.guest
        {
            guest.floor_kib_s = floor.map(|floor| floor.kib_s);
            self.links.mark(link.index, ifname, &mark.text()).await?;
        }
        Ok(())
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
        let (mut had, mut switched) = (false, false);
        for entry in self.entries.values_mut() {
            let Some(running) = &mut entry.running else { continue };
            if let Some(gone) = running.nics.remove(ifname) {
                had = true;
                switched |= running.plan.switched;
                if gone.floor.is_some()
                    && let Err(error) = running.share().await
                {
                    // What was kept free for it is used by the others meanwhile.
                    tracing::warn!(network = %running.plan.name, %error, "limits are not as they should be");
                }
                forgotten.push((
                    Netd::at(&running.plan.name, running.control.clone()),
                    gone,
                    running.plan.served(),
                ));
            }
        }
        if switched {
            ovs::remove(ifname).await?;
        }
        self.take_filter(ifname).await?;
        if had {
            self.guard_ports().await;
        } else {
            self.clear_away(ifname).await?;
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

/// A filter is asked of a card whose packets pass no bridge of the kernel's.
pub(super) fn unfiltered(what: &'static str) -> NetworkError {
    NetworkError::Card {
        what,
        hint: "rules look at ports of the kernel's bridges: use type='network' or type='bridge', or leave <filterref> out",
    }
}

/// Does what is said of the host's end of any card.
pub(super) async fn tell_card(ifname: &str, options: &CardOptions, side: Side) -> Result<(), NetworkError> {
    if let Some(frames) = options.gathered_frames {
        let gathers = lodge_sys::ethtool::gather_frames(ifname, frames).map_err(|source| {
            NetworkError::Link { act: "set <coalesce> of", subject: ifname.to_owned(), source }
        })?;
        if gathers != frames {
            tracing::info!(
                interface = ifname,
                frames,
                gathers,
                "its driver gathers fewer frames than it was told"
            );
        }
    }
    match &options.bandwidth {
        Some(bandwidth) => limit::apply(ifname, Script::of_card(ifname, bandwidth, side)).await,
        None => Ok(()),
    }
}

impl Running {
    /// What a guest is to have for sure of this network.
    fn floor_of(&self, mac: MacAddr, bandwidth: Option<&Bandwidth>) -> Result<Option<Floor>, NetworkError> {
        let Some(bandwidth) = bandwidth else { return Ok(None) };
        let others = self.nics.values().filter_map(|plugged| Some(plugged.floor?.kib_s)).sum();
        Floor::of(bandwidth, mac, (&self.plan.name, self.limits()), others)
    }

    /// The limits of its bridge, its own or somebody else's.
    fn limits(&self) -> Option<&Bandwidth> {
        self.document.bandwidth.as_deref().filter(|_| !self.plan.lends())
    }

    /// Divides what its bridge gives among its guests.
    pub(super) async fn share(&self) -> Result<(), NetworkError> {
        let Some(limits) = self.limits() else { return Ok(()) };
        let bridge = self.plan.bridge.as_deref().unwrap_or_default();
        let floors: Vec<Floor> = self.nics.values().filter_map(|plugged| plugged.floor).collect();
        limit::apply_anew(bridge, Script::shares(bridge, limits, &floors)).await
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
    let Guest { domain, mac, name, floor_kib_s, .. } = guest;
    let nic = Nic { ifname: ifname.to_owned(), domain: *domain, domain_name: name.clone(), mac: *mac };
    let floor = floor_kib_s.map(|kib_s| Floor { mac: *mac, kib_s });
    Plugged { nic, names: Vec::new(), floor }
}

/// Whose a tap is, and what its bridge must know of it.
pub(super) fn guest_of(request: &AttachRequest, floor: Option<Floor>, isolated: bool) -> Guest {
    Guest {
        domain: request.domain,
        mac: request.mac,
        name: request.domain_name.clone(),
        floor_kib_s: floor.map(|floor| floor.kib_s),
        isolated,
    }
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
            isolated: None,
            options: CardOptions::default(),
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
