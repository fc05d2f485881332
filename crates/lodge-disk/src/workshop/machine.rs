//! QEMU's arguments. No network, no default device, no user's configuration, no monitor; the console is what it prints.
//!
//! Its own `-sandbox` is for a QEMU that nothing else shuts in: the jail that tools run in has a shorter list of system
//! calls, among which the one that would load a filter is not.

/// Memory: the modules and the edits lie in it three times (packed, unpacked, loaded), the file system's log beside.
const MEMORY_MIB: u32 = 512;

/// QEMU's program for this host's processors.
pub fn program() -> &'static str {
    if cfg!(target_arch = "aarch64") { "qemu-system-aarch64" } else { "qemu-system-x86_64" }
}

/// The arguments: the files are a [`super::Workshop`]'s kernel and initramfs, and the device, raw. Paths have no comma.
pub fn arguments(kernel: &str, initramfs: &str, device: &str) -> Vec<String> {
    let (machine, console) =
        if cfg!(target_arch = "aarch64") { ("virt", "ttyAMA0") } else { ("q35", "ttyS0") };
    let append = format!("console={console} panic=-1 loglevel=3");
    let drive = format!("if=none,id=device,format=raw,file={device}");
    let memory = MEMORY_MIB.to_string();
    let words = [
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-monitor",
        "none",
        "-machine",
        machine,
        // What a kernel of today may ask of a processor (RHEL 9: x86-64-v2) is in `max`.
        "-cpu",
        "max",
        "-accel",
        "tcg",
        "-m",
        &memory,
        "-kernel",
        kernel,
        "-initrd",
        initramfs,
        "-append",
        &append,
        "-serial",
        "stdio",
        "-drive",
        &drive,
        "-device",
        "virtio-blk-pci,drive=device",
    ];
    words.map(str::to_owned).to_vec()
}
