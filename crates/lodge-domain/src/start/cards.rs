//! What QEMU gets open for a network card: its queues, the kernel's own virtio (vhost-net), a vDPA device, the socket on
//! which a vhost-user switch is waited for.
//!
//! For a start and for a card that is plugged in. Deliberately absent: the making of taps and macvtaps (a port's matter),
//! and sockets that are connected to, which need to be waited for (`helpers/cards.rs`).

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use lodge_model::Kind;
use lodge_model::domain::Domain;
use lodge_model::domain::interface::{Interface, InterfaceKind};
use lodge_qemu::{Accelerator, Claims, Descriptors, NicClaim, listen};
use lodge_store::saga::Failure;

use super::file_failure;

/// The kernel's virtio.
const VHOST_NET: &str = "/dev/vhost-net";

/// What the card at `element` gets, whose queues are `taps`.
pub(crate) fn claim(
    card: &Interface,
    element: &str,
    taps: Vec<OwnedFd>,
    accelerator: Accelerator,
    descriptors: &mut Descriptors,
) -> Result<NicClaim, Failure> {
    let vhosts = vhosts(card, element, taps.len(), accelerator)?;
    let device = match (card.kind, card.source.as_deref().and_then(|source| source.dev.as_deref())) {
        (InterfaceKind::Vdpa, Some(path)) => Some(both(Path::new(path)).map_err(|error| {
            let mut failure = file_failure("open", Path::new(path), &error);
            failure.message = format!("{element}/source: {}", failure.message);
            failure
        })?),
        _ => None,
    };
    Ok(NicClaim {
        taps: taps.into_iter().map(|fd| descriptors.pass(fd)).collect(),
        vhosts: vhosts.into_iter().map(|fd| descriptors.pass(fd)).collect(),
        device: device.map(|fd| descriptors.pass(fd)),
    })
}

/// One per queue, where the guest's packets can go by the kernel; libvirt's rule (qemuInterfaceOpenVhostNet), but that
/// it is all of them or none.
fn vhosts(
    card: &Interface,
    element: &str,
    queues: usize,
    accelerator: Accelerator,
) -> Result<Vec<OwnedFd>, Failure> {
    let driver = card.driver.as_deref().and_then(|driver| driver.name.as_deref());
    let is_virtio = card.model().is_some_and(|model| model.starts_with("virtio"));
    if accelerator != Accelerator::Kvm || driver == Some("qemu") || !is_virtio {
        return Ok(Vec::new());
    }
    let path = card.backend.as_deref().and_then(|backend| backend.vhost.as_deref()).unwrap_or(VHOST_NET);
    let opened: io::Result<Vec<OwnedFd>> = (0..queues).map(|_| both(Path::new(path))).collect();
    match opened {
        Ok(opened) => Ok(opened),
        Err(error) if driver == Some("vhost") => {
            let message = format!(
                "{element}/driver: vhost-net was requested for an interface, but is unavailable ({path}: {error})"
            );
            let failure = Failure::new(Kind::Unsupported, message);
            Err(failure
                .with_hint("load the module vhost_net, or leave name='vhost' out of <driver>".to_owned()))
        }
        Err(error) => {
            tracing::debug!(path, %error, "a card's packets go by QEMU, not by the kernel");
            Ok(Vec::new())
        }
    }
}

fn both(path: &Path) -> io::Result<OwnedFd> {
    Ok(OpenOptions::new().read(true).write(true).open(path)?.into())
}

/// Sockets on which vhost-user switches are waited for.
pub(super) fn listen_for_switches(
    document: &Domain,
    claims: &mut Claims,
    descriptors: &mut Descriptors,
) -> Result<(), Failure> {
    for card in document.devices.interfaces.iter().filter(|card| card.kind == InterfaceKind::VhostUser) {
        let source = card.source.as_deref().filter(|source| source.mode.as_deref() == Some("server"));
        let path = source.and_then(|source| source.path.as_deref()).map(Path::new);
        let (Some(path), Some(alias)) = (path, card.place.alias.as_ref()) else { continue };
        // What is there makes way if it is what an earlier run left, and nothing else.
        if path.symlink_metadata().is_ok_and(|there| !there.file_type().is_socket()) {
            let message = format!(
                "`{}` is there and no socket: <source mode='server'> would replace it",
                path.display()
            );
            return Err(Failure::new(Kind::Conflict, message));
        }
        let socket = listen(path).map_err(|error| file_failure("listen on", path, &error))?;
        claims.sockets.insert(alias.name.clone(), descriptors.pass(socket));
    }
    Ok(())
}
