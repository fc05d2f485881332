//! The file a guest's memory is saved to: libvirt's own format, so either side restores the other's.
//!
//! ```text
//!  header 92 bytes │ the domain's XML, NUL, room to grow │ cookie XML, NUL │ QEMU's migration stream …
//! ```
