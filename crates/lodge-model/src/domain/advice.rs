//! `placement='auto'`: where a guest's processors and memory are is chosen at each start, by somebody who knows the host.

use super::Domain;
use super::cpu::Placement;

impl Domain {
    /// Whether anything of it is to be chosen.
    pub fn wants_advice(&self) -> bool {
        self.has_chosen_processors() || self.has_chosen_memory()
    }

    fn has_chosen_processors(&self) -> bool {
        self.vcpu.as_ref().is_some_and(|vcpu| vcpu.placement == Some(Placement::Auto))
    }

    fn has_chosen_memory(&self) -> bool {
        let tree = self.numatune.tree("numatune").unwrap_or_default();
        tree.child("memory").is_some_and(|memory| memory.attribute("placement") == Some("auto"))
    }

    /// Takes what was chosen: the host's cells, and their processors.
    pub fn take_advice(&mut self, cells: &str, processors: &str) {
        if self.has_chosen_processors()
            && let Some(vcpu) = &mut self.vcpu
        {
            vcpu.placement = Some(Placement::Static);
            vcpu.cpuset = (!processors.is_empty()).then(|| processors.to_owned());
        }
        if self.has_chosen_memory()
            && let Some(mut tree) = self.numatune.tree("numatune")
        {
            let memory = tree.child_mut("memory");
            memory.set_attribute("placement", None);
            memory.set_attribute("nodeset", Some(cells.to_owned()));
            self.numatune.set_tree(&tree);
        }
    }
}
