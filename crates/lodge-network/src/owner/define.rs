//! Definitions: taking them in, changing them, forgetting them, reading them.

use lodge_model::NetworkId;
use lodge_model::network::{Bridge, Network};
use lodge_model::xml::WriteOptions;
use lodge_store::definitions::{Change, DefinitionError, Definitions};

use super::{Entry, Owner};
use crate::launch::Places;
use crate::plan::Plan;
use crate::{NetworkError, NetworkEvent, limits};

impl Owner {
    /// Reads all definitions. A file that is no good is told in the log and left alone.
    pub(super) async fn load(&mut self) -> Result<(), NetworkError> {
        let definitions = self.definitions.clone();
        let loaded = tokio::task::spawn_blocking(move || definitions.load_all()).await;
        let loaded =
            loaded.map_err(|_| NetworkError::Closed)?.map_err(|error| store_failed("(all)", &error))?;
        for fault in &loaded.faults {
            tracing::error!(error = %crate::error::chain(fault), "a network's definition cannot be read");
        }
        for entry in loaded.entries {
            match Network::parse(&entry.text) {
                Ok(mut document) => {
                    let id = *document.uuid.get_or_insert_with(|| stable_id(&entry.name));
                    let known = Entry {
                        name: entry.name,
                        defined: Some(document),
                        autostart: entry.autostart,
                        running: None,
                    };
                    match self.entries.get_mut(&id) {
                        // Read again: what runs of it stays as it is.
                        Some(entry) => *entry = Entry { running: entry.running.take(), ..known },
                        None => drop(self.entries.insert(id, known)),
                    }
                }
                Err(faults) => {
                    let file = self.definitions.path(&entry.name);
                    tracing::error!(file = %file.display(), %faults, "a network's definition is no good");
                }
            }
        }
        Ok(())
    }

    /// Reads a document and finds out which network it is of. A document without a UUID is of the network of its name
    /// where `by_name`, else of a new one.
    pub(super) fn take_in(&self, xml: &str, by_name: bool) -> Result<(NetworkId, Network), NetworkError> {
        let parsed = Network::parse(xml);
        let mut document = parsed.map_err(|faults| NetworkError::Document { faults: faults.to_string() })?;
        let same_name = self.entries.iter().find(|(_, entry)| entry.name == document.name).map(|(id, _)| *id);
        document.uuid = document.uuid.or(same_name.filter(|_| by_name));
        document.complete();
        let id = *document.uuid.get_or_insert_with(NetworkId::random);
        if let Some(uuid) = same_name.filter(|other| *other != id) {
            return Err(NetworkError::NameTaken { name: document.name, uuid });
        }
        if let Some(entry) = self.entries.get(&id).filter(|entry| entry.name != document.name) {
            return Err(NetworkError::UuidTaken { name: entry.name.clone(), uuid: id });
        }
        if !self.entries.contains_key(&id) && self.entries.len() >= limits::NETWORKS_MAX {
            let what = format!("more than {} networks", limits::NETWORKS_MAX);
            return Err(NetworkError::Unsupported { network: document.name, what });
        }
        Ok((id, document))
    }

    pub(super) async fn define(&mut self, xml: &str, by_name: bool) -> Result<NetworkId, NetworkError> {
        let (id, mut document) = self.take_in(xml, by_name)?;
        let plan = Plan::of(&document)?;
        if plan.own_bridge() {
            self.settle_bridge(id, &mut document, &plan).await?;
        }
        self.put(&document).await?;
        let name = document.name.clone();
        match self.entries.get_mut(&id) {
            Some(entry) => entry.defined = Some(document),
            None => {
                self.entries
                    .insert(id, Entry { name, defined: Some(document), autostart: false, running: None });
            }
        }
        self.tell(id, NetworkEvent::Defined);
        Ok(id)
    }

    /// Gives the document a bridge name if it has none, and sees that no other network has it.
    pub(super) async fn settle_bridge(
        &self,
        id: NetworkId,
        document: &mut Network,
        plan: &Plan,
    ) -> Result<(), NetworkError> {
        let others: Vec<(&str, &str)> = self
            .entries
            .iter()
            .filter(|(other, _)| **other != id)
            .filter_map(|(_, entry)| {
                Some((entry.document()?.bridge.as_ref()?.name.as_deref()?, entry.name.as_str()))
            })
            .collect();
        if let Some(wanted) = &plan.bridge {
            return match others.iter().find(|(bridge, _)| bridge == wanted) {
                Some((bridge, other)) => Err(taken(format!("the bridge `{bridge}`"), other)),
                None => Ok(()),
            };
        }
        let links = self.links.all().await?;
        let free = (0..10_000).map(|number| format!("virbr{number}")).find(|name| {
            others.iter().all(|(bridge, _)| bridge != name) && links.iter().all(|link| link.name != *name)
        });
        document.bridge.get_or_insert_with(Bridge::default).name = free;
        Ok(())
    }

