//! Memory as a start gives it: in whole MiB, as libvirt does it (qemuDomainAlignMemorySizes).
//!
//! A guest's memory is part of what it was migrated or saved with, so a start from nothing alone may round it.

use super::Domain;
use crate::Bytes;

/// What each part is a multiple of.
const STEP: u64 = 1 << 20;

impl Domain {
    /// Rounds the guest's memory, that of its cells and modules, and the most it can have, up to whole MiB.
    pub fn align_memory(&mut self) {
        let before = self.modules_bytes();
        for module in &mut self.devices.memory_modules {
            module.target.size.size = up(module.target.size.size);
        }
        let numa = self.cpu.iter_mut().find_map(|cpu| cpu.numa.as_deref_mut());
        let mut of_cells = 0_u64;
        for cell in numa.into_iter().flat_map(|numa| &mut numa.cells) {
            let Ok(size) = Bytes::scaled(cell.memory, cell.unit.as_deref().unwrap_or("KiB")) else { return };
            let size = up(size);
            (cell.memory, cell.unit) = (size.kib(), Some("KiB".to_owned()));
            of_cells = of_cells.saturating_add(size.0);
        }
        let own = match of_cells {
            0 => up(Bytes(self.memory.size.0.saturating_sub(before))).0,
            own => own,
        };
        self.memory.size = Bytes(own.saturating_add(self.modules_bytes()));
        if let Some(most) = &mut self.max_memory {
            most.size = up(most.size);
        }
    }

    fn modules_bytes(&self) -> u64 {
        let sizes = self.devices.memory_modules.iter().map(|module| module.target.size.size.0);
        sizes.fold(0, u64::saturating_add)
    }
}

fn up(size: Bytes) -> Bytes {
    Bytes(size.0.div_ceil(STEP).saturating_mul(STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(inner: &str) -> Domain {
        let text = format!("<domain type='qemu'><name>g</name>{inner}<os><type>hvm</type></os></domain>");
        let mut domain = Domain::parse(&text).expect("it can be read");
        domain.align_memory();
        domain
    }

    #[test]
    fn memory_is_rounded_up_to_whole_mib() {
        let domain = aligned("<memory>219100</memory><currentMemory>219100</currentMemory>");
        assert_eq!(domain.memory.size.kib(), 214 * 1024);
        assert_eq!(domain.current_memory.map(|now| now.size.kib()), Some(219_100), "what it is given stays");
        assert_eq!(aligned("<memory unit='MiB'>512</memory>").memory.size.kib(), 512 * 1024);
    }

    #[test]
    fn cells_are_rounded_each_and_make_the_whole() {
        let domain = aligned(
            "<memory>200</memory><cpu><numa><cell cpus='0' memory='1025'/><cell cpus='1' memory='1' unit='MiB'/></numa></cpu>",
        );
        assert_eq!(domain.memory.size.kib(), 3 * 1024);
    }
}
