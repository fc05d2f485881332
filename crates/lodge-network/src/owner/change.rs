//! Changing a network's documents: sections of it, and words for people. The running one's bridge, guests and leases
//! stay; netd and the firewall are told what is new.

use lodge_model::NetworkId;
use lodge_model::network::{Network, Update};
use lodge_model::xml::WriteOptions;

use super::Owner;
use crate::client::Netd;
use crate::launch::{self, Places, file};
use crate::plan::Plan;
use crate::{Affects, MetadataChange, MetadataPart, NetworkError, NetworkEvent};

impl Owner {
    /// Which documents are meant, once and for all.
    fn settle(&self, id: NetworkId, affects: Affects) -> Result<Affects, NetworkError> {
        let entry = self.entry(id)?;
        let active = entry.running.is_some();
        let affects = match affects {
            Affects { live: false, config: false } => Affects { live: active, config: !active },
            said => said,
        };
        if affects.live && !active {
            return Err(NetworkError::State("network is not running"));
        }
        if affects.config && entry.defined.is_none() {
            return Err(NetworkError::State("cannot change persistent config of a transient network"));
        }
        Ok(affects)
    }

    /// Both documents as `act` makes them, of those that are meant.
    async fn changed<E>(
        &mut self,
        id: NetworkId,
        affects: Affects,
        act: impl Fn(&mut Network) -> Result<(), E>,
    ) -> Result<[Option<Network>; 2], NetworkError>
    where
        NetworkError: From<E>,
    {
        self.take_in_edits(id).await?;
        let entry = self.entry(id)?;
        let live = entry.running.as_ref().filter(|_| affects.live).map(|running| running.document.clone());
        let config = entry.defined.clone().filter(|_| affects.config);
        let mut made = [live, config];
        for document in made.iter_mut().flatten() {
            act(document)?;
        }
        Ok(made)
    }

    /// Changes a section.
    pub(super) async fn update(
        &mut self,
        id: NetworkId,
        update: &Update,
        affects: Affects,
    ) -> Result<(), NetworkError> {
        let affects = self.settle(id, affects)?;
        let [live, config] = self.changed(id, affects, |document| document.update(update)).await?;
        // Both are judged before either is in force.
        let plan = live.as_ref().map(Plan::of).transpose()?;
        if let Some(config) = &config {
            Plan::of(config)?;
            self.put(config).await?;
        }
        if let Some(entry) = self.entries.get_mut(&id).filter(|_| config.is_some()) {
            entry.defined = config;
        }
        if let (Some(document), Some(plan)) = (live, plan) {
            self.apply(id, document, Plan { id, ..plan }).await?;
        }
        Ok(())
    }

    /// Lets a running network be as `plan` says. Its bridge and addresses are no section that can change.
    async fn apply(&mut self, id: NetworkId, document: Network, plan: Plan) -> Result<(), NetworkError> {
        let upstreams = self.upstreams(&plan);
        let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut()) else {
            return Ok(());
        };
        let old = std::mem::replace(&mut running.plan, plan);
        running.document = document;
        let plan = running.plan.clone();
        self.keep_live(id)?;
        let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut()) else {
            return Ok(());
        };
        let same_services =
            old.dhcp.is_some() == plan.dhcp.is_some() && old.dns.is_some() == plan.dns.is_some();
        let mut told = !plan.served() && running.netd.is_none();
        if same_services && running.netd.is_some() {
            let mut rules = plan.dns.clone();
            if let Some(rules) = &mut rules {
                rules.upstreams.clone_from(&upstreams);
            }
            let mut scope = plan.dhcp.clone();
            self.config.tell_policy(scope.as_mut(), rules.as_mut());
            let netd = Netd::at(&plan.name, running.control.clone());
            match netd.reconfigure(scope, rules).await {
                Ok(()) => {
                    running.upstreams = upstreams;
                    told = true;
                }
                // One of an older daemon does not know the word.
                Err(error) => tracing::info!(network = %plan.name, %error, "netd is started anew"),
            }
        }
        if !told {
            if let Some(netd) = running.netd.take() {
                launch::end(&netd.process).await;
            }
            self.netd_again(id).await;
        }
        if old.forward_dev != plan.forward_dev {
            self.load_rules(None).await?;
        }
        tracing::info!(network = %plan.name, "running network changed");
        Ok(())
    }

    /// Notes the running document for the next daemon.
    fn keep_live(&self, id: NetworkId) -> Result<(), NetworkError> {
        let Some(running) = self.entry(id)?.running.as_ref() else { return Ok(()) };
        let places = Places::of(&self.config, id, &running.plan.name);
        let text = running.document.to_xml(&WriteOptions::STORED);
        lodge_sys::fs::write_durable(&places.live, text.as_bytes(), 0o600)
            .map_err(file("write", &places.live))
    }

    /// Changes words for people.
    pub(super) async fn set_metadata(
        &mut self,
        id: NetworkId,
        change: &MetadataChange,
        affects: Affects,
    ) -> Result<(), NetworkError> {
        let affects = self.settle(id, affects)?;
        let [live, config] = self.changed(id, affects, |document| put_words(document, change)).await?;
        if let Some(config) = config {
            self.put(&config).await?;
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.defined = Some(config);
            }
        }
        if let Some(document) = live {
            if let Some(running) = self.entries.get_mut(&id).and_then(|entry| entry.running.as_mut()) {
                running.document = document;
            }
            self.keep_live(id)?;
        }
        let (part, uri) = change.part.told();
        self.tell(id, NetworkEvent::MetadataChanged { part, uri });
        Ok(())
    }

    /// Words for people.
    pub(super) fn metadata(
        &self,
        id: NetworkId,
        part: &MetadataPart,
        affects: Affects,
    ) -> Result<String, NetworkError> {
        let affects = self.settle(id, affects)?;
        let entry = self.entry(id)?;
        let live = entry.running.as_ref().filter(|_| affects.live).map(|running| &running.document);
        let document = live.or(entry.defined.as_ref());
        let document = document.ok_or_else(|| NetworkError::NotFound { name: id.to_string() })?;
        let missing = NetworkError::NoMetadata("Requested metadata element is not present");
        match part {
            MetadataPart::Description => document.description.clone(),
            MetadataPart::Title => document.title.clone(),
            MetadataPart::Element(uri) => document.metadata_element(uri),
        }
        .ok_or(missing)
    }
}

fn put_words(document: &mut Network, change: &MetadataChange) -> Result<(), NetworkError> {
    let text = change.text.clone().filter(|text| !text.is_empty());
    match &change.part {
        MetadataPart::Description => document.description = text,
        MetadataPart::Title => {
            if text.as_ref().is_some_and(|text| text.contains('\n')) {
                return Err(NetworkError::BadMetadata("metadata title can't contain newlines".into()));
            }
            document.title = text;
        }
        MetadataPart::Element(uri) => {
            let element = text.as_deref().map(|xml| (change.key.as_deref().unwrap_or_default(), xml));
            let set = document.set_metadata_element(uri, element);
            set.map_err(|fault| NetworkError::BadMetadata(fault.to_string()))?;
        }
    }
    Ok(())
}
