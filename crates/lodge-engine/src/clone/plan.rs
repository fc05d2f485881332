//! The plan of a clone: all that is decided before anything is made. Saved with its saga.

use std::{collections::HashSet, path::PathBuf};

use lodge_api::{CloneSpec, ClonedGuest, IdentityChange, InsideState};
use lodge_model::{
    DomainId, Kind, MacAddr,
    domain::{
        Domain,
        copy::{Difference, NewMachine},
        interface::Interface,
    },
    xml::WriteOptions,
};
use serde::{Deserialize, Serialize};

use super::{
    document::has_variables,
    live::LivePlan,
    place::{How, PlannedDisk, SourceDisk, placed},
    reserve::Reserved,
    source::Source,
};
use crate::{
    Caller, Engine,
    error::{EngineError, Result},
    identity::inside::{CardAddress, InsideReport, Wish},
};

/// Numbers that are tried for a name, and addresses for a card.
const TRIES: u32 = 100_000;

/// What is to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The act's id in the book.
    pub act: String,
    /// The new machine's name, or the template's.
    pub name: String,
    /// The new machine's UUID.
    pub id: DomainId,
    /// A template's version; none: it is a guest.
    pub version: Option<u32>,
    /// What it is made of.
    pub source: String,
    /// Who asked.
    pub caller: String,
    /// Its disks.
    pub disks: Vec<PlannedDisk>,
    /// Targets of the disks that both have.
    pub shared: Vec<String>,
    /// The source's variables and its own.
    pub nvram: Option<(PathBuf, PathBuf)>,
    /// Its document.
    pub document: String,
    /// What is to become of what lies inside.
    pub wish: Wish,
    /// The guest whose seed it gets.
    pub seed_of: Option<DomainId>,
    /// What is asked of its seed beside that.
    #[serde(default)]
    pub seed: Option<lodge_api::SeedSpec>,
    /// What is other than the source's.
    pub changes: Vec<IdentityChange>,
    /// What stays shared.
    pub warnings: Vec<String>,
    /// What became of what lies inside, once that is done.
    #[serde(default)]
    pub done: Option<InsideReport>,
    /// Files that another made where this act's were to be. They stay.
    #[serde(default)]
    pub foreign: Vec<PathBuf>,
    /// Its source runs.
    #[serde(default)]
    pub live: Option<LivePlan>,
    /// The domain that has its name, and is to go before.
    #[serde(default)]
    pub replaces: Option<DomainId>,
    /// The files of copied disks get all their space.
    #[serde(default)]
    pub allocates: bool,
}

impl Plan {
    /// What would be made, for somebody who only asks.
    pub fn told(&self) -> ClonedGuest {
        let disk = |disk: &PlannedDisk| (disk.target.clone(), disk.to.display().to_string());
        let done = self.done.clone().unwrap_or_default();
        ClonedGuest {
            name: self.name.clone(),
            uuid: self.id.to_string(),
            disks: self.disks.iter().map(disk).collect(),
            inside: if self.done.is_some() { done.state } else { self.wish.expected() },
            changes: self.changes.iter().cloned().chain(done.changes).collect(),
            warnings: self.warnings.iter().cloned().chain(done.warnings).collect(),
            to_fill: done.to_fill,
            document: self.done.is_none().then(|| self.document.clone()),
            took_ms: 0,
        }
    }
}

/// What is taken already.
struct Taken {
    macs: HashSet<MacAddr>,
}

impl Engine {
    /// Plans every clone of a wish. The names and addresses are this act's as long as the answer is kept.
    pub(crate) async fn plan_clones(
        &self,
        caller: &Caller,
        source: &Source,
        spec: &CloneSpec,
    ) -> Result<(Vec<Plan>, Reserved)> {
        let mut reserved = self.reservations.open();
        refuse_plural(spec)?;
        if let (Some(_), Some(guest)) = (&source.live, source.guest)
            && !reserved.source(guest)
        {
            let text = format!("another clone of `{}` is being made", source.said());
            return Err(EngineError::new(Kind::Busy, text).with_hint("wait for it: `lodge job list`"));
        }
        refuse_contradictions(spec)?;
        let replaced = self.replaced(source, spec)?;
        let disks = self.disks_to_copy(&source.said(), &source.document, (&spec.share, &spec.copy)).await?;
        let taken = Taken { macs: self.known_macs().await };
        let names = self.new_names(spec, replaced, &mut reserved)?;
        let mut plans = Vec::new();
        let addresses = self.new_addresses(source, spec, names.len())?;
        for (name, addresses) in names.into_iter().zip(addresses) {
            let macs = new_macs(source, spec, &taken, &mut reserved)?;
            let mut plan =
                self.plan_clone(caller, (source, &disks), (spec, replaced), name, (macs, addresses))?;
            plan.replaces = replaced;
            plans.push(plan);
        }
        Ok((plans, reserved))
    }

