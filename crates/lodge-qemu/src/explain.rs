//! `lodge explain`: which element of a document became which argument, and why others became none.
//!
//! ```text
//!  document ─▶ Rehearsal (stand-ins for what a start opens) ─▶ command_line, the very builder of a start
//!                                       ─▶ Explanation ─▶ as_run: the words of the QEMU that runs
//! ```
//!
//! Nothing is told here that the builder does not know: each argument remembers its element anyway, so a start pays
//! nothing for it. Pure. Deliberately absent: what the host does beside QEMU (networks, pools, helpers).

mod rehearsal;
mod running;
mod without;

use std::collections::{BTreeSet, HashMap};

use lodge_model::domain::Domain;

pub use self::rehearsal::Rehearsal;
use crate::capabilities::Capabilities;
use crate::claims::Accelerator;
use crate::command_line::{Argument, Refusals, Warning, assign_aliases, command_line};

/// Where the arguments of a start come from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Explanation {
    /// In QEMU's order.
    pub arguments: Vec<Explained>,
    /// Variables of QEMU's environment that the document asks for.
    pub environment: Vec<(String, String)>,
    /// What is said to QEMU's monitor before the guest's processors run: the command, and the element it came from.
    pub commands: Vec<(&'static str, String)>,
    /// Elements that no argument and no command comes of.
    pub without: Vec<Without>,
    /// For the user.
    pub warnings: Vec<Warning>,
}

/// An argument, with the alias of the device it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// It, and its element. [`UNKNOWN`] where no element is known.
    pub argument: Argument,
    /// The device's alias.
    pub alias: Option<String>,
}

/// An element that became nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Without {
    /// It.
    pub element: String,
    /// The device's alias.
    pub alias: Option<String>,
    /// Why.
    pub reason: &'static str,
}

/// The element of an argument that this program would not give: another version's, or another daemon's.
pub const UNKNOWN: &str = "unknown";

/// Explains a start of `document`. `fallback_reason`: why the accelerator is not the one it asks for. `full`: files of
/// its disks that have all their blocks.
pub fn explain(
    document: &Domain,
    capabilities: &Capabilities,
    accelerator: Accelerator,
    fallback_reason: Option<String>,
    full: &BTreeSet<String>,
) -> Result<Explanation, Refusals> {
    let mut document = document.clone();
    assign_aliases(&mut document);
    let is_chosen = document.wants_advice();
    document.take_advice("0", "");
    let mut rehearsal = Rehearsal::of(&document, accelerator).with_full(full);
    rehearsal.claims.fallback_reason = fallback_reason;
    let line = command_line(&document, capabilities, &rehearsal.claims)?;
    let aliases = aliases(&document);
    let alias = |element: &str| device(element).and_then(|device| aliases.get(device).cloned());
    let mut warnings = line.warnings;
    if is_chosen {
        let message = "placement='auto': which of the host's cells it is numad says at the start; cell 0 stands for them";
        warnings.push(Warning { element: "/domain/vcpu".to_owned(), message: message.to_owned() });
    }
    let commands: Vec<_> = line.commands.into_iter().map(|said| (said.command, said.element)).collect();
    let used = line.arguments.iter().map(|argument| argument.element.as_str());
    let used: Vec<&str> = used.chain(commands.iter().map(|(_, element)| element.as_str())).collect();
    let without = without::without(&document, &used, alias);
    let explained = |argument: Argument| Explained { alias: alias(&argument.element), argument };
    Ok(Explanation {
        arguments: line.arguments.into_iter().map(explained).collect(),
        environment: line.environment,
        commands,
        without,
        warnings,
    })
}

/// The device that an element belongs to: `/domain/devices/disk[1]` of `/domain/devices/disk[1]/source`.
fn device(element: &str) -> Option<&str> {
    let rest = element.strip_prefix("/domain/devices/")?;
    let end = rest.find('/').unwrap_or(rest.len());
    element.get(..element.len() - rest.len() + end)
}

/// The alias of each device, by its element.
fn aliases(document: &Domain) -> HashMap<String, String> {
    let mut aliases = HashMap::new();
    document.devices.each_place(&mut |name, at, _, place| {
        let Some(alias) = &place.alias else { return };
        aliases.insert(format!("/domain/devices/{name}[{}]", at + 1), alias.name.clone());
        if at == 0 {
            // The builder counts only what there can be several of.
            aliases.insert(format!("/domain/devices/{name}"), alias.name.clone());
        }
    });
    aliases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_device_has_the_devices_alias() {
        assert_eq!(device("/domain/devices/disk[2]/source"), Some("/domain/devices/disk[2]"));
        assert_eq!(device("/domain/devices/vsock"), Some("/domain/devices/vsock"));
        assert_eq!(device("/domain/os"), None);
    }
}
