//! Images of a guest's disks that servers have: with the secrets that open the door there.

use lodge_domain::{PortError, ServedLink};
use lodge_model::{
    Kind,
    domain::{
        Domain,
        disk::{Disk, DiskDevice, SourceKind},
        os::FirmwareFormat,
        served::ServedImage,
    },
};

use crate::storage_secrets::{Keys, kept_in_memory};

/// The UEFI variables of `document`, where a server has them.
pub(crate) fn variables(document: &Domain, keys: &Keys) -> Result<Option<ServedLink>, PortError> {
    let Some(nvram) = document.os.nvram.as_deref() else { return Ok(None) };
    let source = nvram.source.as_deref().filter(|_| nvram.kind == Some(SourceKind::Network));
    let Some(source) = source.cloned() else { return Ok(None) };
    let format = nvram.format.map_or("raw", FirmwareFormat::as_str).to_owned();
    link("the UEFI variables", ServedImage { source, format }, false, keys).map(Some)
}

fn link(what: &str, image: ServedImage, read_only: bool, keys: &Keys) -> Result<ServedLink, PortError> {
    let ServedImage { source, format } = image;
    let login = source.login();
    let login = login.map_err(|error| PortError::new(Kind::InvalidInput, format!("{what}: {error}")))?;
    let login = login.map(|login| keys.login(&login)).transpose()?;
    let cookies = source.cookie_line().map(|line| kept_in_memory(line.as_bytes())).transpose()?;
    Ok(ServedLink { source, format, read_only, login, cookies })
}

/// Those of `disk`, the uppermost first.
pub(crate) fn links(disk: &Disk, keys: &Keys) -> Result<Vec<ServedLink>, PortError> {
    let layers = disk.served_layers();
    let target = &disk.target.dev;
    if layers.is_mixed {
        let text = format!("disk '{target}': a file of this host below a server's image is not supported");
        let hint = "let the server have what its image stands on, or put a qcow2 of this host above it";
        return Err(PortError::new(Kind::Unsupported, text).with_hint(hint));
    }
    let is_read_only = disk.readonly || disk.device == DiskDevice::Cdrom;
    let is_below = layers.local > 0;
    let what = format!("disk '{target}'");
    let of = |(at, image)| link(&what, image, is_read_only || is_below || at > 0, keys);
    layers.images.into_iter().enumerate().map(of).collect()
}
