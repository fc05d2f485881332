//! On which of the host's cells a guest's memory is: `virsh numatune`.

use lodge_model::domain::Domain;
use lodge_model::xml::Kept;

use lodge_sys::cgroup::{Cgroup, Outcome};

use super::{Controller, Limits, Settings, failed};
use crate::control::vcpu::pin::Processors;
use crate::control::{Change, Refusal, Running, Scope, Sort};

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
                let cells = Processors::parse(value.text());
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
    Change::new("numatune", scope).config(edit.clone()).live(move |mut running| async move {
        let outcome = move_cells(&mut running, edit);
        (running, outcome)
    })
}

/// libvirt: the mode of a running guest stays, and only cells that its cgroup binds can be changed.
fn move_cells(
    running: &mut Running,
    edit: impl Fn(&mut Domain) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut document = running.document.clone();
    edit(&mut document)?;
    let (mode, wanted) = of_document(&document);
    let (now, _) = of_document(&running.document);
    if mode != now {
        return Err(Refusal::invalid("can't change numatune mode for running domain"));
    }
    if !matches!(MODES.get(usize::try_from(mode).unwrap_or(0)), Some(&("strict" | "restrictive"))) {
        return Err(Refusal::invalid("change of nodeset for running domain requires strict numa mode"));
    }
    let made = Cgroup::create_with_cpuset(&running.cgroup);
    if let Ok(Outcome::Made(cgroup)) = made {
        cgroup
            .join_v1(running.pid)
            .map_err(|error| failed("Unable to move the guest into its cgroup", &error))?;
    }
    let limits = Limits::of(&running.cgroup, Controller::Cpuset)?;
    available(&wanted)?;
    if !limits.unified {
        limits.write("cpuset.memory_migrate", "1")?;
    }
    limits.write("cpuset.mems", &wanted)?;
    running.document = document;
    Ok(())
}

/// Mode and cells of a guest that its cgroup is to bind.
pub(super) fn cells(domain: &Domain) -> Option<(String, Processors)> {
    let tree = domain.numatune.tree("numatune")?;
    let memory = tree.child("memory")?;
    let mode = memory.attribute("mode").unwrap_or("strict");
    let cells = memory.attribute("nodeset").and_then(Processors::parse)?;
    matches!(mode, "strict" | "restrictive").then(|| (mode.to_owned(), cells))
}

/// Whether the host has all of these cells.
pub(crate) fn available(cells: &str) -> Result<(), Refusal> {
    let online =
        std::fs::read_to_string("/sys/devices/system/node/online").unwrap_or_else(|_| "0".to_owned());
    let online = Processors::parse(online.trim()).unwrap_or_default();
    let wanted = Processors::parse(cells).unwrap_or_default();
    let missing = wanted.numbers().iter().find(|cell| !online.numbers().contains(cell));
    missing.map_or(Ok(()), |cell| {
        Err(Refusal::new(Sort::ConfigUnsupported, format!("NUMA node {cell} is unavailable")))
    })
}
