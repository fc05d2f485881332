//! Changing a domain that is there, and its figures.

use lodge_api::{
    ChangeScope, DomainChange, DomainFigures, DomainView, Figure, FigureQuery, FiguresQuery, GuestTime,
    ScreenQuery, VcpusView, route,
};

use bytes::Bytes;

use crate::Client;
use crate::calls::Answer;
use crate::wire::Call;

impl Client {
    /// Changes the running guest, its definition, or both.
    pub async fn change_domain(
        &self,
        dom: &str,
        scope: ChangeScope,
        change: &DomainChange,
    ) -> Answer<DomainView> {
        self.json(Call::post(route::of(route::DOMAIN_CHANGES, dom)).query(&scope).json(change)).await
    }

    /// Figures about one thing of a domain.
    pub async fn domain_figures(&self, dom: &str, query: &FigureQuery) -> Answer<Vec<Figure>> {
        self.json(Call::get(route::of(route::DOMAIN_FIGURES, dom)).query(query)).await
    }

    /// A domain's processors.
    pub async fn domain_vcpus(&self, dom: &str) -> Answer<VcpusView> {
        self.json(Call::get(route::of(route::DOMAIN_VCPUS, dom))).await
    }

    /// What a guest's clock shows.
    pub async fn domain_time(&self, dom: &str) -> Answer<GuestTime> {
        self.json(Call::get(route::of(route::DOMAIN_TIME, dom))).await
    }

    /// A picture of one of a guest's screens: PNG, or a portable pixmap of a QEMU before 7.1.
    pub async fn domain_screenshot(&self, dom: &str, screen: u32) -> Answer<Bytes> {
        let query = ScreenQuery { screen };
        self.bytes(Call::get(route::of(route::DOMAIN_SCREENSHOT, dom)).query(&query)).await
    }

    /// Figures of many domains.
    pub async fn figures(&self, query: &FiguresQuery) -> Answer<Vec<DomainFigures>> {
        self.json(Call::get(route::FIGURES).query(query)).await
    }
}
