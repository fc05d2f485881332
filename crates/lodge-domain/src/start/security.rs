//! What a guest's owner hands over to its processor, as QEMU can read it: files in memory.

use std::fs::File;
use std::io::Write;

use lodge_model::Kind;
use lodge_model::domain::Domain;
use lodge_model::domain::security::LaunchSecurity;
use lodge_qemu::{Claims, Descriptors, FdNumber};
use lodge_store::saga::Failure;

/// The owner's certificate and session of SEV; the host's own part came with its devices.
pub(super) fn pass(
    document: &Domain,
    claims: &mut Claims,
    descriptors: &mut Descriptors,
) -> Result<(), Failure> {
    let Ok(Some(LaunchSecurity::Sev(sev))) = document.security() else { return Ok(()) };
    let Some(claim) = &mut claims.security else { return Ok(()) };
    claim.certificate = sev.certificate.map(|text| in_memory(&text, descriptors)).transpose()?;
    claim.session = sev.session.map(|text| in_memory(&text, descriptors)).transpose()?;
    Ok(())
}

fn in_memory(text: &str, descriptors: &mut Descriptors) -> Result<FdNumber, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Kind::Internal, format!("cannot keep the owner's words in memory: {error}"))
    };
    let file = rustix::fs::memfd_create("lodge-owner", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(file.map_err(|error| failed(error.into()))?);
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(descriptors.pass(file))
}
