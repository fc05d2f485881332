//! The host's devices: looked at, not changed.

use std::path::Path;

use lodge_host::devices::{self, Device};

use crate::{Caller, Engine};

impl Engine {
    /// All devices, by name.
    #[crate::boxed]
    pub async fn host_devices(&self, _caller: &Caller) -> Vec<Device> {
        let found = tokio::task::spawn_blocking(|| devices::devices(Path::new("/"))).await;
        // Only a panic while reading, which is logged where it happens.
        found.unwrap_or_default()
    }

    /// One by name.
    #[crate::boxed]
    pub async fn host_device(&self, caller: &Caller, name: &str) -> Option<Device> {
        self.host_devices(caller).await.into_iter().find(|device| device.name == name)
    }

    /// A device's document.
    #[crate::boxed]
    pub async fn host_device_xml(&self, _caller: &Caller, device: Device) -> String {
        let text = tokio::task::spawn_blocking(move || device.to_xml(Path::new("/"))).await;
        text.unwrap_or_default()
    }
}
