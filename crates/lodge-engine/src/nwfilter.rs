//! Use cases of network filters.

use std::sync::Arc;

use lodge_api::{NetworkFilterBinding, NetworkFilterOptions, NetworkFilterView};
use lodge_model::nwfilter::Binding;
use lodge_network::{Bind, Filter, FilterError, NetworkError, NetworkFilters};
use uuid::Uuid;

use crate::error::Result;
use crate::{Caller, Engine};

impl Engine {
    /// The network filters, to look at.
    pub fn network_filters(&self, _caller: &Caller) -> NetworkFilters {
        self.filters.clone()
    }

    /// Takes in a filter's document; `strict`: what nobody knows in it is a fault.
    #[crate::boxed]
    pub async fn define_network_filter(
        &self,
        caller: &Caller,
        xml: String,
        strict: bool,
    ) -> Result<Arc<Filter>> {
        caller.may_change()?;
        Ok(self.filters.define(&xml, strict).await?)
    }

    /// Forgets a filter.
    #[crate::boxed]
    pub async fn undefine_network_filter(&self, caller: &Caller, uuid: Uuid) -> Result<()> {
        caller.may_change()?;
        Ok(self.filters.undefine(uuid).await?)
    }

    /// Gives a card of the host's a filter.
    #[crate::boxed]
    pub async fn bind_network_filter(&self, caller: &Caller, xml: String, strict: bool) -> Result<Binding> {
        caller.may_change()?;
        let binding = if strict { Binding::parse_strict(&xml) } else { Binding::parse(&xml) };
        let binding = binding.map_err(FilterError::from)?;
        // Whose card it is, and whether it is given an address here, is its owner's to know.
        let how = Bind { anew: false, may_learn: true };
        match self.networks.bind_filter(binding.clone(), how).await {
            Ok(()) => Ok(binding),
            Err(NetworkError::Filter(error)) => Err(error.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a card's filter away.
    #[crate::boxed]
    pub async fn unbind_network_filter(&self, caller: &Caller, port: String) -> Result<()> {
        caller.may_change()?;
        Ok(self.filters.unbind(&port).await?)
    }

    /// Every filter, by name.
    pub fn network_filter_views(&self, _caller: &Caller) -> Vec<NetworkFilterView> {
        self.filters.list().iter().map(|filter| view(filter)).collect()
    }

    /// One filter, by name or UUID.
    pub fn network_filter(&self, _caller: &Caller, name: &str) -> Result<NetworkFilterView> {
        Ok(view(&*self.find_filter(name)?))
    }

    /// A filter's document.
    pub fn network_filter_xml(&self, _caller: &Caller, name: &str) -> Result<String> {
        Ok(self.find_filter(name)?.document.to_xml())
    }

    /// Takes in a filter's document.
    #[crate::boxed]
    pub async fn take_network_filter(
        &self,
        caller: &Caller,
        xml: String,
        options: NetworkFilterOptions,
    ) -> Result<NetworkFilterView> {
        Ok(view(&*self.define_network_filter(caller, xml, options.validate).await?))
    }

    /// Forgets a filter, by name or UUID.
    #[crate::boxed]
    pub async fn forget_network_filter(&self, caller: &Caller, name: String) -> Result<()> {
        caller.may_change()?;
        let uuid = self.find_filter(&name)?.uuid;
        self.undefine_network_filter(caller, uuid).await
    }

    /// Every card that has a filter.
    pub fn network_filter_bindings(&self, _caller: &Caller) -> Vec<NetworkFilterBinding> {
        self.filters.bindings().iter().map(bound).collect()
    }

    /// A card's, as its document.
    pub fn network_filter_binding_xml(&self, _caller: &Caller, port: &str) -> Result<String> {
        Ok(self.filters.binding(port)?.to_xml())
    }

    /// Gives a card of the host's a filter.
    #[crate::boxed]
    pub async fn create_network_filter_binding(
        &self,
        caller: &Caller,
        xml: String,
        options: NetworkFilterOptions,
    ) -> Result<NetworkFilterBinding> {
        Ok(bound(&self.bind_network_filter(caller, xml, options.validate).await?))
    }

    fn find_filter(&self, name: &str) -> Result<Arc<Filter>> {
        // As virsh looks: what reads like a UUID is one.
        if let Ok(uuid) = name.parse()
            && let Ok(found) = self.filters.by_uuid(uuid)
        {
            return Ok(found);
        }
        Ok(self.filters.by_name(name)?)
    }
}

fn view(filter: &Filter) -> NetworkFilterView {
    NetworkFilterView { name: filter.name.clone(), uuid: filter.uuid }
}

fn bound(binding: &Binding) -> NetworkFilterBinding {
    NetworkFilterBinding {
        port: binding.port.clone(),
        filter: binding.filter.filter.clone(),
        owner: binding.owner.clone(),
        owner_uuid: binding.owner_uuid,
        mac: binding.mac.to_string(),
    }
}
