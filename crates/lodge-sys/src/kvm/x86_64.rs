//! The counting loop as 64-bit guest code, and the same on the bare processor.
//!
//! 64-bit kernel mode is what ordinary guests live in, and the mode in which a KVM without the processor's help
//! is slow: 16-bit code may be quick there and prove nothing. So the guest gets page tables and long mode at once.

#![expect(
    unsafe_code,
    reason = "UNSAFETY: a guest's memory is mapped and handed to KVM; the bare loop is assembly"
)]

use std::io;
use std::ptr::NonNull;

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

use super::{Counter, ProbeError};

/// Where things lie in the guest's memory.
const PML4: usize = 0x1000;
const PDPT: usize = 0x2000;
const PAGE_DIRECTORY: usize = 0x3000;
const CODE: usize = 0x4000;
const ITERATIONS: usize = 0x5000;
const MEMORY_BYTES: usize = 0x20_0000;

/// Loads the count, counts it down, tells the host with an `out`, begins again.
const LOOP: [u8; 17] = [
    0x48, 0x8b, 0x0c, 0x25, 0x00, 0x50, 0x00, 0x00, // mov rcx, [ITERATIONS]
    0x48, 0xff, 0xc9, // dec rcx
    0x75, 0xfb, // jnz back to the dec
    0xe6, 0x10, // out 0x10, al
    0xeb, 0xef, // jmp back to the mov
];

/// A machine of one processor in long mode.
pub(super) struct Guest {
    // Order of dropping: the processor and the machine go before the memory they may write.
    vcpu: VcpuFd,
    _vm: VmFd,
    memory: Memory,
}

impl Guest {
    /// Builds it; nothing has run yet.
    pub(super) fn new() -> Result<Self, ProbeError> {
        let kvm = Kvm::new().map_err(refused("open /dev/kvm"))?;
        let vm = kvm.create_vm().map_err(refused("create a machine"))?;
        let mut memory = Memory::new().map_err(|source| ProbeError::Refused { act: "map memory", source })?;
        memory.write(PML4, &(PDPT as u64 | PRESENT_WRITABLE).to_le_bytes());
        memory.write(PDPT, &(PAGE_DIRECTORY as u64 | PRESENT_WRITABLE).to_le_bytes());
        memory.write(PAGE_DIRECTORY, &(PRESENT_WRITABLE | LARGE_PAGE).to_le_bytes());
        memory.write(CODE, &LOOP);
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY_BYTES as u64,
            userspace_addr: memory.address(),
        };
        // SAFETY: the region is a live mapping of exactly `MEMORY_BYTES`, of which no Rust reference is held while
        // the guest runs, and `Guest` drops the machine before the mapping.
        unsafe { vm.set_user_memory_region(region) }.map_err(refused("take memory"))?;
        let vcpu = vm.create_vcpu(0).map_err(refused("create a processor"))?;
        let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(refused("tell its CPUID"))?;
        vcpu.set_cpuid2(&cpuid).map_err(refused("take a CPUID"))?;
        enter_long_mode(&vcpu)?;
        Ok(Self { vcpu, _vm: vm, memory })
    }
}

impl Counter for Guest {
    fn count(&mut self, iterations: u64) -> Result<(), ProbeError> {
        self.memory.write(ITERATIONS, &iterations.max(1).to_le_bytes());
        loop {
            match self.vcpu.run() {
                Ok(VcpuExit::IoOut(0x10, _)) => return Ok(()),
                Ok(VcpuExit::Intr) => {}
                Ok(other) => return Err(ProbeError::Strayed { exit: format!("{other:?}") }),
                Err(error) if error.errno() == libc::EINTR => {}
                Err(error) => return Err(refused("run the guest")(error)),
            }
        }
    }
}

/// The same loop outside of a guest.
pub(super) struct Bare;

impl Counter for Bare {
    fn count(&mut self, iterations: u64) -> Result<(), ProbeError> {
        // SAFETY: the loop changes one register, named as its operand, and the flags; it ends as `iterations` is
        // at least one.
        unsafe {
            std::arch::asm!("2:", "dec {n}", "jnz 2b", n = inout(reg) iterations.max(1) => _, options(nomem, nostack));
        }
        Ok(())
    }
}

const PRESENT_WRITABLE: u64 = 0b11;
const LARGE_PAGE: u64 = 1 << 7;
const CR0_PROTECTED: u64 = 1;
const CR0_EXTENSION_TYPE: u64 = 1 << 4;
const CR0_PAGING: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LONG_MODE_ENABLED_ACTIVE: u64 = 1 << 8 | 1 << 10;

/// Intel SDM vol. 3, 10.8.5: all that firmware and boot loader would have set, at once.
fn enter_long_mode(vcpu: &VcpuFd) -> Result<(), ProbeError> {
    let mut special = vcpu.get_sregs().map_err(refused("tell the processor's state"))?;
    let code = kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector: 0x8,
        type_: 0xb,
        present: 1,
        s: 1,
        l: 1,
        g: 1,
        ..kvm_segment::default()
    };
    let data = kvm_segment { selector: 0x10, type_: 0x3, l: 0, db: 1, ..code };
    special.cs = code;
    (special.ds, special.es, special.fs, special.gs, special.ss) = (data, data, data, data, data);
    special.cr3 = PML4 as u64;
    special.cr4 |= CR4_PAE;
    special.cr0 |= CR0_PROTECTED | CR0_EXTENSION_TYPE | CR0_PAGING;
    special.efer |= EFER_LONG_MODE_ENABLED_ACTIVE;
    vcpu.set_sregs(&special).map_err(refused("enter 64-bit mode"))?;
    let registers = kvm_regs { rip: CODE as u64, rflags: 0x2, rsp: 0x8000, ..kvm_regs::default() };
    vcpu.set_regs(&registers).map_err(refused("set the processor's registers"))
}

fn refused(act: &'static str) -> impl Fn(kvm_ioctls::Error) -> ProbeError {
    move |error| ProbeError::Refused { act, source: io::Error::from_raw_os_error(error.errno()) }
}

/// Private zeroed memory for the guest.
struct Memory(NonNull<u8>);

impl Memory {
    fn new() -> io::Result<Self> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), MEMORY_BYTES, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(address.cast()).map(Self).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    fn address(&self) -> u64 {
        self.0.as_ptr().addr() as u64
    }

    /// The guest does not run meanwhile: its one processor runs only inside [`Guest::count`].
    fn write(&mut self, at: usize, bytes: &[u8]) {
        assert!(at.checked_add(bytes.len()).is_some_and(|end| end <= MEMORY_BYTES), "constants of this file");
        // SAFETY: the range lies in the mapping (just checked), which lives as long as `self` and is not
        // overlapped by `bytes`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_ptr().add(at), bytes.len()) };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`; the machine that used it is dropped before (field order).
        unsafe { libc::munmap(self.0.as_ptr().cast(), MEMORY_BYTES) };
    }
}
