//! The programs at the other end of network cards: passt, and vhost-user switches that somebody else runs.
//!
//! passt runs as the guest's own user, and shuts itself in. Deliberately absent: what it is told
//! (`lodge_qemu::helper::passt`), and switches that connect to the guest (`start/cards.rs`) or that QEMU is to find
//! again by itself (`<reconnect>`).

use std::io;
use std::os::unix::net::UnixStream as Pair;
use std::path::PathBuf;

use lodge_model::Kind;
use lodge_model::domain::Domain;
use lodge_model::domain::interface::{Interface, InterfaceKind};
use lodge_qemu::helper::passt::{arguments, greet};
use lodge_store::saga::Failure;
use tokio::net::UnixStream;

use super::{ANSWER_PATIENCE, Served, Site, failure, program, start, watch};
use crate::domains::Shared;
use crate::start::file_failure;

/// The cards of a document that something else serves.
pub(super) fn served_cards(document: &Domain) -> Vec<(usize, &Interface)> {
    let cards = document.devices.interfaces.iter().enumerate();
    cards.filter(|(_, card)| is_passt(card) || switch(card).is_some()).collect()
}

fn is_passt(card: &Interface) -> bool {
    let backend = card.backend.as_deref().and_then(|backend| backend.kind.as_deref());
    card.kind == InterfaceKind::User && backend == Some("passt")
}

/// The socket of a switch that waits for guests.
fn switch(card: &Interface) -> Option<&str> {
    let source = card.source.as_deref().filter(|_| card.kind == InterfaceKind::VhostUser)?;
    let again = source.foreign.tree("reconnect").unwrap_or_default();
    let connects = source.mode.as_deref() != Some("server") && again.attribute("enabled") != Some("yes");
    source.path.as_deref().filter(|_| connects)
}

/// Starts or finds what serves one card.
pub(super) async fn serve(
    shared: &Shared,
    domain: &str,
    site: &Site,
    (at, card): (usize, &Interface),
) -> Result<Served, Failure> {
    let element = format!("/domain/devices/interface[{}]", at + 1);
    let alias = card.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
    if let Some(path) = switch(card) {
        return super::join(path.as_ref(), alias, &format!("{element}/source")).await;
    }
    let passt = program("passt", "passt", &element)?;
    let given = card.backend.as_deref().and_then(|backend| backend.log_file.as_ref()).map(PathBuf::from);
    let log = given.unwrap_or_else(|| {
        let root = shared.config.store.root();
        root.logs().join(format!("{domain}-{alias}-passt.log"))
    });
    let mac = card.mac().ok_or_else(|| {
        Failure::new(Kind::InvalidInput, format!("{element}: an interface needs a MAC address to be started"))
    })?;
    let mut spec = site.spec(format!("{alias}-passt"), passt, log.clone());
    let pair = || -> io::Result<(Pair, UnixStream)> {
        let (theirs, ours) = Pair::pair()?;
        ours.set_nonblocking(true)?;
        Ok((theirs, UnixStream::from_std(ours)?))
    };
    let (theirs, mut ours) = pair().map_err(|error| file_failure("make a socket beside", &log, &error))?;
    let fd = spec.descriptors.pass(theirs);
    spec.arguments = arguments(card, fd)
        .map_err(|reason| Failure::new(Kind::InvalidInput, format!("{element}/{reason}")))?;
    let helper = start(spec, &element).await?;
    let answered = async {
        greet(&mut ours, mac).await?;
        ours.into_std()
    };
    let socket = helper.serves(answered, ANSWER_PATIENCE).await.map_err(|error| {
        failure(&element, &error).with_hint(format!("all that it said is in {}", log.display()))
    })?;
    let unblocked = socket.set_nonblocking(false);
    unblocked.map_err(|error| file_failure("set up a socket beside", &log, &error))?;
    watch(&helper, domain, &alias);
    Ok(Served { alias, socket: socket.into() })
}