    pub(super) async fn put(&self, document: &Network) -> Result<(), NetworkError> {
        let (name, xml) = (document.name.clone(), document.to_xml(&WriteOptions::STORED));
        self.stored(&name, move |definitions, name| definitions.put(name, &xml).map(|_| ())).await
    }

    async fn stored<T: Send + 'static>(
        &self,
        name: &str,
        act: impl FnOnce(&Definitions, &str) -> Result<T, DefinitionError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let (definitions, owned) = (self.definitions.clone(), name.to_owned());
        let done = tokio::task::spawn_blocking(move || act(&definitions, &owned)).await;
        done.map_err(|_| NetworkError::Closed)?.map_err(|error| store_failed(name, &error))
    }

    pub(super) async fn undefine(&mut self, id: NetworkId) -> Result<(), NetworkError> {
        let entry = self.entry(id)?;
        let name = entry.name.clone();
        if entry.defined.is_none() {
            return Err(NetworkError::State("can't undefine transient network"));
        }
        self.stored(&name, |definitions, name| definitions.remove(name).map(|_| ())).await?;
        let places = Places::of(&self.config, id, &name);
        self.tell(id, NetworkEvent::Undefined);
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(()) };
        entry.defined = None;
        entry.autostart = false;
        if entry.running.is_none() {
            self.entries.remove(&id);
            places.remove_leases()?;
        }
        Ok(())
    }

    pub(super) async fn set_autostart(&mut self, id: NetworkId, enabled: bool) -> Result<(), NetworkError> {
        let entry = self.entry(id)?;
        let name = entry.name.clone();
        if entry.defined.is_none() {
            return Err(NetworkError::State("cannot set autostart for transient network"));
        }
        self.stored(&name, move |definitions, name| definitions.set_autostart(name, enabled)).await?;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.autostart = enabled;
        }
        Ok(())
    }

    pub(super) async fn xml(&mut self, id: NetworkId, inactive: bool) -> Result<String, NetworkError> {
        self.take_in_edits(id).await?;
        let entry = self.entry(id)?;
        if let Some(running) = entry.running.as_ref().filter(|_| !inactive || entry.defined.is_none()) {
            let mut document = running.document.clone();
            let connections = u32::try_from(running.nics.len()).unwrap_or(u32::MAX);
            document.connections = (connections > 0).then_some(connections);
            return Ok(document.to_xml(&WriteOptions { inactive: false, ..WriteOptions::STORED }));
        }
        let document = entry.document().ok_or_else(|| NetworkError::NotFound { name: id.to_string() })?;
        Ok(document.to_xml(&WriteOptions::STORED))
    }

    /// A definition edited by hand counts from its next use. A bad edit is an error there, and is not lost.
    pub(super) async fn take_in_edits(&mut self, id: NetworkId) -> Result<(), NetworkError> {
        let entry = self.entry(id)?;
        if entry.defined.is_none() {
            return Ok(());
        }
        let name = entry.name.clone();
        let change = self.stored(&name, Definitions::changed).await?;
        let Change::Edited(edited) = change else { return Ok(()) };
        let parsed = Network::parse(&edited.text);
        let mut document = parsed.map_err(|faults| {
            let file = self.definitions.path(&name);
            NetworkError::Document { faults: format!("{}: {faults}", file.display()) }
        })?;
        if document.name != name || document.uuid.is_some_and(|uuid| uuid != id) {
            let what = format!(
                "{}: name and UUID cannot be changed in the file",
                self.definitions.path(&name).display()
            );
            return Err(NetworkError::Document { faults: what });
        }
        document.uuid = Some(id);
        tracing::info!(network = %name, "definition edited by hand, taken in");
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.defined = Some(document);
            entry.autostart = edited.autostart;
        }
        Ok(())
    }
}

/// The store's error as one of ours.
pub(super) fn store_failed(network: &str, error: &dyn std::error::Error) -> NetworkError {
    NetworkError::Store { network: network.to_owned(), detail: crate::error::chain(error) }
}

pub(super) fn taken(what: String, other: &str) -> NetworkError {
    NetworkError::Taken { what, other: other.to_owned(), link: None }
}

/// The UUID of a hand-written file that has none: always the same for the same name.
fn stable_id(name: &str) -> NetworkId {
    let hash = |seed: u64| {
        name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let (high, low) = (hash(0xcbf2_9ce4_8422_2325), hash(0x6c62_272e_07bb_0142));
    NetworkId(
        uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
            .into_uuid(),
    )
}
