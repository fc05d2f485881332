//! What became of what lies inside, in the words of the book. Pure.

use lodge_api::{IdentityChange, InsideState};
use lodge_identity::{Address, Change, Flagged, Identity, Kind as Item, Left, Plan, State, Verdict};
use lodge_model::Kind;

use super::{Card, CardAddress, GuestDisk, InsideReport, Reading, Wish};
use crate::error::{EngineError, Result};

/// Faults that one message names.
const NAMED: usize = 5;
/// The catalogue's note of a value that is simply not there.
const NOTHING: &str = "nothing stands there";

/// Of disks that nobody can look into.
pub(super) fn of_unreadable(disks: &[GuestDisk]) -> Option<InsideReport> {
    let warning = match disks.iter().find(|disk| disk.is_encrypted) {
        Some(disk) => format!("disk {} is encrypted: the identity in it was not changed", disk.target),
        None if disks.is_empty() => "it has no disk of its own that an identity could lie on".to_owned(),
        None => return None,
    };
    Some(InsideReport { warnings: vec![warning], ..InsideReport::default() })
}

/// Of a machine that is only to have a machine id, and has one. None: it has none and gets one. Refused where nobody knows.
pub(super) fn of_ensured(name: &str, before: &Reading) -> Result<Option<InsideReport>> {
    if lodge_identity::machine_id(&before.identity).is_some() {
        return Ok(Some(InsideReport { state: InsideState::Kept, ..InsideReport::default() }));
    }
    let unknown = before.identity.of(&Item::MACHINE_ID).find(|item| item.state == State::Unknown);
    let why = match unknown {
        Some(item) => format!("{} could not be read", item.place),
        None if before.identity.system.family.is_none() => "no Linux was found on its disks".to_owned(),
        None => return Ok(None),
    };
    let gap = before.gaps.first().map(|gap| format!(" ({gap})")).unwrap_or_default();
    Err(not_ensured(name, &format!("{why}{gap}")))
}

/// Nobody knows whether there is a machine id.
pub(super) fn not_ensured(name: &str, why: &str) -> EngineError {
    let text = format!("whether `{name}` has a machine id is not known, and none was made: {why}");
    EngineError::new(Kind::InvalidState, text)
}

/// Of what was done and read again.
pub(super) fn of(before: &Reading, after: &Reading, plan: &Plan, wish: &Wish) -> InsideReport {
    let mut report = foretold(before, plan, wish);
    for change in &mut report.changes {
        "read back from the disk".clone_into(&mut change.verified);
    }
    // What a template lacks on purpose, each machine of it gets by itself.
    let is_template = matches!(wish, Wish::Template { .. } | Wish::Sysprep { .. });
    report.to_fill = to_fill(&after.identity, is_template);
    report
}

/// What stands empty and somebody must fill. `is_template`: each machine made of it gets ids, keys and a name anew.
pub(in crate::identity) fn to_fill(identity: &Identity, is_template: bool) -> Vec<String> {
    let items = identity.to_fill().filter(|item| !is_template || item.kind == Item::TEMPLATE_VALUE);
    let said = items.map(|item| match (&item.note, item.state) {
        (Some(note), State::Empty) if item.kind == Item::TEMPLATE_VALUE && note != NOTHING => {
            format!("{}: {note}", item.place)
        }
        (_, State::Missing) => format!("{} is missing", item.place),
        _ => format!("{} is empty", item.place),
    });
    said.collect()
}

/// An address that was asked for and is written nowhere is no address, nor is DHCP that nothing in the guest asks.
pub(super) fn refuse_unplaced(addresses: &[CardAddress], plan: &Plan) -> Result<()> {
    let is_written = |address: &std::net::IpAddr| {
        let shown = address.to_string();
        plan.changes.iter().filter(|change| change.kind == Item::STATIC_ADDRESS).any(|change| {
            change.new.as_deref().is_some_and(|new| new.split('/').next() == Some(shown.as_str()))
        })
    };
    let is_asking = |card: &Card| {
        plan.asking_dhcp.iter().any(|nic| match card {
            Card::Mac(mac) => nic.old_mac.as_deref() == Some(mac.to_string().as_str()),
            Card::Name(name) => nic.old_mac.is_none() && nic.interface.as_ref() == Some(name),
        })
    };
    for CardAddress { card, address } in addresses {
        let (what, hint) = match address {
            Address::Leave => continue,
            Address::Static(wanted) if is_written(&wanted.address) => continue,
            Address::Dhcp if is_asking(card) => continue,
            Address::Static(wanted) => (
                format!("that {} could be written into", wanted.address),
                "name the interface as the guest's own configuration does (--address eth0=…), or have DHCP give it the \
                 address",
            ),
            Address::Dhcp => (
                "that could have it ask DHCP".to_owned(),
                "name the interface as the guest's own configuration does (--address eth0=dhcp), or leave the option out to \
                 clone the guest as it is",
            ),
        };
        let card = match card {
            Card::Mac(mac) => format!("the interface that had {mac}"),
            Card::Name(name) => format!("the interface `{name}`"),
        };
        let text = format!("the guest has no configuration of {card} {what}");
        return Err(EngineError::new(Kind::Conflict, text).with_hint(hint));
    }
    Ok(())
}

