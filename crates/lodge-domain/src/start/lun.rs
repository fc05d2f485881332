//! `device='lun'`: what the guest sends there are commands of SCSI, so a device of the host's has to understand them.
//! A disk or partition that is no SCSI device would fail at the guest's first command, long after the start.

use std::path::Path;

use lodge_model::Kind;
use lodge_model::domain::Domain;
use lodge_model::domain::disk::DiskDevice;
use lodge_store::saga::Failure;

use crate::ports::ClaimedDisk;

/// Where the kernel tells of block devices, by their numbers.
const DEVICES: &str = "/sys/dev/block";

/// Refuses a lun on anything but a SCSI device, or what maps to such (multipath).
pub(super) fn check(document: &Domain, disks: &[ClaimedDisk]) -> Result<(), Failure> {
    for disk in document.devices.disks.iter().filter(|disk| disk.device == DiskDevice::Lun) {
        let claimed = disks.iter().find(|claimed| claimed.target == disk.target.dev);
        let Some(link) = claimed.and_then(|claimed| claimed.chain.first()) else { continue };
        let number = rustix::fs::fstat(&link.fd).map(|stat| stat.st_rdev).unwrap_or_default();
        if !is_scsi(Path::new(DEVICES), number) {
            let (path, target) = (link.path.display(), &disk.target.dev);
            let text = format!("disk '{target}' is device='lun', and `{path}` is no SCSI device");
            let hint = "use device='disk'; `lsscsi` lists the host's SCSI devices".to_owned();
            return Err(Failure::new(Kind::Unsupported, text).with_hint(hint));
        }
    }
    Ok(())
}

fn is_scsi(devices: &Path, number: u64) -> bool {
    let device = devices.join(format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number)));
    let is_mapped = device.join("dm").is_dir() && !device.join("partition").exists();
    device.join("device/scsi_level").exists() || is_mapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_known_by_what_the_kernel_tells_of_it() {
        let sys = tempfile::tempdir().unwrap();
        let number = rustix::fs::makedev(8, 16);
        assert!(!is_scsi(sys.path(), number));
        std::fs::create_dir_all(sys.path().join("8:16/device")).unwrap();
        assert!(!is_scsi(sys.path(), number));
        std::fs::write(sys.path().join("8:16/device/scsi_level"), "7").unwrap();
        assert!(is_scsi(sys.path(), number));
        std::fs::create_dir_all(sys.path().join("253:0/dm")).unwrap();
        assert!(is_scsi(sys.path(), rustix::fs::makedev(253, 0)));
    }
}
