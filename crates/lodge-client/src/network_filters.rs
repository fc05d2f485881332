//! Calls about network filters. `filter` is a filter's name or UUID, `port` a card's name on the host.

use lodge_api::{NetworkFilterBinding, NetworkFilterOptions, NetworkFilterView, route};

use crate::Client;
use crate::calls::Answer;
use crate::wire::Call;

impl Client {
    /// All filters.
    pub async fn network_filters(&self) -> Answer<Vec<NetworkFilterView>> {
        self.json(Call::get(route::NETWORK_FILTERS)).await
    }

    /// Takes in a document.
    pub async fn define_network_filter(
        &self,
        xml: &str,
        options: &NetworkFilterOptions,
    ) -> Answer<NetworkFilterView> {
        self.json(Call::post(route::NETWORK_FILTERS).query(options).xml(xml)).await
    }

    /// One filter.
    pub async fn network_filter(&self, filter: &str) -> Answer<NetworkFilterView> {
        self.json(Call::get(route::of(route::NETWORK_FILTER, filter))).await
    }

    /// Forgets a filter.
    pub async fn undefine_network_filter(&self, filter: &str) -> Answer<()> {
        self.nothing(Call::delete(route::of(route::NETWORK_FILTER, filter))).await
    }

    /// A filter's document.
    pub async fn network_filter_xml(&self, filter: &str) -> Answer<String> {
        self.text(Call::get(route::of(route::NETWORK_FILTER_XML, filter))).await
    }

    /// The cards that have a filter.
    pub async fn network_filter_bindings(&self) -> Answer<Vec<NetworkFilterBinding>> {
        self.json(Call::get(route::NETWORK_FILTER_BINDINGS)).await
    }

    /// Gives a card a filter.
    pub async fn create_network_filter_binding(
        &self,
        xml: &str,
        options: &NetworkFilterOptions,
    ) -> Answer<NetworkFilterBinding> {
        self.json(Call::post(route::NETWORK_FILTER_BINDINGS).query(options).xml(xml)).await
    }

    /// A card's binding, as its document.
    pub async fn network_filter_binding_xml(&self, port: &str) -> Answer<String> {
        self.text(Call::get(route::of(route::NETWORK_FILTER_BINDING, port))).await
    }

    /// Takes a card's filter away.
    pub async fn delete_network_filter_binding(&self, port: &str) -> Answer<()> {
        self.nothing(Call::delete(route::of(route::NETWORK_FILTER_BINDING, port))).await
    }
}
