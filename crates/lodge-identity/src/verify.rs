//! The proof of a change: each new value is there, and no old one is anywhere.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Change, Identity, Kind, Plan, State};

/// What was found of one item that was to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Of what.
    pub kind: Kind,
    /// Where.
    pub place: String,
    /// It is as the plan says.
    pub is_good: bool,
    /// What was found, for people.
    pub found: String,
}

/// One verdict per change, and one for every place where an old value is left.
pub fn verify(before: &Identity, after: &Identity, plan: &Plan) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = plan.changes.iter().map(|change| judge(after, change)).collect();
    // A value that stays somewhere on purpose is no remainder; nor is one that only its own kind makes dangerous.
    let kept: BTreeSet<(&Kind, &str)> =
        plan.kept.iter().filter_map(|kept| Some((&kept.kind, kept.value.as_deref()?))).collect();
    let changed: BTreeSet<(&Kind, &str)> = plan
        .changes
        .iter()
        .filter(|change| change.old != change.new)
        .filter_map(|change| Some((&change.kind, change.old.as_deref()?)))
        .collect();
    let was: BTreeSet<(&Kind, &str)> =
        before.items.iter().filter_map(|item| Some((&item.kind, item.value.as_deref()?))).collect();
    let renewed: BTreeSet<(&Kind, &str)> =
        plan.changes.iter().filter_map(|change| Some((&change.kind, change.new.as_deref()?))).collect();
    for item in after.items.iter().filter(|item| item.is_unique) {
        let Some(value) = item.value.as_deref() else { continue };
        let key = (&item.kind, value);
        if changed.contains(&key) && was.contains(&key) && !kept.contains(&key) && !renewed.contains(&key) {
            verdicts.push(Verdict {
                kind: item.kind.clone(),
                place: item.place.clone(),
                is_good: false,
                found: format!("the old value `{value}` is left"),
            });
        }
    }
    verdicts
}

fn judge(after: &Identity, change: &Change) -> Verdict {
    let mut here = after.items.iter().filter(|item| item.kind == change.kind && item.place == change.place);
    let (is_good, found) = match &change.new {
        Some(new) if here.clone().any(|item| item.value.as_ref() == Some(new)) => (true, format!("`{new}`")),
        Some(new) => {
            let other = here.next().map_or("nothing".to_owned(), |item| match &item.value {
                Some(value) => format!("`{value}`"),
                None => format!("{:?}", item.state).to_lowercase(),
            });
            (false, format!("{other} instead of `{new}`"))
        }
        None => {
            let left = match &change.old {
                Some(old) => here.find(|item| item.value.as_ref() == Some(old)),
                None => here.find(|item| item.state == State::Present),
            };
            left.map_or((true, "gone".to_owned()), |item| {
                (false, format!("it is still there: `{}`", item.value.as_deref().unwrap_or("present")))
            })
        }
    };
    Verdict { kind: change.kind.clone(), place: change.place.clone(), is_good, found }
}
