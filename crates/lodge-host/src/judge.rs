//! From facts to findings. Pure.

use crate::facts::Facts;
use crate::kvm::KvmVerdict;
use crate::report::{Accelerator, HostReport};

/// Draws every finding from the facts.
pub fn judge(facts: Facts, kvm: KvmVerdict) -> HostReport {
    let accelerator = match (facts.qemu.emulators.is_empty(), kvm.is_usable()) {
        (true, _) => Accelerator::None,
        (false, true) => Accelerator::Kvm,
        (false, false) => Accelerator::Tcg,
    };
    HostReport {
        guests_can_run: accelerator != Accelerator::None,
        accelerator,
        summary: kvm.why(),
        checks: Vec::new(),
        kvm,
        facts,
    }
}
