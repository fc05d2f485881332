//! Entries of the book, for a person.

use lodge_client::api::{IdentityAct, InsideState};

use crate::output::local_time;

/// One act, a line per item.
pub fn entry(act: &IdentityAct) -> String {
    let of = if act.source.is_empty() { String::new() } else { format!(" of '{}'", act.source) };
    let inside = match act.inside {
        InsideState::Reset => "",
        InsideState::Kept => " (inside left as it was)",
        InsideState::NotReset => " (inside NOT changed)",
    };
    let time = local_time(act.time_ms);
    let mut text = format!("{time}  {} '{}'{of} by {}{inside}\n", act.act, act.name, act.caller);
    for change in &act.changes {
        let place = if change.place.is_empty() { String::new() } else { format!(" {}", change.place) };
        let new = if change.new.is_empty() { "(none)" } else { &change.new };
        let old = if change.old.is_empty() { "(none)" } else { &change.old };
        text += &format!("    {}{place}: {old} -> {new}  [{}]\n", change.item, change.verified);
    }
    for warning in &act.warnings {
        text += &format!("    warning: {warning}\n");
    }
    for place in &act.to_fill {
        text += &format!("    to be filled: {place}\n");
    }
    plain(&text)
}

/// What a guest wrote does not reach the terminal as it is.
pub fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() && letter != '\n' { '?' } else { letter }).collect()
}
