//! The host's ends of a guest's streams that QEMU's user could not open: sockets to listen at, files, ports, the log.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use lodge_model::Kind;
use lodge_model::domain::Domain;
use lodge_model::domain::chardev::CharKind;
use lodge_model::xml::OnOff;
use lodge_qemu::{AGENT_SOCKET, Claims, Descriptors, FdNumber, listen};
use lodge_store::saga::Failure;
use rustix::fs::OFlags;

use super::file_failure;
use crate::vmm::CONSOLE_LOG;

/// The channel that the guest agent listens on.
const AGENT_CHANNEL: &str = "org.qemu.guest_agent.0";

/// Opens all of them; says which is the agent's channel.
pub(super) fn pass(
    document: &Domain,
    dir: &Path,
    claims: &mut Claims,
    descriptors: &mut Descriptors,
) -> Result<Option<String>, Failure> {
    let agent = pass_channels(document, dir, claims, descriptors)?;
    pass_listeners(document, claims, descriptors)?;
    pass_console(document, dir, claims, descriptors)?;
    pass_files(document, claims, descriptors)?;
    Ok(agent)
}

/// A socket that listens there, for QEMU.
pub(super) fn listening(path: &Path, descriptors: &mut Descriptors) -> Result<FdNumber, Failure> {
    let socket = listen(path).map_err(|error| file_failure("listen on", path, &error))?;
    Ok(descriptors.pass(socket))
}

/// Sockets of unix channels without a path; says which is the agent's.
fn pass_channels(
    document: &Domain,
    dir: &Path,
    claims: &mut Claims,
    descriptors: &mut Descriptors,
) -> Result<Option<String>, Failure> {
    let mut agent = None;
    for (at, channel) in document.devices.channels.iter().enumerate() {
        let has_path = channel.source().is_some_and(|source| source.path.is_some());
        let is_agent = channel.channel_name() == Some(AGENT_CHANNEL);
        // The agent's channel is ours wherever libvirt had put it.
        if channel.kind != CharKind::Unix || (has_path && !is_agent) {
            continue;
        }
        let alias = format!("channel{at}");
        let file = if is_agent { AGENT_SOCKET.to_owned() } else { format!("{alias}.sock") };
        claims.sockets.insert(alias.clone(), listening(&dir.join(file), descriptors)?);
        if is_agent && agent.is_none() {
            agent = Some(alias);
        }
    }
    Ok(agent)
}

/// Sockets at a path of the document's that a stream listens at: QEMU's user may make none there.
fn pass_listeners(
    document: &Domain,
    claims: &mut Claims,
    descriptors: &mut Descriptors,
) -> Result<(), Failure> {
    for (alias, path) in lodge_qemu::listeners(document) {
        if claims.sockets.contains_key(alias) {
            continue;
        }
        let path = Path::new(path);
        let is_other = |metadata: std::fs::Metadata| !metadata.file_type().is_socket();
        if path.symlink_metadata().is_ok_and(is_other) {
            let text =
                format!("`{}` is there and is no socket: nothing listens in its place", path.display());
            return Err(Failure::new(Kind::Conflict, text));
        }
        claims.sockets.insert(alias.to_owned(), listening(path, descriptors)?);
    }
    Ok(())
}

/// What the first serial port prints is kept.
fn pass_console(
    document: &Domain,
    dir: &Path,
    claims: &mut Claims,
    descriptors: &mut Descriptors,
) -> Result<(), Failure> {
    if document.devices.serials.is_empty() {
        return Ok(());
    }
    let path = dir.join(CONSOLE_LOG);
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    let log: OwnedFd = log.map_err(|error| file_failure("open", &path, &error))?.into();
    claims.logs.insert("serial0".to_owned(), descriptors.pass(log));
    Ok(())
}

/// The files that ports write into are opened here: QEMU runs as a user who may not.
fn pass_files(document: &Domain, claims: &mut Claims, descriptors: &mut Descriptors) -> Result<(), Failure> {
    for port in document.devices.ports().filter(|port| matches!(port.kind, CharKind::File | CharKind::Dev)) {
        let source = port.source().filter(|source| source.path.is_some());
        let (Some(alias), Some(source)) = (port.place.alias.as_ref(), source) else { continue };
        let path = Path::new(source.path.as_deref().unwrap_or_default());
        if port.kind == CharKind::Dev {
            let device = open_port(path)?;
            claims.files.insert(alias.name.clone(), descriptors.pass(device));
            continue;
        }
        let append = source.append.is_some_and(OnOff::is_on);
        let mut options = OpenOptions::new();
        // Not waiting: there may be a pipe that nobody reads.
        options.create(true).append(true).mode(0o600).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = options.open(path).map_err(|error| file_failure("open", path, &error))?;
        if !append && file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            file.set_len(0).map_err(|error| file_failure("empty", path, &error))?;
        }
        claims.files.insert(alias.name.clone(), descriptors.pass(OwnedFd::from(file)));
    }
    Ok(())
}

/// A serial or parallel port of the host's. A modem that is not there is not waited for.
fn open_port(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened =
        OpenOptions::new().read(true).write(true).custom_flags(flags.bits().cast_signed()).open(path);
    let port = opened.map_err(|error| file_failure("open the port", path, &error))?;
    let is_device = port.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device());
    if !is_device {
        let text = format!("`{}` is no port of this host's", path.display());
        return Err(Failure::new(Kind::InvalidInput, text));
    }
    Ok(port.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lodge_qemu::Accelerator;

    fn passed(source: &Path) -> Result<Claims, Failure> {
        let text = format!(
            "<domain type='qemu'><name>n</name><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices>\
             <rng model='virtio'><backend model='egd' type='unix'><source mode='bind' path='{}'/></backend></rng>\
             </devices></domain>",
            source.display()
        );
        let mut document = Domain::parse(&text).unwrap();
        lodge_qemu::assign_aliases(&mut document);
        let mut claims = Claims::new(Accelerator::Tcg, FdNumber::fixed(3));
        pass(&document, Path::new("/nowhere"), &mut claims, &mut Descriptors::default())?;
        Ok(claims)
    }

    #[test]
    fn a_socket_is_listened_at_for_qemu_and_a_file_is_not_replaced_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("egd");
        for _ in 0..2 {
            assert_eq!(passed(&path).unwrap().sockets.keys().collect::<Vec<_>>(), ["rng0"]);
            assert!(path.metadata().unwrap().file_type().is_socket());
        }
        let file = dir.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        passed(&file).unwrap_err();
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    }
}
