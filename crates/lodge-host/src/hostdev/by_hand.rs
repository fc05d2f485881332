//! A PCI device that a person takes from the host's driver, gives back or resets: `nodedev-detach` and its kin.
//!
//! Nothing is noted: what VFIO has by a person's hand it keeps, also when the daemon is gone, and whom it is given back to
//! the kernel chooses, as libvirt has it. A device that a guest has is refused. Deliberately absent: devices of other sorts.

use std::path::Path;
use std::sync::Arc;

use lodge_model::DomainId;

use super::error::{Fault, HostdevError};
use super::kernel::Kernel;
use super::note::{Before, Rebound};
use super::pci::{self, VFIO};
use super::taken::{Key, Wish};
use super::{Hostdevs, bind, blocking, lock};

/// Who has a device while its driver is changed by hand.
const SOMEBODY: &str = "(its driver is being changed)";

impl Hostdevs {
    /// Takes the PCI function `device` (`0000:01:00.0`) from its driver for VFIO's, or for one of its kin by name.
    pub async fn detach(&self, device: &str, driver: Option<&str>) -> Result<(), HostdevError> {
        let driver = driver.filter(|driver| *driver != "vfio").unwrap_or(VFIO).to_owned();
        self.by_hand(device, move |kernel, root, device| take(kernel, root, device, driver)).await
    }

    /// Gives it back to a driver of the host's. One that VFIO does not have is left as it is.
    pub async fn reattach(&self, device: &str) -> Result<(), HostdevError> {
        self.by_hand(device, give_back).await
    }

    /// Resets it, by the way that the kernel has for it.
    pub async fn reset(&self, device: &str) -> Result<(), HostdevError> {
        self.by_hand(device, reset).await
    }

    async fn by_hand(
        &self,
        device: &str,
        act: impl FnOnce(&dyn Kernel, &Path, &str) -> Result<(), Fault> + Send + 'static,
    ) -> Result<(), HostdevError> {
        let (inner, device, nobody) = (Arc::clone(&self.inner), device.to_owned(), DomainId::random());
        let done = blocking(move || {
            let directory = pci::directory(&inner.root, &device);
            if !directory.exists() {
                return Err(plain(Fault::Missing { what: format!("PCI device {device}") }));
            }
            if pci::is_bridge(&directory) {
                return Err(plain(Fault::NotEndpoint { device }));
            }
            let wishes = [Wish { key: Key::Pci(device.clone()), shareable: false }];
            {
                let mut taken = lock(&inner.taken);
                if let Some((wish, by)) = taken.conflict(nobody, &wishes) {
                    let fault = Fault::Taken { what: wish.key.to_string(), by: by.to_owned() };
                    return Err(plain(fault));
                }
                taken.put(nobody, SOMEBODY, &wishes);
            }
            let done = act(&inner.kernel_for(nobody), &inner.root, &device);
            lock(&inner.taken).release(nobody);
            done.map_err(plain)
        });
        self.inner.in_time(nobody, done).await
    }
}

/// What is said of no document.
fn plain(fault: Fault) -> HostdevError {
    HostdevError { element: String::new(), fault }
}

fn take(kernel: &dyn Kernel, root: &Path, device: &str, driver: String) -> Result<(), Fault> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    if driver.is_empty() || !driver.chars().all(is_name) {
        return Err(Fault::NoDriver { driver });
    }
    let directory = pci::directory(root, device);
    let now = pci::driver_of(&directory);
    if pci::is_vfios(&directory, now.as_deref(), &driver) {
        return Ok(());
    }
    if pci::group_of(&directory).is_none() {
        return Err(Fault::NoIommu { what: format!("PCI device {device}") });
    }
    let preferred = pci::preferred(&directory);
    let before = now.map_or(Before::Nobody, Before::Driver);
    let rebound = Rebound { address: device.to_owned(), driver, before, preferred };
    let taken = bind::take(kernel, root, &rebound);
    if taken.is_err()
        && let Err(fault) = bind::give_back(kernel, root, &rebound)
    {
        tracing::error!(device, error = %fault, "a device of the host's was not given back");
    }
    kernel.settle();
    taken
}

fn give_back(kernel: &dyn Kernel, root: &Path, device: &str) -> Result<(), Fault> {
    let directory = pci::directory(root, device);
    let now = pci::driver_of(&directory);
    let driver =
        now.filter(|now| pci::is_vfios(&directory, Some(now), VFIO)).unwrap_or_else(|| VFIO.to_owned());
    let rebound = Rebound { address: device.to_owned(), driver, before: Before::Unknown, preferred: None };
    let given = bind::give_back(kernel, root, &rebound);
    kernel.settle();
    given
}

fn reset(kernel: &dyn Kernel, root: &Path, device: &str) -> Result<(), Fault> {
    let path = pci::directory(root, device).join("reset");
    if !path.exists() {
        return Err(Fault::NoReset { device: device.to_owned() });
    }
    kernel.write(&path, "1").map_err(|source| Fault::Reset { device: device.to_owned(), source })
}
