//! What KVM tells of the processor beside CPUID: feature registers (MSRs), the time stamp counter, most vcpus.
//!
//! Best effort: where `/dev/kvm` is not there or refuses, there is nothing to tell.

use std::collections::BTreeMap;

/// KVM's words about this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Most vcpus of a guest.
    pub vcpus_max: u32,
    /// Feature registers by index.
    pub registers: BTreeMap<u32, u64>,
    /// The time stamp counter's frequency.
    pub tsc_khz: Option<u32>,
    /// Whether a guest's counter can run at another frequency.
    pub tsc_scaling: bool,
}

/// Asks KVM for these registers and the rest; `None`: no KVM that this process may open.
#[cfg(target_arch = "x86_64")]
pub fn facts(registers: &[u32]) -> Option<Facts> {
    use kvm_bindings::{Msrs, kvm_msr_entry};
    /// `KVM_CAP_TSC_CONTROL` (linux/kvm.h).
    const TSC_CONTROL: std::os::raw::c_ulong = 60;
    let kvm = kvm_ioctls::Kvm::new().ok()?;
    let mut told = Facts {
        vcpus_max: u32::try_from(kvm.get_max_vcpus()).unwrap_or(u32::MAX),
        tsc_scaling: kvm.check_extension_raw(TSC_CONTROL) > 0,
        ..Facts::default()
    };
    for index in registers {
        let entry = kvm_msr_entry { index: *index, ..kvm_msr_entry::default() };
        if let Ok(mut one) = Msrs::from_entries(&[entry])
            && kvm.get_msrs(&mut one).is_ok_and(|count| count == 1)
            && let Some(entry) = one.as_slice().first()
        {
            told.registers.insert(*index, entry.data);
        }
    }
    told.tsc_khz = kvm
        .create_vm()
        .and_then(|machine| machine.create_vcpu(0).map(|vcpu| (machine, vcpu)))
        .and_then(|(_machine, vcpu)| vcpu.get_tsc_khz())
        .ok()
        .filter(|khz| *khz > 0);
    Some(told)
}

/// There are no such registers on this processor.
#[cfg(not(target_arch = "x86_64"))]
pub fn facts(_registers: &[u32]) -> Option<Facts> {
    let kvm = kvm_ioctls::Kvm::new().ok()?;
    Some(Facts { vcpus_max: u32::try_from(kvm.get_max_vcpus()).unwrap_or(u32::MAX), ..Facts::default() })
}
