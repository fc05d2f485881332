//! Identities for a person: one, two beside each other, and what is wrong with some.

use std::collections::BTreeMap;

use lodge_client::api::{IdentityDiff, IdentityItem, IdentityPair, IdentityView, Learnt};

use super::book::plain;
use crate::output::{field, or_dash};

/// One machine.
pub fn text(view: &IdentityView) -> String {
    let mut text = String::new();
    field(&mut text, "Name", &view.subject);
    field(&mut text, "System", or_dash(view.system.as_ref()));
    field(&mut text, "Machine id", or_dash(view.machine_id.as_ref()));
    let learnt = match view.learnt {
        Learnt::Disk => "its disks were read",
        Learnt::Cache => "its disks were read before, and have not changed since",
        Learnt::Agent => "its agent said so",
        Learnt::Host => "only what the host gives it is known",
    };
    field(&mut text, "Learnt", learnt);
    let row = |item: &IdentityItem| {
        let value = match (&item.value, &item.note) {
            (Some(value), _) => value.clone(),
            (None, Some(note)) => format!("({}: {note})", item.state),
            (None, None) => format!("({})", item.state),
        };
        vec![item.item.clone(), value, item.place.clone()]
    };
    let rows: Vec<_> = view.items.iter().map(row).collect();
    text.push('\n');
    text += &crate::output::table(&["Item", "Value", "Place"], &rows, false);
    for place in &view.to_fill {
        text += &format!("to be filled: {place}\n");
    }
    for gap in &view.gaps {
        text += &format!("not looked at: {gap}\n");
    }
    if let Some(why) = &view.unfinished {
        text += &format!("not another machine yet: {why}\n");
    }
    plain(&text)
}

/// Two machines.
pub fn diff(diff: &IdentityDiff, alike_only: bool) -> String {
    let row = |word: &str, pair: &IdentityPair| {
        vec![
            word.to_owned(),
            pair.item.clone(),
            or_dash(pair.one.as_ref()),
            or_dash(pair.other.as_ref()),
            pair.place.clone(),
        ]
    };
    let mut rows: Vec<_> = diff.alike.iter().map(|pair| row("ALIKE", pair)).collect();
    if !alike_only {
        rows.extend(diff.different.iter().map(|pair| row("differs", pair)));
    }
    let mut text = String::new();
    if !rows.is_empty() {
        text = crate::output::table(&["", "Item", &diff.one, &diff.other, "Place"], &rows, false);
        text.push('\n');
    }
    text += &match diff.alike.len() {
        0 => format!("'{}' and '{}' have nothing in common that only one may have\n", diff.one, diff.other),
        1 => "1 thing is alike that only one may have\n".to_owned(),
        count => format!("{count} things are alike that only one may have\n"),
    };
    plain(&text)
}

/// Why there is no machine id, where that is not simply so.
pub fn why_none(view: &IdentityView) -> Option<String> {
    let unknown = view.items.iter().find(|item| item.item == "machine-id" && item.state == "unknown");
    match unknown {
        Some(item) => Some(format!("{}: {}", item.place, item.note.as_deref().unwrap_or("not read"))),
        // What else was not looked at says nothing of it.
        None if view.learnt == Learnt::Host => view.gaps.first().cloned(),
        None => None,
    }
}

/// What is wrong with machine ids.
pub fn faults(views: &[IdentityView]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for view in views {
        if let Some(id) = &view.machine_id {
            owners.entry(id).or_default().push(&view.subject);
            continue;
        }
        let why = why_none(view).map(|why| format!(" ({why})")).unwrap_or_default();
        faults.push(plain(&format!("'{}' has no machine id{why}", view.subject)));
    }
    for view in views {
        let why = view.unfinished.iter();
        faults.extend(why.map(|why| plain(&format!("'{}' is not another machine yet: {why}", view.subject))));
    }
    for (id, subjects) in owners.into_iter().filter(|(_, subjects)| subjects.len() > 1) {
        faults.push(format!("the machine id {id} is that of {}", subjects.join(", ")));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(subject: &str, id: Option<&str>) -> IdentityView {
        IdentityView {
            subject: subject.to_owned(),
            machine_id: id.map(str::to_owned),
            ..IdentityView::default()
        }
    }

    #[test]
    fn a_machine_id_must_be_there_and_ones_own() {
        let views =
            [machine("a", Some("1")), machine("b", Some("2")), machine("c", Some("1")), machine("d", None)];
        assert_eq!(faults(&views), ["'d' has no machine id", "the machine id 1 is that of a, c"]);
        assert!(faults(&views[..2]).is_empty());
    }

    #[test]
    fn what_else_was_not_looked_at_is_no_reason() {
        let gaps = vec!["/etc/letsencrypt/**: not looked for".to_owned()];
        let view = |learnt| IdentityView { learnt, gaps: gaps.clone(), ..machine("a", None) };
        assert_eq!(why_none(&view(Learnt::Agent)), None);
        assert_eq!(why_none(&view(Learnt::Host)).as_ref(), gaps.first());
        let item = IdentityItem {
            item: "machine-id".to_owned(),
            place: "/etc/machine-id".to_owned(),
            state: "unknown".to_owned(),
            note: Some("it is torn".to_owned()),
            ..IdentityItem::default()
        };
        let view = IdentityView { items: vec![item], ..view(Learnt::Disk) };
        assert_eq!(why_none(&view).as_deref(), Some("/etc/machine-id: it is torn"));
    }

    #[test]
    fn a_clone_that_is_not_another_machine_yet_is_a_fault() {
        let view = IdentityView { unfinished: Some("it waits".to_owned()), ..machine("a", Some("1")) };
        let views = [view];
        assert_eq!(faults(&views), ["'a' is not another machine yet: it waits"]);
        assert!(text(&views[0]).contains("not another machine yet: it waits"));
    }
}
