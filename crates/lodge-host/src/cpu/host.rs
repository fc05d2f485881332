//! The processor of this host, read from itself and from KVM.

use lodge_model::cpu::CpuDescription;
use lodge_sys::kvm::Facts;

use super::decode::{Question, Wanted, decode};
use super::table::{Bits, Word, table};

/// This host's processor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostCpu {
    /// Model, vendor and features as a host's description; `None`: no model of the table fits.
    pub description: Option<CpuDescription>,
    /// All its features that the table knows.
    pub bits: Bits,
    /// Family, model, stepping.
    pub signature: Option<(u32, u32, u32)>,
    /// Bits of a physical address.
    pub address_bits: Option<u32>,
    /// Version of the microcode; 0 where it is not told.
    pub microcode: u32,
    /// What KVM tells.
    pub kvm: Option<Facts>,
}

/// Reads this host's processor. Takes some milliseconds where KVM is asked for its clock; the answer does not change.
pub fn host_cpu() -> HostCpu {
    let kvm = lodge_sys::kvm::facts(&table().registers());
    let mut cpu = HostCpu { microcode: microcode(), kvm, ..HostCpu::default() };
    #[cfg(target_arch = "x86_64")]
    read(&mut cpu);
    cpu
}

#[cfg(target_arch = "x86_64")]
fn read(cpu: &mut HostCpu) {
    use std::arch::x86_64::__cpuid_count;
    let highest = |base: u32| __cpuid_count(base, 0).eax;
    let limits = [(0_u32, highest(0)), (0x8000_0000, highest(0x8000_0000))];
    let is_there = |leaf: u32| limits.iter().any(|(base, most)| (*base..=*most).contains(&leaf));
    let registers = cpu.kvm.as_ref().map(|kvm| kvm.registers.clone()).unwrap_or_default();
    let has_vmx = __cpuid_count(1, 0).ecx & (1 << 5) != 0;
    cpu.bits = table().gather(|word| match word {
        Word::Cpuid(leaf, sub, register) if is_there(leaf) => {
            // Leaf 7 tells in its first sub-leaf how many it has.
            if leaf == 7 && sub > __cpuid_count(7, 0).eax {
                return 0;
            }
            let told = __cpuid_count(leaf, sub);
            match register {
                'a' => told.eax,
                'b' => told.ebx,
                'c' => told.ecx,
                _ => told.edx,
            }
        }
        Word::Cpuid(..) => 0,
        // The VMX registers (0x480 to 0x491) mean something only where VMX is.
        Word::Register(index @ 0x480..=0x491, _) if !has_vmx || !registers.contains_key(&index) => 0,
        Word::Register(index, high) => {
            let value = registers.get(&index).copied().unwrap_or_default();
            let half = if high { value >> 32 } else { value & 0xffff_ffff };
            u32::try_from(half).unwrap_or_default()
        }
    });
    let one = __cpuid_count(1, 0).eax;
    let (mut family, mut model, stepping) = ((one >> 8) & 0xf, (one >> 4) & 0xf, one & 0xf);
    if family == 6 || family == 15 {
        model += ((one >> 16) & 0xf) << 4;
    }
    if family == 15 {
        family += (one >> 20) & 0xff;
    }
    cpu.signature = Some((family, model, stepping));
    cpu.address_bits = is_there(0x8000_0008).then(|| __cpuid_count(0x8000_0008, 0).eax & 0xff);
    let zero = __cpuid_count(0, 0);
    let name: Vec<u8> = [zero.ebx, zero.edx, zero.ecx].iter().flat_map(|word| word.to_le_bytes()).collect();
    let vendor = vendor(&name);
    let question =
        Question { bits: cpu.bits.clone(), vendor, signature: cpu.signature, ..Question::default() };
    cpu.description = decode(&question, Wanted::Host).map(|choice| CpuDescription {
        guest: false,
        arch: Some("x86_64".to_owned()),
        model: Some(choice.model.name.to_owned()),
        vendor: vendor.map(str::to_owned),
        features: choice.features,
        ..CpuDescription::default()
    });
}

/// The short name of the string that CPUID tells.
fn vendor(name: &[u8]) -> Option<&'static str> {
    match name {
        b"GenuineIntel" => Some("Intel"),
        b"AuthenticAMD" => Some("AMD"),
        b"HygonGenuine" => Some("Hygon"),
        _ => None,
    }
}

fn microcode() -> u32 {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("microcode")).and_then(|line| line.split_once(':'));
    let value = line.map(|(_, value)| value.trim()).unwrap_or_default();
    u32::from_str_radix(value.trim_start_matches("0x"), 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_described() {
        let cpu = host_cpu();
        eprintln!("{:?} {:?} {:?} {:?}", cpu.signature, cpu.address_bits, cpu.microcode, cpu.kvm);
        eprintln!("{:?}", cpu.description);
        if cfg!(target_arch = "x86_64") {
            assert!(cpu.signature.is_some());
            let fpu = table().own_feature("fpu").unwrap();
            assert!(cpu.bits.has(fpu));
        }
    }
}
