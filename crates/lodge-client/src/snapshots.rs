//! Snapshots of domains.

use lodge_api::{
    DomainView, SnapshotCreate, SnapshotDelete, SnapshotRevert, SnapshotView, SnapshotXmlOptions, route,
};

use crate::Client;
use crate::calls::Answer;
use crate::wire::Call;

impl Client {
    /// A domain's snapshots, parents before their children.
    pub async fn snapshots(&self, dom: &str) -> Answer<Vec<SnapshotView>> {
        self.json(Call::get(route::of(route::SNAPSHOTS, dom))).await
    }

    /// Takes a snapshot.
    pub async fn create_snapshot(
        &self,
        dom: &str,
        xml: &str,
        options: &SnapshotCreate,
    ) -> Answer<SnapshotView> {
        self.json(Call::post(route::of(route::SNAPSHOTS, dom)).query(options).xml(xml)).await
    }

    /// One snapshot.
    pub async fn snapshot(&self, dom: &str, snapshot: &str) -> Answer<SnapshotView> {
        self.json(Call::get(route::of_both(route::SNAPSHOT, dom, snapshot))).await
    }

    /// Its document.
    pub async fn snapshot_xml(
        &self,
        dom: &str,
        snapshot: &str,
        options: &SnapshotXmlOptions,
    ) -> Answer<String> {
        self.text(Call::get(route::of_both(route::SNAPSHOT_XML, dom, snapshot)).query(options)).await
    }

    /// Removes it.
    pub async fn delete_snapshot(&self, dom: &str, snapshot: &str, options: &SnapshotDelete) -> Answer<()> {
        self.nothing(Call::delete(route::of_both(route::SNAPSHOT, dom, snapshot)).query(options)).await
    }

    /// Goes back to it.
    pub async fn revert_to_snapshot(
        &self,
        dom: &str,
        snapshot: &str,
        options: &SnapshotRevert,
    ) -> Answer<DomainView> {
        self.json(Call::post(route::of_both(route::SNAPSHOT_REVERT, dom, snapshot)).json(options)).await
    }
}