    fn plan_clone(
        &self,
        caller: &Caller,
        (source, disks): (&Source, &[SourceDisk]),
        (spec, replaced): (&CloneSpec, Option<DomainId>),
        name: String,
        (macs, addresses): (Vec<MacAddr>, Vec<CardAddress>),
    ) -> Result<Plan> {
        let is_base = |disk: &SourceDisk| source.bases.contains(&disk.target);
        let placed = |(at, disk): (usize, &SourceDisk)| placed(disk, (&name, at), is_base(disk), spec);
        let planned = disks.iter().enumerate().map(placed).collect::<Result<Vec<_>>>()?;
        if spec.files.len() > planned.len() {
            let text =
                format!("{} files are given, and {} disks are copied", spec.files.len(), planned.len());
            return Err(EngineError::new(Kind::InvalidInput, text));
        }
        if spec.reflink {
            self.refuse_unshared(&planned)?;
        }
        if spec.allocate && planned.iter().any(|disk| disk.how == How::Linked) {
            let text = "a linked clone has what differs, and no more: it cannot have all its space";
            return Err(EngineError::new(Kind::InvalidInput, text).with_hint("have it stand alone (--full)"));
        }
        let mut warnings = Vec::new();
        let id = self.new_id(source, (spec, replaced), &mut warnings)?;
        let nvram = self.new_variables(source, (spec, replaced), &name)?;
        let new = NewMachine {
            name: name.clone(),
            id,
            macs,
            generation: DomainId::random(),
            disks: planned.iter().map(PlannedDisk::of_document).collect(),
            nvram: nvram.as_ref().map(|(_, to)| to.display().to_string()),
            origin: Some(source.origin.clone()),
            keeps_serials: spec.keep_identity,
        };
        let mut copied = source.document.copied(&new);
        warnings.append(&mut copied.warnings);
        let live = match &source.live {
            Some(source_live) => {
                Some(self.plan_live(source, source_live, (spec, &name), &planned, &mut copied)?)
            }
            None => None,
        };
        let wish = if planned.iter().any(|disk| disk.how == How::Taken) {
            // Such a disk was somebody's before: a change that fails could not be thrown away with it.
            warnings.push(format!(
                "disks are taken as they are, so what lies inside keeps its identity: lodge identity reset {name}"
            ));
            Wish::Keep
        } else {
            wish(source, spec, &name, (&copied.document, addresses))
        };
        let shared = source.document.devices.disks.iter().filter(|disk| disk.source.is_some());
        let shared = shared.map(|disk| disk.target.dev.clone());
        let shared: Vec<String> = shared.filter(|target| !new.disks.contains_key(target)).collect();
        Ok(Plan {
            act: uuid::Uuid::new_v4().to_string(),
            id,
            version: None,
            source: source.said(),
            caller: format!("uid {}", caller.uid),
            wish,
            document: copied.document.to_xml(&WriteOptions::STORED),
            name,
            disks: planned,
            shared,
            nvram,
            seed_of: source.guest.filter(|_| !spec.keep_identity),
            seed: None,
            changes: copied.differences.into_iter().map(of_the_host).collect(),
            warnings,
            done: None,
            foreign: Vec::new(),
            live,
            replaces: None,
            allocates: spec.allocate,
        })
    }

    /// The domain that a clone takes the name of.
    fn replaced(&self, source: &Source, spec: &CloneSpec) -> Result<Option<DomainId>> {
        let there = self.domains.by_name(&spec.name).ok().filter(|_| spec.replace);
        let Some(there) = there else { return Ok(None) };
        if source.guest == Some(there.id()) || source.said() == spec.name {
            let text = format!("`{}` cannot be replaced by a clone of itself", spec.name);
            return Err(EngineError::new(Kind::InvalidInput, text).with_hint("give the clone another name"));
        }
        Ok(Some(there.id()))
    }

