//! QEMU: capabilities, command line, monitor, process.
