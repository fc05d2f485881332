//! A PCI device taken from its driver for VFIO, and given back.
//!
//! ```text
//!  driver_override=vfio-pci ▶ driver/unbind ▶ drivers_probe      the guest runs
//!  driver_override=before   ▶ driver/unbind ▶ drivers/NAME/bind, or whom the kernel chooses
//! ```
//!
//! Both may run twice, and after a crash at any place: each looks who has the device now. Deliberately absent: the
//! reset of a device, which VFIO does itself when it is opened and closed.

use std::io;
use std::path::{Path, PathBuf};

use super::error::Fault;
use super::kernel::Kernel;
use super::note::{Before, Rebound};
use super::pci::{directory, driver_of, told};

/// Gives the device to VFIO's driver.
pub(super) fn take(kernel: &dyn Kernel, root: &Path, rebound: &Rebound) -> Result<(), Fault> {
    let Rebound { address, driver, .. } = rebound;
    let device = directory(root, address);
    if driver_of(&device).as_ref() == Some(driver) {
        return Ok(());
    }
    let drivers = root.join("sys/bus/pci/drivers");
    if !drivers.join(driver).is_dir() {
        kernel.load(driver);
    }
    if !drivers.join(driver).is_dir() {
        return Err(Fault::NoDriver { driver: driver.clone() });
    }
    let write = |path: PathBuf, text: &str| {
        let written = kernel.write(&path, text);
        written.map_err(|source| Fault::Bind {
            device: address.clone(),
            driver: driver.clone(),
            path,
            source,
        })
    };
    write(device.join("driver_override"), driver)?;
    if driver_of(&device).is_some() {
        write(device.join("driver/unbind"), address)?;
    }
    write(root.join("sys/bus/pci/drivers_probe"), address)?;
    let now = driver_of(&device);
    if now.as_ref() == Some(driver) {
        return Ok(());
    }
    Err(Fault::NotBound { device: address.clone(), driver: driver.clone(), now: told(now.as_deref()) })
}

/// Gives the device back to whom it was taken from. A driver that does not want it any more is told of in the log:
/// VFIO has it no longer, which is what counts.
pub(super) fn give_back(kernel: &dyn Kernel, root: &Path, rebound: &Rebound) -> Result<(), Fault> {
    let Rebound { address, driver, before, preferred } = rebound;
    let device = directory(root, address);
    if !device.exists() {
        return Ok(());
    }
    let write = |path: PathBuf, text: &str| {
        let written = kernel.write(&path, text);
        let to = match before {
            Before::Driver(name) => name.clone(),
            Before::Nobody | Before::Unknown => "(none)".to_owned(),
        };
        written.map_err(|source| Fault::Bind { device: address.clone(), driver: to, path, source })
    };
    // An empty line means that any driver may have it (Documentation/ABI/testing/sysfs-bus-pci).
    write(device.join("driver_override"), preferred.as_deref().unwrap_or("\n"))?;
    if driver_of(&device).as_ref() == Some(driver) {
        write(device.join("driver/unbind"), address)?;
    }
    let now = driver_of(&device);
    let bus = root.join("sys/bus/pci");
    match before {
        Before::Driver(name) if now.as_ref() != Some(name) => {
            let own = bus.join("drivers").join(name).join("bind");
            bound(
                kernel.write(&own, address).or_else(|_| kernel.write(&bus.join("drivers_probe"), address)),
                address,
            );
        }
        Before::Unknown if now.is_none() => {
            bound(kernel.write(&bus.join("drivers_probe"), address), address);
        }
        Before::Driver(_) | Before::Nobody | Before::Unknown => {}
    }
    Ok(())
}

fn bound(outcome: io::Result<()>, address: &str) {
    if let Err(error) = outcome {
        tracing::warn!(device = address, %error, "no driver of the host's took a PCI device back");
    }
}
