//! What the disks of guests are to hold, byte by byte.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use lodge_tests::{Host, finish};

use super::{BOTH, DEVICES, DISK_MIB, disks_of, io, opened, tool, with_locked_guest};

/// What both disks of a guest hold, and the guest's way to change it.
#[derive(Clone)]
pub(super) struct Model {
    bytes: Vec<u8>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; DISK_MIB << 20] }
    }

    /// Has QEMU write a byte over and over at so many KiB of each disk.
    pub(super) fn write(&mut self, host: &Host, byte: u8, at_kib: usize, kib: usize) -> Result<()> {
        self.write_in(host, "locked", byte, at_kib, kib)
    }

    /// The same of another guest.
    pub(super) fn write_in(
        &mut self,
        host: &Host,
        name: &str,
        byte: u8,
        at_kib: usize,
        kib: usize,
    ) -> Result<()> {
        for device in DEVICES {
            io(host, name, device, &format!("write -q -P {byte} {at_kib}k {kib}k"))?;
            io(host, name, device, "flush")?;
        }
        self.bytes[at_kib << 10..(at_kib + kib) << 10].fill(byte);
        Ok(())
    }

    /// All bytes that the guest would see of each disk are these; it is off.
    pub(super) fn holds(&self, host: &Host) -> Result<()> {
        self.holds_in(host, "locked")
    }

    /// The same of another guest.
    pub(super) fn holds_in(&self, host: &Host, name: &str) -> Result<()> {
        for (path, format) in disks_of(host, name)? {
            let words = opened(&path, &format, "")?;
            let seen = host.root().join("seen");
            let mut convert = tool("qemu-img", Some("convert"));
            convert.args(["-O", "raw", "--image-opts", &words]).arg(&seen);
            finish(&mut convert, Duration::from_mins(1), &format!("qemu-img convert {words}"))?.ok()?;
            let bytes = fs::read(&seen)?;
            let differs = bytes.iter().zip(&self.bytes).position(|(seen, meant)| seen != meant);
            ensure!(
                bytes.len() == self.bytes.len() && differs.is_none(),
                "{name}: {words}: differs at {differs:?}"
            );
        }
        Ok(())
    }

    /// The same after the guest's run was ended, and it runs again.
    pub(super) fn holds_in_another_run(&self, host: &Host) -> Result<()> {
        host.lodge(&["destroy", "locked"])?.ok()?;
        self.holds(host)?;
        host.lodge(&["start", "locked"])?.ok()?;
        Ok(())
    }
}

/// The guest `locked` on two encrypted disks, which runs and has written to them; and where its files lie.
pub(super) fn written(host: &Host) -> Result<(PathBuf, Model)> {
    let dir = with_locked_guest(host, BOTH)?;
    host.lodge(&["start", "locked"])?.ok()?;
    let mut model = Model::new();
    model.write(host, 1, 64, 300)?;
    Ok((dir, model))
}
