//! On which of the host's cells a guest's memory is: `virsh numatune`.

use lodge_model::domain::Domain;
use lodge_model::xml::Kept;

use super::Settings;
use crate::control::{Change, Refusal, Scope};

/// libvirt's words by number (`virDomainNumatuneMemMode`).
const MODES: [&str; 4] = ["strict", "preferred", "interleave", "restrictive"];

/// Mode and cells that a document has.
pub fn of_document(domain: &Domain) -> (i32, String) {
    let tree = domain.numatune.tree("numatune").unwrap_or_default();
    let memory = tree.child("memory");
    let mode = memory.and_then(|memory| memory.attribute("mode")).unwrap_or("strict");
    let number = MODES.iter().position(|word| *word == mode).and_then(|at| i32::try_from(at).ok());
    let cells = memory.and_then(|memory| memory.attribute("nodeset")).unwrap_or_default();
    (number.unwrap_or(0), cells.to_owned())
}

/// Sets what is named.
pub fn set(settings: Settings, scope: Scope) -> Change {
    let edit = move |domain: &mut Domain| {
        let mut tree = domain.numatune.tree("numatune").unwrap_or_else(|| Kept::new("numatune"));
        let memory = tree.child_mut("memory");
        for (name, value) in &settings {
            if name == "numa_mode" {
                let number = value.signed();
                let word = usize::try_from(number).ok().and_then(|number| MODES.get(number));
                let word =
                    word.ok_or_else(|| Refusal::arg(format!("unsupported numatune mode: '{number}'")))?;
                memory.set_attribute("mode", Some((*word).to_owned()));
            } else {
                let cells = crate::control::vcpu::pin::Processors::parse(value.text());
                let cells = cells.filter(|cells| !cells.numbers().is_empty()).ok_or_else(|| {
                    Refusal::arg(format!("Invalid nodeset for 'numatune': {}", value.text()))
                })?;
                memory.set_attribute("nodeset", Some(cells.to_string()));
            }
        }
        let has_cells = memory.attribute("nodeset").is_some();
        if memory.attribute("mode").is_none() {
            memory.set_attribute("mode", Some("strict".to_owned()));
        }
        if has_cells {
            // libvirt writes the mode first.
            memory.attributes.sort_by_key(|(name, _)| name != "mode");
            domain.numatune.set_tree(&tree);
        }
        Ok(())
    };
    Change::new("numatune", scope).config(edit).live(|running| async move {
        let text = "cgroup cpuset controller is not mounted";
        (running, Err(Refusal::invalid(text)))
    })
}
