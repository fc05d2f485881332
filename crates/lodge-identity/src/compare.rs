//! Two identities side by side, and many: what is different, and what is alike and must not be.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Identity, Item, Kind, State};

/// One item in which two guests differ, or are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Of what.
    pub kind: Kind,
    /// Where.
    pub place: String,
    /// The first guest's, and how it is there. None: it has no such item.
    pub left: Option<(State, Option<String>)>,
    /// The second guest's.
    pub right: Option<(State, Option<String>)>,
    /// Both have the same value and must not.
    pub is_clash: bool,
}

/// A value that more than one machine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    /// Of what.
    pub kind: Kind,
    /// The value, or its fingerprint.
    pub value: String,
    /// Who has it, and where: in the order of asking, each place once.
    pub who: Vec<(String, String)>,
}

/// Every item in which two guests differ or clash. What both have alike on purpose is left out.
pub fn diff(left: &Identity, right: &Identity) -> Vec<Difference> {
    let mut rights: HashMap<(&Kind, &str), Vec<&Item>> = HashMap::new();
    for item in &right.items {
        rights.entry((&item.kind, &item.place)).or_default().push(item);
    }
    let mut all = Vec::new();
    for item in &left.items {
        // Of several at one place each meets its own.
        let others = rights.get_mut(&(&item.kind, item.place.as_str()));
        let other = others.filter(|others| !others.is_empty()).map(|others| others.remove(0));
        all.extend(difference(Some(item), other));
    }
    for item in &right.items {
        let rest = rights.get(&(&item.kind, item.place.as_str()));
        if rest.is_some_and(|rest| rest.iter().any(|other| std::ptr::eq(*other, item))) {
            all.extend(difference(None, Some(item)));
        }
    }
    all
}

fn difference(left: Option<&Item>, right: Option<&Item>) -> Option<Difference> {
    let side = |item: &Item| (item.state, item.value.clone());
    let named = left.or(right)?;
    let is_clash = match (left, right) {
        (Some(left), Some(right)) => {
            left.is_unique && right.is_unique && left.value.is_some() && left.value == right.value
        }
        _ => false,
    };
    let difference = Difference {
        kind: named.kind.clone(),
        place: named.place.clone(),
        left: left.map(side),
        right: right.map(side),
        is_clash,
    };
    (is_clash || difference.left != difference.right).then_some(difference)
}

/// Every value that must be one machine's alone and is several machines'. Each guest's name stands before its identity.
pub fn duplicates(guests: &[(String, Identity)]) -> Vec<Duplicate> {
    let mut seen: HashMap<(&Kind, &str), Vec<(usize, &str)>> = HashMap::new();
    for (guest, (_, identity)) in guests.iter().enumerate() {
        for item in identity.items.iter().filter(|item| item.is_unique) {
            if let Some(value) = item.value.as_deref() {
                seen.entry((&item.kind, value)).or_default().push((guest, &item.place));
            }
        }
    }
    let mut found: Vec<Duplicate> = seen
        .into_iter()
        .filter(|(_, who)| who.iter().any(|(guest, _)| *guest != who[0].0))
        .map(|((kind, value), who)| Duplicate {
            kind: kind.clone(),
            value: value.to_owned(),
            who: who.into_iter().map(|(guest, place)| (guests[guest].0.clone(), place.to_owned())).collect(),
        })
        .collect();
    found.sort_by(|left, right| (&left.kind, &left.value).cmp(&(&right.kind, &right.value)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(items: Vec<Item>) -> Identity {
        Identity { items, ..Identity::default() }
    }

    fn id(value: &str) -> Item {
        Item::present(Kind::MACHINE_ID, "/etc/machine-id", value)
    }

    #[test]
    fn what_is_alike_on_purpose_is_no_duplicate() {
        let key = |value: &str| Item::present(Kind::of_rule("tls-key"), "/etc/ssl/private/x", value).shared();
        let guests = [
            ("a".to_owned(), guest(vec![id("1"), id("1"), key("k")])),
            ("b".to_owned(), guest(vec![id("1"), key("k")])),
            ("c".to_owned(), guest(vec![id("2"), id("2")])),
        ];
        let found = duplicates(&guests);
        assert_eq!(found.len(), 1);
        let who: Vec<&str> = found[0].who.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(who, ["a", "a", "b"]);
    }

    #[test]
    fn a_difference_tells_a_clash_from_a_change() {
        let left = guest(vec![id("1"), Item::present(Kind::MAC, "host: NIC 0", "a")]);
        let right = guest(vec![id("1"), Item::absent(Kind::HOST_NAME, "/etc/hostname", State::Missing)]);
        let shown: Vec<_> = diff(&left, &right)
            .into_iter()
            .map(|one| (one.kind.to_string(), one.left.is_some(), one.right.is_some(), one.is_clash))
            .collect();
        assert_eq!(
            shown,
            [
                ("machine-id".to_owned(), true, true, true),
                ("mac-address".to_owned(), true, false, false),
                ("host-name".to_owned(), false, true, false)
            ]
        );
        assert!(diff(&left, &left).iter().all(|one| one.is_clash));
    }

    #[test]
    fn a_hundred_thousand_items_take_no_time_to_speak_of() {
        let guests: Vec<(String, Identity)> = (0..1000)
            .map(|guest| {
                let items = (0..100).map(|item| id(&format!("{guest}-{item}"))).collect();
                (format!("g{guest}"), Identity { items, ..Identity::default() })
            })
            .collect();
        assert_eq!(duplicates(&guests), []);
    }
}
