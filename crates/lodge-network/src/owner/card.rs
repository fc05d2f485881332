//! Guests' cards that are on no network of ours: on somebody's bridge, alone, straight on an interface of the host's.
//!
//! Nothing of them is remembered: their marks, with no network's UUID in it, say whose they are. A tap goes with its
//! descriptors; a macvtap stays until it is removed, so what a crash left is found by its mark or, half-made, by its
//! name. What Open vSwitch keeps of a port, and what a document's programs have to clear away, outlives the tap and is found
//! by its guest. Deliberately absent: virtual ports of other sorts, which a start refuses.

use ipnet::IpNet;
use lodge_model::{DomainId, MacAddr, NetworkId};

use super::attach::{AUTOMATIC, make_tap, tell_card, unfiltered};
use super::{Owner, host_side};
use crate::limit::Side;
use crate::link::{Link, gone};
use crate::mark::{Guest, Mark};
use crate::ovs;
use crate::script::Notes;
use crate::{CardEnd, CardRequest, DirectMode, Listening, NetworkError, PluggedCard, Scripts};

/// Names of macvtaps that libvirt gives, and we; a document's wish for such a name is none.
const MACVTAP: [&str; 2] = ["macvtap", "macvlan"];
/// The network in the mark of a card that is on none of ours.
const NOWHERE: NetworkId = NetworkId(uuid::Uuid::nil());

impl Owner {
    pub(super) async fn plug(&self, request: CardRequest) -> Result<PluggedCard, NetworkError> {
        let mark = self.card_mark(request.domain, request.mac, &request.domain_name);
        if request.options.filter.is_some() {
            let what = match &request.end {
                // A tap alone is plugged into a bridge by its script, or by whoever made it.
                CardEnd::Bridge { .. } | CardEnd::Alone { .. } | CardEnd::Made { .. } => None,
                CardEnd::Direct { .. } => {
                    Some("filterref is not supported for network interfaces of type direct")
                }
                CardEnd::OpenVswitch(_) => Some(
                    "filterref is not supported for network interfaces with virtualport type openvswitch",
                ),
            };
            if let Some(what) = what {
                return Err(unfiltered(what));
            }
        }
        let plugged = match &request.end {
            CardEnd::Direct { dev, mode } => self.plug_direct(&request, dev, *mode, &mark).await?,
            CardEnd::Made { scripts } => self.plug_made(&request, scripts).await?,
            CardEnd::Bridge { .. } | CardEnd::OpenVswitch(_) | CardEnd::Alone { .. } => {
                self.plug_tap(&request, &mark).await?
            }
        };
        let name = &request.domain_name;
        tracing::info!(card = plugged.ifname, domain = %name, mac = %request.mac, "guest plugged in");
        Ok(plugged)
    }

    async fn plug_tap(&self, request: &CardRequest, mark: &Mark) -> Result<PluggedCard, NetworkError> {
        let mut filtered = None;
        let plugged = self.plug_filtered(request, mark, &mut filtered).await;
        if let (Err(_), Some(ifname)) = (&plugged, filtered) {
            self.take_filter(&ifname).await?;
        }
        plugged
    }