/// Of what would be done.
pub(super) fn foretold(before: &Reading, plan: &Plan, wish: &Wish) -> InsideReport {
    let mut warnings: Vec<String> = Vec::new();
    let is_linux = before.identity.system.family.is_some();
    if !is_linux {
        let why = match before.gaps.first() {
            Some(gap) => format!(" ({gap})"),
            None => String::new(),
        };
        warnings.push(format!("no Linux was found on its disks{why}"));
    }
    let unknown: Vec<&str> = matters_unknown(&before.identity);
    if is_linux && !unknown.is_empty() {
        warnings.push(format!("could not be read, and so not changed: {}", unknown.join(", ")));
    }
    // That it is why no Linux was found was said.
    let is_said = |flag: &&Flagged| {
        let why = flag.why.strip_prefix("could not be read: ").unwrap_or(&flag.why);
        !is_linux && before.gaps.contains(&format!("{}: {why}", flag.place))
    };
    let flagged = plan.flagged.iter().filter(|flag| !is_said(flag));
    warnings.extend(flagged.map(|flag| format!("{}: {}", flag.place, flag.why)));
    // What a new machine should have another of, and has not.
    if matches!(wish, Wish::Another { .. }) {
        let kept =
            plan.kept.iter().map(|kept| format!("{} {} stays: {}", kept.kind, kept.place, kept.reason));
        warnings.extend(kept);
    }
    let is_done = is_linux && unknown.is_empty();
    InsideReport {
        state: if is_done { InsideState::Reset } else { InsideState::NotReset },
        changes: plan.changes.iter().chain(&plan.customized).map(change).collect(),
        warnings,
        to_fill: Vec::new(),
    }
}

fn matters_unknown(identity: &Identity) -> Vec<&str> {
    let matters = |kind: &Item| *kind == Item::MACHINE_ID || *kind == Item::SSH_HOST_KEY;
    let items = identity.items.iter();
    let unknown = items.filter(|item| matters(&item.kind) && item.state == State::Unknown);
    unknown.map(|item| item.place.as_str()).collect()
}

fn change(change: &Change) -> IdentityChange {
    IdentityChange {
        item: change.kind.to_string(),
        place: change.place.clone(),
        old: change.old.clone().unwrap_or_default(),
        new: change.new.clone().unwrap_or_default(),
        verified: "planned".to_owned(),
    }
}

/// A change that is not as it was planned is no change: what was made is thrown away.
pub(super) fn refuse_bad(name: &str, verdicts: &[Verdict]) -> Result<()> {
    let bad: Vec<String> = verdicts
        .iter()
        .filter(|verdict| !verdict.is_good)
        .take(NAMED)
        .map(|verdict| format!("{} {}: {}", verdict.kind, verdict.place, verdict.found))
        .collect();
    if bad.is_empty() {
        return Ok(());
    }
    let text = format!("the identity of `{name}` is not what it was changed to: {}", bad.join("; "));
    Err(EngineError::new(Kind::Internal, text)
        .with_hint("nothing was kept of it; see the daemon's log, and report it"))
}

/// A template is proven to be nobody. What is private may be meant, and is flagged.
pub(super) fn refuse_unclean(name: &str, left: &[Left], after: &Reading) -> Result<()> {
    if after.identity.system.family.is_none() {
        let gap = after.gaps.first().map(|gap| format!(" ({gap})")).unwrap_or_default();
        return Err(unproven(name, &format!("no Linux was found on its disks{gap}")));
    }
    let left: Vec<String> = left
        .iter()
        .filter(|left| !left.is_private)
        .take(NAMED)
        .map(|left| format!("{} {} ({})", left.kind, left.place, left.why))
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    let text = format!("template `{name}` still has an identity: {}", left.join("; "));
    Err(EngineError::new(Kind::Conflict, text)
        .with_hint("remove that in the guest itself, and make the template then"))
}

/// Nobody can say that a template is nobody.
pub(super) fn unproven(name: &str, why: &str) -> EngineError {
    let text = format!("nothing proves that template `{name}` would have no identity: {why}");
    EngineError::new(Kind::Conflict, text).with_hint(
        "--keep-identity makes it as it is (Windows, an appliance): all machines of it have what lies inside then",
    )
}

/// The sort of a failed edit.
pub(super) fn kind_of(error: &lodge_disk::edit::EditError) -> Kind {
    use lodge_disk::edit::EditError;
    match error {
        EditError::Unsupported { .. } | EditError::Missing { .. } | EditError::NoFuse { .. } => {
            Kind::Unsupported
        }
        EditError::Damaged { .. } | EditError::Unreachable { .. } => Kind::Corrupt,
        EditError::Unfit { .. } => Kind::InvalidState,
        EditError::BadIdentity { .. } => Kind::InvalidInput,
        EditError::NoRoom { .. } => Kind::Exhausted,
        _ => Kind::Internal,
    }
}