    /// Names that no domain has and no other act is about to make.
    fn new_names(
        &self,
        spec: &CloneSpec,
        replaced: Option<DomainId>,
        reserved: &mut Reserved,
    ) -> Result<Vec<String>> {
        lodge_model::check_name(&spec.name)
            .map_err(|error| EngineError::new(Kind::InvalidInput, error.to_string()))?;
        let is_free = |name: &str| self.domains.by_name(name).is_err();
        let Some(count) = spec.count else {
            if (replaced.is_some() || is_free(&spec.name)) && reserved.name(&spec.name) {
                return Ok(vec![spec.name.clone()]);
            }
            return Err(EngineError::new(Kind::Exists, format!("there is a domain `{}` already", spec.name))
                .with_hint("choose another name, or remove that one with `lodge rm`, or have it replaced"));
        };
        let free = (1..TRIES).map(|number| format!("{}-{number}", spec.name));
        let free = free.filter(|name| is_free(name) && reserved.name(name));
        Ok(free.take(count as usize).collect())
    }

    /// A replacement keeps the source's UUID where nobody has it.
    fn new_id(
        &self,
        source: &Source,
        (spec, replaced): (&CloneSpec, Option<DomainId>),
        warnings: &mut Vec<String>,
    ) -> Result<DomainId> {
        let is_free = |id: DomainId| replaced == Some(id) || self.domains.get(id).is_err();
        if let Some(text) = &spec.uuid {
            let id: DomainId = text
                .parse()
                .map_err(|_| EngineError::new(Kind::InvalidInput, format!("`{text}` is no UUID")))?;
            if !is_free(id) {
                return Err(EngineError::new(
                    Kind::Exists,
                    format!("there is a domain of UUID {id} already"),
                ));
            }
            return Ok(id);
        }
        Ok(match source.document.uuid.filter(|_| spec.keep_identity) {
            Some(old) if is_free(old) => old,
            Some(_) => {
                warnings.push("the UUID is another: the source is still defined here".to_owned());
                DomainId::random()
            }
            None => DomainId::random(),
        })
    }

    fn new_variables(
        &self,
        source: &Source,
        (spec, replaced): (&CloneSpec, Option<DomainId>),
        name: &str,
    ) -> Result<Option<(PathBuf, PathBuf)>> {
        if !has_variables(&source.document) {
            return match &spec.nvram {
                None => Ok(None),
                Some(_) => Err(EngineError::new(
                    Kind::InvalidInput,
                    format!("`{}` has no UEFI variables", source.said()),
                )),
            };
        }
        let usual = self.store.root().nvram_of(name);
        let to = spec.nvram.as_ref().map_or_else(|| usual.clone(), PathBuf::from);
        let Some(from) = source.nvram.clone() else { return Ok(None) };
        // Those of a domain that is replaced go with it.
        let is_replaced = replaced.is_some() && to == usual;
        if !is_replaced && to.symlink_metadata().is_ok() {
            let text = format!("the file `{}` is there already", to.display());
            return Err(EngineError::new(Kind::Exists, text).with_hint(
                "it may be of an earlier domain of that name: remove it, or choose another name",
            ));
        }
        Ok(Some((from, to)))
    }

    /// Every address that a definition, a running guest or a lease has.
    pub(crate) async fn known_macs(&self) -> HashSet<MacAddr> {
        let mut known = HashSet::new();
        for snapshot in self.domains.list() {
            let Ok(handle) = self.domains.get(snapshot.id) else { continue };
            for text in handle.texts().iter().flatten() {
                known.extend(macs_in(text));
            }
        }
        for network in self.networks.list().iter().filter(|network| network.active) {
            // A network that does not answer has no leases to tell: what it gave is in documents too.
            let leases = self.networks.leases(network.id).await.unwrap_or_default();
            known.extend(leases.into_iter().map(|lease| lease.mac));
        }
        known
    }
}

/// The addresses in a document, without reading all of it: with thousands of guests that would take its time.
pub(crate) fn macs_in(text: &str) -> impl Iterator<Item = MacAddr> + '_ {
    text.match_indices("<mac address=").filter_map(|(at, found)| {
        let rest = text.get(at + found.len() + 1..)?;
        rest.split(['\'', '"']).next()?.parse().ok()
    })
}