    /// `filtered`: the card that has been given a filter.
    async fn plug_filtered(
        &self,
        request: &CardRequest,
        mark: &Mark,
        filtered: &mut Option<String>,
    ) -> Result<PluggedCard, NetworkError> {
        let bridge = match &request.end {
            CardEnd::Bridge { name, isolated } => Some((self.bridge(name).await?, *isolated)),
            CardEnd::OpenVswitch(_) if request.options.bandwidth.is_some() => {
                return Err(NetworkError::Card {
                    what: "<bandwidth> of a port of Open vSwitch is not supported",
                    hint: "set it in the switch: ovs-vsctl set port … qos=@new",
                });
            }
            _ => None,
        };
        let wish = request.target.as_deref().filter(|target| !target.starts_with(AUTOMATIC));
        self.refuse_existing(wish).await?;
        let template = wish.map_or_else(|| format!("{AUTOMATIC}%d"), ToOwned::to_owned);
        // It goes with its descriptors when any of the rest fails.
        let tap = make_tap(&template, request.queues)?;
        let link = self.links.find(&tap.name).await?.ok_or_else(|| gone("find the new tap", &tap.name))?;
        let (mac, text) = (host_side(request.mac), mark.text());
        let guest = (request.domain, request.domain_name.as_str());
        *filtered = Some(tap.name.clone());
        self.give_filter(request.options.filter.as_ref(), &tap.name, guest, (request.mac, false)).await?;
        if let Some((bridge, isolated)) = bridge {
            self.links.plug(&link, bridge.index, &text, mac, request.mtu).await?;
            if isolated {
                self.links.isolate(link.index, &tap.name).await?;
            }
            self.tell_port(&bridge.name, &link, &request.options).await?;
        } else {
            self.links.dress(link.index, &tap.name, &text, mac, request.mtu).await?;
            tell_card(&tap.name, &request.options, Side::Hosts).await?;
        }
        if let CardEnd::OpenVswitch(port) = &request.end {
            let guest = (request.domain, request.mac);
            ovs::add(&tap.name, guest, port, request.options.vlans.as_ref(), request.mtu).await?;
        }
        if let CardEnd::Alone { addresses, scripts } = &request.end {
            for (address, prefix) in addresses {
                let address = IpNet::new(*address, *prefix).map_err(|error| NetworkError::Link {
                    act: "give an address to",
                    subject: tap.name.clone(),
                    source: std::io::Error::new(std::io::ErrorKind::InvalidInput, error),
                })?;
                self.links.add_address(link.index, &tap.name, address).await?;
            }
            self.scripts().begin(request.domain, &tap.name, scripts).await?;
        }
        Ok(PluggedCard { taps: tap.fds, ifname: tap.name })
    }

    async fn bridge(&self, name: &str) -> Result<Link, NetworkError> {
        let found = self.links.find(name).await?.ok_or_else(|| gone("find the bridge", name))?;
        if found.is_bridge {
            return Ok(found);
        }
        Err(NetworkError::Conflict {
            what: format!("interface `{name}`"),
            owner: "something that is no bridge".into(),
            hint: "name a bridge in <source bridge='…'/>, or use type='direct' for an interface".into(),
        })
    }

    /// A tap or macvtap that is there and stays.
    async fn plug_made(&self, request: &CardRequest, scripts: &Scripts) -> Result<PluggedCard, NetworkError> {
        if request.options.bandwidth.is_some() || request.options.gathered_frames.is_some() {
            return Err(NetworkError::Card {
                what: "<bandwidth> and <coalesce> of an interface that somebody else made and keeps (managed='no') are \
                       that one's matter",
                hint: "`tc` and `ethtool` set them, or let it be made here: without managed='no'",
            });
        }
        let name = request.target.clone().unwrap_or_default();
        let link = self.links.find(&name).await?.ok_or_else(|| gone("find", &name))?;
        if link.is_macvtap && request.options.filter.is_some() {
            return Err(unfiltered("filterref is not supported for a macvtap, which is on no bridge"));
        }
        let taps = if link.is_macvtap {
            open_queues(&link, request.queues)?
        } else {
            make_tap(&name, request.queues)?.fds
        };
        let guest = (request.domain, request.domain_name.as_str());
        self.give_filter(request.options.filter.as_ref(), &name, guest, (request.mac, false)).await?;
        if let Err(error) = self.scripts().begin(request.domain, &name, scripts).await {
            self.take_filter(&name).await?;
            return Err(error);
        }
        Ok(PluggedCard { taps, ifname: name })
    }

    async fn plug_direct(
        &self,
        request: &CardRequest,
        dev: &str,
        mode: DirectMode,
        mark: &Mark,
    ) -> Result<PluggedCard, NetworkError> {
        let is_given = |target: &str| MACVTAP.iter().any(|prefix| target.starts_with(prefix));
        let wish = request.target.as_deref().filter(|target| !is_given(target));
        self.refuse_existing(wish).await?;
        let lower = self.links.find(dev).await?.ok_or_else(|| gone("find the interface", dev))?;
        self.sweep_half_made().await?;
        if !lower.up {
            self.links.set_up(lower.index, dev).await?;
        }
        let new = self.half_made();
        self.links.create_macvtap(&new, lower.index, mode, request.mac).await?;
        let link = self.links.find(&new).await?.ok_or_else(|| gone("find the new macvtap", &new))?;
        let finished = self.finish_direct(&link, wish.unwrap_or("macvtap%d"), request, mark).await;
        if finished.is_err() {
            self.links.delete(link.index, &new).await?;
        }
        finished
    }

