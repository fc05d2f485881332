//! The file of `<pstore>`: made at the first start, kept ever after; what a dying kernel wrote there is read later.
//!
//! QEMU takes it by name only and runs as a user of the guest's own. It gets a descriptor and `/proc/self/fd/N` as the
//! name (see `kernel`), so the way to the file stays the daemon's; the file itself is given to that user.
//! Deliberately absent: its removal, which comes with that of the definition and is the user's wish.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lodge_model::Kind;
use lodge_model::domain::Domain;
use lodge_qemu::{Claims, Credentials, Descriptors};
use lodge_store::saga::Failure;

use super::file_failure;

/// Largest store: ACPI's record table is small, and a wild number must not fill the disk.
const BYTES_MAX: u64 = 64 << 20;

fn path(document: &Domain) -> Option<PathBuf> {
    document.devices.pstore.as_deref()?.path.as_deref().map(PathBuf::from)
}

/// The file that a start will make.
pub(super) fn choose(document: &Domain) -> Option<PathBuf> {
    path(document).filter(|path| !path.exists())
}

/// Makes the file if it is not there, and opens it.
pub(super) fn pass(
    document: &Domain,
    user: Option<&Credentials>,
    claims: &mut Claims,
    descriptors: &mut Descriptors,
) -> Result<(), Failure> {
    let (Some(pstore), Some(path)) = (document.devices.pstore.as_deref(), path(document)) else {
        return Ok(());
    };
    let size = pstore.size.size.0;
    if size > BYTES_MAX {
        let message = format!("a store of {size} bytes is too large; at most {BYTES_MAX} are possible");
        return Err(Failure::new(Kind::InvalidInput, message));
    }
    if !path.exists() {
        make(&path, size)?;
    }
    // A pipe would let us wait for its other end.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).write(true).custom_flags(nonblock).open(&path);
    let file = opened.map_err(|error| file_failure("open the store", &path, &error))?;
    let of_file = file.metadata().map_err(|error| file_failure("open the store", &path, &error))?;
    if !of_file.is_file() {
        return Err(Failure::new(Kind::InvalidInput, format!("`{}` is not a file", path.display())));
    }
    if of_file.len() < size {
        file.set_len(size).map_err(|error| file_failure("enlarge the store", &path, &error))?;
    }
    if let Some(user) = user {
        let given = std::os::unix::fs::fchown(&file, Some(user.uid), Some(user.gid));
        given.map_err(|error| file_failure("give to the guest's user", &path, &error))?;
    }
    claims.pstore = Some(descriptors.pass(file));
    Ok(())
}

/// All zeroes, which is an empty store; there whole or not at all.
fn make(path: &Path, size: u64) -> Result<(), Failure> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        lodge_sys::fs::create_dirs_durable(parent, 0o700)
            .map_err(|error| file_failure("make the directory", parent, &error))?;
    }
    let zeroes = vec![0; usize::try_from(size).unwrap_or_default()];
    lodge_sys::fs::write_durable(path, &zeroes, 0o600).map_err(|error| file_failure("write", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lodge_qemu::{Accelerator, FdNumber};

    fn domain(path: &Path, kib: u64) -> Domain {
        let text = format!(
            "<domain type='qemu'><name>n</name><memory>65536</memory><os><type>hvm</type></os><devices>\
             <pstore backend='acpi-erst'><path>{}</path><size unit='KiB'>{kib}</size></pstore></devices></domain>",
            path.display()
        );
        Domain::parse(&text).unwrap()
    }

    #[test]
    fn the_store_is_made_once_and_keeps_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/store.raw");
        let document = domain(&path, 64);
        assert_eq!(choose(&document), Some(path.clone()));
        let mut claims = Claims::new(Accelerator::Tcg, FdNumber::fixed(3));
        let mut descriptors = Descriptors::default();
        pass(&document, None, &mut claims, &mut descriptors).unwrap();
        assert!(claims.pstore.is_some() && std::fs::read(&path).unwrap() == vec![0; 64 << 10]);
        std::fs::write(&path, b"last words").unwrap();
        pass(&document, None, &mut claims, &mut descriptors).unwrap();
        let kept = std::fs::read(&path).unwrap();
        assert!(kept.starts_with(b"last words") && kept.len() == 64 << 10);
        assert_eq!(choose(&document), None);
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut claims = Claims::new(Accelerator::Tcg, FdNumber::fixed(3));
        let mut descriptors = Descriptors::default();
        let pass = |document: &Domain, claims: &mut Claims, descriptors: &mut Descriptors| {
            super::pass(document, None, claims, descriptors).unwrap_err();
        };
        pass(&domain(dir.path(), 64), &mut claims, &mut descriptors);
        pass(&domain(&dir.path().join("large"), 1 << 20), &mut claims, &mut descriptors);
        assert!(claims.pstore.is_none() && !dir.path().join("large").exists());
    }
}