/// What is of one machine cannot be of many.
fn refuse_plural(spec: &CloneSpec) -> Result<()> {
    let of_one = [
        (!spec.macs.is_empty(), "addresses"),
        (!spec.files.is_empty(), "files"),
        (spec.nvram.is_some(), "the file of UEFI variables"),
        (spec.hostname.is_some(), "a host name"),
        (spec.uuid.is_some(), "a UUID"),
        (spec.replace, "a domain to be replaced"),
        (spec.keep_identity, "a kept identity"),
    ];
    match of_one.into_iter().find(|(is_given, _)| *is_given && spec.count.is_some_and(|count| count > 1)) {
        None => Ok(()),
        Some((_, what)) => Err(EngineError::new(
            Kind::InvalidInput,
            format!("{what} can only be given for one clone, and {} are asked for", spec.count.unwrap_or(1)),
        )),
    }
}

/// What cannot be had together.
fn refuse_contradictions(spec: &CloneSpec) -> Result<()> {
    let said = |text: String| Err(EngineError::new(Kind::InvalidInput, text));
    if let Some(both) = spec.copy.iter().find(|target| spec.share.contains(target)) {
        return said(format!("disk {both} cannot be copied and shared at once"));
    }
    if spec.allocate && spec.reflink {
        return said(
            "blocks that are shared take no space: a copy cannot share blocks and have all its space"
                .to_owned(),
        );
    }
    Ok(())
}

fn new_macs(
    source: &Source,
    spec: &CloneSpec,
    taken: &Taken,
    reserved: &mut Reserved,
) -> Result<Vec<MacAddr>> {
    let cards = source.document.devices.interfaces.len();
    if spec.macs.len() > cards {
        let text = format!(
            "{} addresses are given, and `{}` has {cards} interfaces",
            spec.macs.len(),
            source.said()
        );
        return Err(EngineError::new(Kind::InvalidInput, text));
    }
    if spec.keep_identity && spec.macs.is_empty() {
        return Ok(Vec::new());
    }
    let mut macs = Vec::new();
    for at in 0..cards {
        match spec.macs.get(at).map(String::as_str) {
            None | Some("random" | "RANDOM") => {
                let free = (0..TRIES)
                    .map(|_| MacAddr::random())
                    .find(|mac| !taken.macs.contains(mac) && reserved.mac(*mac));
                macs.push(free.ok_or_else(|| EngineError::new(Kind::Exhausted, "no address is free"))?);
            }
            Some(text) => macs.push(given_mac(text, taken, reserved)?),
        }
    }
    Ok(macs)
}

fn given_mac(text: &str, taken: &Taken, reserved: &mut Reserved) -> Result<MacAddr> {
    let mac: MacAddr = text
        .parse()
        .map_err(|error: lodge_model::NotAMac| EngineError::new(Kind::InvalidInput, error.to_string()))?;
    if mac.is_multicast() {
        let text = format!("`{mac}` is the address of a group, and no machine's own");
        return Err(EngineError::new(Kind::InvalidInput, text));
    }
    if taken.macs.contains(&mac) || !reserved.mac(mac) {
        let text = format!("the address `{mac}` is another machine's");
        return Err(EngineError::new(Kind::Conflict, text)
            .with_hint("`lodge identity audit` says whose; leave it out to get a free one"));
    }
    Ok(mac)
}

fn of_the_host(one: Difference) -> IdentityChange {
    let verified = "in the definition".to_owned();
    IdentityChange { item: one.item, place: String::new(), old: one.old, new: one.new, verified }
}

/// What is to become of what lies inside a clone.
fn wish(
    source: &Source,
    spec: &CloneSpec,
    name: &str,
    (document, addresses): (&Domain, Vec<CardAddress>),
) -> Wish {
    if spec.keep_identity {
        return Wish::Keep;
    }
    let cards = |document: &Domain| -> Vec<Option<MacAddr>> {
        document.devices.interfaces.iter().map(Interface::mac).collect()
    };
    let pairs = cards(&source.document).into_iter().zip(cards(document));
    Wish::Another {
        hostname: Some(spec.hostname.clone().unwrap_or_else(|| lodge_guest::seed::hostname_of(name))),
        macs: pairs.filter_map(|(old, new)| Some((old?, new?))).collect(),
        addresses,
        private_keys: spec.private_keys,
    }
}

/// The state that stands for a wish that was met.
impl Wish {
    pub(crate) fn expected(&self) -> InsideState {
        if matches!(self, Self::Keep) { InsideState::Kept } else { InsideState::Reset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_a_text() {
        let text =
            "<mac address='52:54:00:00:00:01'/> <mac address=\"52:54:00:00:00:02\"/> <mac address='x'/>";
        let found: Vec<String> = macs_in(text).map(|mac| mac.to_string()).collect();
        assert_eq!(found, ["52:54:00:00:00:01", "52:54:00:00:00:02"]);
    }
}