    async fn finish_direct(
        &self,
        link: &Link,
        name: &str,
        request: &CardRequest,
        mark: &Mark,
    ) -> Result<PluggedCard, NetworkError> {
        self.links.rename_and_mark(link.index, &link.name, (name, &mark.text()), request.mac).await?;
        let ifname = self.links.name_of(link.index).await?;
        tell_card(&ifname, &request.options, Side::Guests).await?;
        let taps = open_queues(&Link { name: ifname.clone(), ..link.clone() }, request.queues)?;
        self.links.set_up(link.index, &ifname).await?;
        Ok(PluggedCard { taps, ifname })
    }

    /// A running guest of libvirt's was taken over: its macvtap is ours to remove from now on. Of one that is gone, and
    /// of a tap, which goes with its guest, there is nothing to be kept.
    pub(super) async fn take_card(
        &self,
        ifname: &str,
        (domain, name): (DomainId, &str),
        mac: MacAddr,
    ) -> Result<(), NetworkError> {
        let Some(link) = self.links.find(ifname).await?.filter(|link| link.is_macvtap) else { return Ok(()) };
        let mark = self.card_mark(domain, mac, name).text();
        if link.alias.as_deref() == Some(&mark) {
            return Ok(());
        }
        self.links.mark(link.index, ifname, &mark).await
    }

    /// Removes all cards of `domain` that are on no network of ours. Every one is tried; the first failure is told.
    pub(super) async fn unplug(&self, domain: DomainId) -> Result<(), NetworkError> {
        let mut first = None;
        for link in self.links.all().await? {
            let mark = link.alias.as_deref().and_then(Mark::parse);
            let is_theirs = mark.is_some_and(|mark| {
                mark.tag == self.tag
                    && mark.network == NOWHERE
                    && mark.guest.is_some_and(|guest| guest.domain == domain)
            });
            if !is_theirs && link.name != self.half_made() {
                continue;
            }
            match self.links.delete(link.index, &link.name).await {
                Ok(()) => tracing::info!(card = link.name, %domain, "guest unplugged"),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        first = first.or(self.config.filters.unbind_owner(domain.0).await.err().map(NetworkError::from));
        first = first.or(ovs::remove_all(domain).await.err());
        first = first.or(self.scripts().end(domain, None).await.err());
        first.map_or(Ok(()), Err)
    }

    /// A guest of a macvtap listens to something else now. One that is gone, or of another sort, needs nothing.
    pub(super) async fn follow(&self, ifname: &str, listening: &Listening) -> Result<(), NetworkError> {
        let Some(link) = self.links.find(ifname).await?.filter(|link| link.is_macvtap) else { return Ok(()) };
        self.links.follow(&link, listening).await?;
        let groups: Vec<[u8; 6]> = listening.multicast.iter().map(|mac| mac.0).collect();
        lodge_sys::multicast::listen_to(ifname, &groups).map_err(|source| NetworkError::Link {
            act: "set the groups of",
            subject: ifname.to_owned(),
            source,
        })?;
        tracing::debug!(card = ifname, mac = %listening.mac, groups = groups.len(), "the host follows a guest's card");
        Ok(())
    }

    /// Clears away what outlives one card that is on no network.
    pub(super) async fn clear_away(&self, ifname: &str) -> Result<(), NetworkError> {
        let ended = ovs::remove(ifname).await;
        let scripts = self.scripts();
        match scripts.owner_of(ifname) {
            Some(domain) => ended.and(scripts.end(domain, Some(ifname)).await),
            None => ended,
        }
    }

    fn scripts(&self) -> Notes {
        Notes::at(&self.config.root.run())
    }

    fn card_mark(&self, domain: DomainId, mac: MacAddr, name: &str) -> Mark {
        let guest = Guest { domain, mac, name: name.to_owned(), floor_kib_s: None, isolated: false };
        Mark { guest: Some(guest), ..self.mark(NOWHERE) }
    }

    /// What a macvtap is called until it is marked. This task makes one at a time, and no other daemon has this root.
    fn half_made(&self) -> String {
        format!("lodge{}", self.tag)
    }

    /// One that a daemon left when it died.
    async fn sweep_half_made(&self) -> Result<(), NetworkError> {
        let name = self.half_made();
        match self.links.find(&name).await? {
            Some(left) => self.links.delete(left.index, &name).await,
            None => Ok(()),
        }
    }
}

fn open_queues(link: &Link, queues: u32) -> Result<Vec<std::os::fd::OwnedFd>, NetworkError> {
    let opened = lodge_sys::macvtap::open(&link.name, link.index, queues);
    opened.map_err(|source| NetworkError::Link {
        act: "open the macvtap",
        subject: link.name.clone(),
        source,
    })
}
