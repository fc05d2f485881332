//! Devices: plugged in, taken out, changed, in a definition and in a running guest.
//!
//! ```text
//!  text ─▶ Given ─┬─▶ definition: inventory (add, find, remove, replace) ─▶ completed and checked by the owner
//!                 └─▶ guest: place and alias · claim disk or tap · monitor commands · live document · event
//! ```
//!
//! A guest lets a device go when it likes. A detach waits five seconds for that, as libvirt's does, and succeeds in
//! any case; when QEMU tells later that the device is gone ([`gone`]), the document, the disk's lock and the tap follow.

mod find;
mod given;
mod inventory;
mod live;
mod medium;
mod renew;
mod unplug;
mod update;

pub use given::Given;
pub(crate) use live::{accelerator, next_node};
pub use renew::{renew_interface, set_link};
pub use update::UpdateOptions;

use lodge_model::domain::Domain;

use super::{Change, Refusal, Running, Scope};
pub(super) use unplug::gone;

/// `virsh attach-device`.
pub fn attach(given: Given, scope: Scope) -> Change {
    let of_live = given.clone();
    Change::new("attach-device", scope).config(move |domain| inventory::add(domain, given)).live(
        move |mut running| async move {
            let outcome = live::attach(&mut running, of_live).await;
            (running, outcome)
        },
    )
}

/// `virsh detach-device`.
pub fn detach(given: Given, scope: Scope) -> Change {
    let of_live = given.clone();
    Change::new("detach-device", scope)
        .config(move |domain| {
            let found = find::find(domain, &given)?;
            inventory::remove(domain, &found);
            Ok(())
        })
        .live(move |mut running| async move {
            let outcome = async {
                let found = find::find(&running.document, &of_live)?;
                unplug::unplug(&mut running, &of_live.element, found, true).await
            };
            let outcome = outcome.await;
            (running, outcome)
        })
}

/// `virsh detach-device-alias`: asks the guest and does not wait.
pub fn detach_alias(alias: String, scope: Scope) -> Change {
    let of_live = alias.clone();
    Change::new("detach-device-alias", scope)
        .config(move |domain| {
            let (_, found) = by_alias(domain, &alias)?;
            inventory::remove(domain, &found);
            Ok(())
        })
        .live(move |mut running| async move {
            let outcome = async {
                let (element, found) = by_alias(&running.document, &of_live)?;
                unplug::unplug(&mut running, element, found, false).await
            };
            let outcome = outcome.await;
            (running, outcome)
        })
}

fn by_alias(domain: &Domain, alias: &str) -> Result<(&'static str, find::Found), Refusal> {
    find::by_alias(domain, alias)
        .ok_or_else(|| Refusal::internal(format!("no device found with alias {alias}")).of_domain())
}

/// `virsh update-device`.
pub fn update(given: Given, options: UpdateOptions, scope: Scope) -> Change {
    let of_live = given.clone();
    Change::new("update-device", scope).config(move |domain| update::in_document(domain, &given)).live(
        move |mut running| async move {
            let outcome = update::live(&mut running, of_live, options).await;
            (running, outcome)
        },
    )
}

/// The document of a running guest with no devices but those of `with`; for what is plugged into it.
pub(crate) fn alone(running: &Running, with: lodge_model::domain::devices::Devices) -> Domain {
    let mut domain = running.document.clone();
    // The boot order of the start is spent.
    domain.os.boot.clear();
    // Neither of these is a device, and both would be made again.
    domain.genid = None;
    if let Some(features) = domain.features.as_deref_mut() {
        features.vmcoreinfo = None;
    }
    *domain.devices = with;
    domain
}
