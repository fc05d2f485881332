//! A running guest's card in a new shape: taken out and put in again where it was, and its cable.
//!
//! A guest that goes on from another's memory has the other's address in its card, whatever its document says: the
//! memory carries it. A card that comes anew has the document's.

use std::time::Duration;

use lodge_model::domain::devices::Devices;
use lodge_model::domain::interface::{Interface, Link, LinkState};
use serde_json::json;

use super::{Given, find, live, unplug};
use crate::control::{Change, Refusal, Running, Scope, Sort};

/// Takes the `at`th interface out of the running guest and puts it in again as its document says. Where the guest does
/// not let go of it in time, it stays as it was.
pub fn renew_interface(at: usize, patience: Duration) -> Change {
    Change::new("renew-interface", Scope::LIVE).live(move |mut running| async move {
        let outcome = renew(&mut running, at, patience).await;
        (running, outcome)
    })
}

async fn renew(running: &mut Running, at: usize, patience: Duration) -> Result<(), Refusal> {
    let old = card(&running.document.devices.interfaces, at)?.clone();
    let alias = old.place.alias.as_ref().map(|alias| alias.name.clone());
    let alias =
        alias.ok_or_else(|| Refusal::new(Sort::Failed, "the interface has no alias in the running guest"))?;
    let mut new = old.clone();
    new.target = None;
    new.place.alias = None;
    let devices = Devices { interfaces: vec![new], ..Devices::default() };
    let given = Given { element: "interface".to_owned(), devices };
    // What cannot be put in again is not taken out.
    live::admit(running, &given)?;
    let (element, found) = find::by_alias(&running.document, &alias)
        .ok_or_else(|| Refusal::internal(format!("no device found with alias {alias}")))?;
    unplug::unplug_within(running, element, found, patience).await?;
    if find::by_alias(&running.document, &alias).is_some() {
        let text = format!("the guest does not let go of its interface {alias}");
        return Err(Refusal::new(Sort::Failed, text));
    }
    live::attach(running, given).await?;
    // The list keeps its order: others know cards by their place.
    let cards = &mut running.document.devices.interfaces;
    if let Some(last) = cards.pop() {
        let at = at.min(cards.len());
        cards.insert(at, last);
    }
    Ok(())
}

/// Plugs the `at`th interface's cable in, or pulls it.
pub fn set_link(at: usize, up: bool, scope: Scope) -> Change {
    Change::new("set-link", scope)
        .config(move |domain| put_link(&mut domain.devices.interfaces, at, up))
        .live(move |mut running| async move {
            let outcome = async {
                let alias = card(&running.document.devices.interfaces, at)?.place.alias.clone();
                let name = alias.map(|alias| alias.name).unwrap_or_default();
                running.tell_qemu("set_link", json!({ "name": name, "up": up })).await?;
                put_link(&mut running.document.devices.interfaces, at, up)
            };
            let outcome = outcome.await;
            (running, outcome)
        })
}

fn put_link(cards: &mut [Interface], at: usize, up: bool) -> Result<(), Refusal> {
    let card = cards.get_mut(at).ok_or_else(|| missing(at))?;
    card.link = (!up).then(|| Link { state: LinkState::Down, ..Link::default() });
    Ok(())
}

fn card(cards: &[Interface], at: usize) -> Result<&Interface, Refusal> {
    cards.get(at).ok_or_else(|| missing(at))
}

fn missing(at: usize) -> Refusal {
    Refusal::new(Sort::DeviceMissing, format!("the guest has no interface {at}"))
}
