//! The host's devices: looked at, and taken from their drivers by hand.

use std::path::Path;

use lodge_host::devices::{self, Device};

use crate::error::Result;
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

    /// Whether this host can give PCI devices to guests.
    pub fn gives_host_devices(&self, _caller: &Caller) -> bool {
        lodge_host::hostdev::has_vfio()
    }

    /// Takes a PCI device from the host's driver, for VFIO's or another of its kin.
    #[crate::boxed]
    pub async fn detach_host_device(
        &self,
        _caller: &Caller,
        device: &Device,
        driver: Option<&str>,
    ) -> Result<()> {
        self.hostdevs.detach(&file(device), driver).await?;
        tracing::info!(device = device.name, "device taken from the host's driver");
        Ok(())
    }

    /// Gives a PCI device back to a driver of the host's.
    #[crate::boxed]
    pub async fn reattach_host_device(&self, _caller: &Caller, device: &Device) -> Result<()> {
        self.hostdevs.reattach(&file(device)).await?;
        tracing::info!(device = device.name, "device given back to the host's driver");
        Ok(())
    }

    /// Resets a PCI device.
    #[crate::boxed]
    pub async fn reset_host_device(&self, _caller: &Caller, device: &Device) -> Result<()> {
        self.hostdevs.reset(&file(device)).await?;
        tracing::info!(device = device.name, "device reset");
        Ok(())
    }
}

/// A device's name in sysfs.
fn file(device: &Device) -> String {
    device.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
