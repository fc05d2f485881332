//! Calls for what lies on guests' disks.

use lodge_api::{GuestDevices, GuestDiskQuery, GuestFile, route};

use crate::Client;
use crate::calls::Answer;
use crate::storage::Download;
use crate::wire::Call;

impl Client {
    /// The devices on a guest's disks.
    pub async fn guest_devices(&self, query: &GuestDiskQuery) -> Answer<GuestDevices> {
        self.json(Call::get(route::GUEST_DEVICES).query(query)).await
    }

    /// Files on a guest's disks.
    pub async fn guest_tree(&self, query: &GuestDiskQuery) -> Answer<Vec<GuestFile>> {
        self.json(Call::get(route::GUEST_TREE).query(query)).await
    }

    /// A file's bytes as they come.
    pub async fn guest_content(&self, query: &GuestDiskQuery) -> Answer<Download> {
        let call = Call::get(route::GUEST_CONTENT).query(query);
        let name = call.name();
        let body = self.wire.open_stream(call).await?.into_body();
        Ok(Download::new(name, body))
    }
}
