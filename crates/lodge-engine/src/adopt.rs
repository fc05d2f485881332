//! Moving a host from libvirt's daemons to Lodge.

use lodge_store::{Driver, Store};

/// Takes libvirt's drivers, as far as no libvirt daemon has them.
pub(crate) fn take_drivers(store: &Store) {
    for driver in Driver::ALL {
        match store.drivers().take(driver) {
            Ok(Ok(())) => {}
            Ok(Err(occupant)) => tracing::warn!(
                driver = driver.directory(),
                program = occupant.program,
                pid = occupant.pid,
                "a libvirt daemon runs; what it has is left to it. Stop it and run `lodge adopt`"
            ),
            Err(error) => {
                tracing::error!(driver = driver.directory(), %error, "libvirt's lock could not be taken");
            }
        }
    }
}
