//! `<interface>` of `<forward>`, and `<portgroup>`.

use super::{BadUpdate, Command, Done, Update, add};
use crate::network::{ForwardInterface, Network, PortGroup};
use crate::xml::words::YesNo;

pub(super) fn interface(network: &mut Network, update: &Update) -> Done {
    let name = network.name.clone();
    if update.command == Command::Modify {
        let text = "forward interface entries cannot be modified, only added or deleted".to_owned();
        return Err(BadUpdate::Unsupported(text));
    }
    let entry: ForwardInterface = network.entry(update, "interface")?;
    let missing = || {
        let text = format!(
            "couldn't find an interface entry in network '{name}' matching <interface dev='{}'>",
            entry.dev
        );
        BadUpdate::Mismatch(text)
    };
    let Some(forward) = network.forward.as_deref_mut() else {
        return Err(BadUpdate::Mismatch(format!("network '{name}' has no <forward>")));
    };
    let at = forward.interfaces.iter().position(|known| known.dev == entry.dev);
    if update.command == Command::Delete {
        forward.interfaces.remove(at.ok_or_else(missing)?);
    } else if at.is_some() {
        return Err(BadUpdate::Mismatch(format!(
            "there is an existing interface entry in network '{name}' that matches \"<interface dev='{}'>\"",
            entry.dev
        )));
    } else {
        add(&mut forward.interfaces, update.command, entry);
    }
    // The attribute says the same as the first of the elements.
    forward.dev = forward.interfaces.first().map(|first| first.dev.clone());
    Ok(())
}

pub(super) fn port_group(network: &mut Network, update: &Update) -> Done {
    let name = network.name.clone();
    let entry: PortGroup = network.entry(update, "portgroup")?;
    let own = entry.name.clone().unwrap_or_default();
    let at = network.port_groups.iter().position(|known| known.name == entry.name);
    let is_default = |group: &PortGroup| group.default == Some(YesNo::Yes);
    let other_default = network.port_groups.iter().any(|known| is_default(known) && known.name != entry.name);
    let missing = || {
        BadUpdate::Mismatch(format!(
            "couldn't find a portgroup entry in network '{name}' matching <portgroup name='{own}'/>"
        ))
    };
    if update.command.adds() && at.is_some() {
        return Err(BadUpdate::Mismatch(format!(
            "there is an existing portgroup entry in network '{name}' that matches \"<portgroup name='{own}'>\""
        )));
    }
    let at = match at {
        None if !update.command.adds() => return Err(missing()),
        at => at,
    };
    if update.command != Command::Delete && is_default(&entry) && other_default {
        return Err(BadUpdate::Mismatch(format!(
            "a different portgroup entry in network '{name}' is already set as the default. Only one default is allowed."
        )));
    }
    match (update.command, at) {
        (Command::Delete, Some(at)) => drop(network.port_groups.remove(at)),
        (Command::Modify, Some(at)) => {
            if let Some(known) = network.port_groups.get_mut(at) {
                *known = entry;
            }
        }
        (command, _) => add(&mut network.port_groups, command, entry),
    }
    Ok(())
}
