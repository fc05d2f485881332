//! What a document of each type of pool has, as libvirt's table of types says it, and which formats it knows. Pure.

use lodge_model::storage::{Pool, PoolKind, PoolSource, SourceFormat};

use super::{document::tidy, error::PoolError};

/// Parts of `<source>` that a type of pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a part of the document")]
pub(crate) struct Shape {
    pub host: bool,
    pub device: bool,
    pub dir: bool,
    pub adapter: bool,
    pub name: bool,
    pub initiator: bool,
    /// It has no place in the host's file system, so no `<target>`.
    pub network: bool,
}

impl Shape {
    pub const fn of(kind: PoolKind) -> Self {
        const NONE: Shape = Shape {
            host: false,
            device: false,
            dir: false,
            adapter: false,
            name: false,
            initiator: false,
            network: false,
        };
        match kind {
            PoolKind::Dir | PoolKind::Mpath => NONE,
            PoolKind::Fs | PoolKind::Disk => Shape { device: true, ..NONE },
            PoolKind::Netfs => Shape { host: true, dir: true, ..NONE },
            PoolKind::Logical | PoolKind::Zfs => Shape { name: true, device: true, ..NONE },
            PoolKind::Iscsi => Shape { host: true, device: true, initiator: true, ..NONE },
            PoolKind::IscsiDirect => {
                Shape { host: true, device: true, initiator: true, network: true, ..NONE }
            }
            PoolKind::Scsi => Shape { adapter: true, ..NONE },
            PoolKind::Rbd | PoolKind::Sheepdog => Shape { host: true, name: true, network: true, ..NONE },
            PoolKind::Gluster => Shape { host: true, name: true, dir: true, network: true, ..NONE },
            PoolKind::Vstorage => Shape { name: true, ..NONE },
        }
    }

    /// A device is all that it has.
    const fn is_device_alone(self) -> bool {
        self.device && !(self.host || self.dir || self.adapter || self.name || self.initiator || self.network)
    }
}

/// Formats of a type's source; the first is the default.
pub(crate) const fn formats(kind: PoolKind) -> &'static [&'static str] {
    match kind {
        PoolKind::Fs => &[
            "auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+", "xfs",
            "ocfs2", "vmfs",
        ],
        PoolKind::Netfs => &["auto", "nfs", "glusterfs", "cifs"],
        PoolKind::Logical => &["unknown", "lvm2"],
        PoolKind::Disk => &["unknown", "dos", "dvh", "gpt", "mac", "bsd", "pc98", "sun", "lvm2"],
        _ => &[],
    }
}

/// What a type's source has where the document says nothing.
pub(crate) fn default_format(kind: PoolKind) -> Option<&'static str> {
    if kind == PoolKind::Logical { Some("lvm2") } else { formats(kind).first().copied() }
}

/// Judges `<source>` and the target's path, fills in what libvirt fills in, and drops what the type does not have.
pub(crate) fn settle(pool: &mut Pool) -> Result<(), PoolError> {
    let (kind, shape) = (pool.kind, Shape::of(pool.kind));
    let document = |text: &str| Err(PoolError::Document(text.to_owned()));
    let mut source = pool.source.take().map(|source| *source).unwrap_or_default();
    settle_format(kind, &mut source)?;
    if source.hosts.iter().any(|host| host.name.is_none()) {
        return document("missing storage pool host name");
    }
    if source.devices.iter().any(|device| device.path.is_none()) {
        return document("missing storage pool source device path");
    }
    if shape.name && pool.name.is_empty() {
        pool.name = source.name.clone().unwrap_or_default();
    }
    if pool.name.is_empty() {
        return document("missing pool source name element");
    }
    if shape.host && source.hosts.is_empty() {
        return document("missing storage pool source host name");
    }
    let dir = source.dir.as_ref().and_then(|dir| dir.path.clone());
    if shape.dir && kind != PoolKind::Gluster && dir.is_none() {
        return document("missing storage pool source path");
    }
    if shape.is_device_alone() && source.devices.is_empty() {
        return document("missing storage pool source device name");
    }
    if let Some(dir) = source.dir.as_mut().and_then(|dir| dir.path.as_mut()) {
        *dir = sanitized(dir);
    }
    if shape.name {
        source.name.get_or_insert_with(|| pool.name.clone());
    }
    keep_own(shape, &mut source);
    settle_features(pool)?;
    settle_target(pool, shape, &source)?;
    pool.source = Some(Box::new(source));
    Ok(())
}

fn settle_format(kind: PoolKind, source: &mut PoolSource) -> Result<(), PoolError> {
    let said = source.format.as_ref().and_then(|format| format.kind.as_deref());
    let Some(default) = default_format(kind) else {
        source.format = None;
        return Ok(());
    };
    match said {
        Some(word) if !formats(kind).contains(&word) => {
            Err(PoolError::Config(format!("unknown pool format type {word}")))
        }
        Some(_) => Ok(()),
        None => {
            source.format = Some(SourceFormat { kind: Some(default.to_owned()), ..SourceFormat::default() });
            Ok(())
        }
    }
}

/// What of `<source>` the type does not have is not said again, as libvirt does.
fn keep_own(shape: Shape, source: &mut PoolSource) {
    if !shape.host {
        source.hosts.clear();
    }
    if !shape.device {
        source.devices.clear();
    }
    if !shape.dir {
        source.dir = None;
    }
    if !shape.name {
        source.name = None;
    }
    for device in &mut source.devices {
        // Only what runs knows of it.
        device.free_extents.clear();
    }
}

fn settle_features(pool: &mut Pool) -> Result<(), PoolError> {
    let cow = pool.features.as_ref().and_then(|features| features.cow.as_ref());
    let Some(cow) = cow else {
        pool.features = None;
        return Ok(());
    };
    match cow.state.as_deref() {
        Some("yes" | "no") if matches!(pool.kind, PoolKind::Dir | PoolKind::Fs) => Ok(()),
        Some("yes" | "no") => {
            Err(PoolError::NoSupport("cow feature may only be used for 'fs' and 'dir' pools".to_owned()))
        }
        Some(word) => Err(PoolError::Document(format!(
            "Invalid value for attribute 'state' in element 'cow': '{word}'."
        ))),
        None => {
            pool.features = None;
            Ok(())
        }
    }
}

fn settle_target(pool: &mut Pool, shape: Shape, source: &PoolSource) -> Result<(), PoolError> {
    if shape.network {
        pool.target = None;
        return Ok(());
    }
    let of_name = |dir: &str| {
        let name = source.name.as_deref().unwrap_or_default();
        if is_plain_name(name) {
            Ok(Some(format!("{dir}/{name}")))
        } else {
            Err(PoolError::Document(format!("source name '{name}' cannot be a volume group's")))
        }
    };
    let target = pool.target.get_or_insert_default();
    target.path = match pool.kind {
        PoolKind::Logical => of_name("/dev")?,
        PoolKind::Zfs => Some(format!("/dev/zvol/{}", source.name.as_deref().unwrap_or_default())),
        _ => target.path.take(),
    };
    match target.path.as_deref() {
        None | Some("") => Err(PoolError::Document("missing storage pool target path".to_owned())),
        // libvirt takes a relative path and means its own working directory.
        Some(path) if !path.starts_with('/') => {
            Err(PoolError::Document(format!("storage pool target path '{path}' is not absolute")))
        }
        Some(path) => {
            target.path = Some(tidy(path));
            Ok(())
        }
    }
}

/// A name that stays where it is put: a volume group's, a logical volume's. LVM's letters, see lvm(8).
pub(crate) fn is_plain_name(name: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "+_.-".contains(letter);
    !name.is_empty() && !name.starts_with('-') && name != "." && name != ".." && name.chars().all(is_letter)
}

/// A path of another host: single slashes, none at its end.
fn sanitized(path: &str) -> String {
    if path.starts_with('/') { tidy(path) } else { path.trim_end_matches('/').to_owned() }
}

#[cfg(test)]
mod tests {
    use crate::pool::document;

    fn written(kind: &str, inner: &str) -> Result<String, String> {
        let text =
            format!("<pool type='{kind}'><uuid>fa23c2dd-80d2-45cb-8bc7-590562011583</uuid>{inner}</pool>");
        document::read(&text, false).map(|pool| document::write(&pool)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_volume_group_is_completed_as_libvirt_does() {
        let text = written("logical", "<source><name>vg0</name><device path='/dev/sdb'/></source>").unwrap();
        expect_test::expect![[r"
            <pool type='logical'>
              <name>vg0</name>
              <uuid>fa23c2dd-80d2-45cb-8bc7-590562011583</uuid>
              <capacity unit='bytes'>0</capacity>
              <allocation unit='bytes'>0</allocation>
              <available unit='bytes'>0</available>
              <source>
                <device path='/dev/sdb'/>
                <name>vg0</name>
                <format type='lvm2'/>
              </source>
              <target>
                <path>/dev/vg0</path>
              </target>
            </pool>
        "]]
        .assert_eq(&text);
    }

    #[test]
    fn each_type_needs_what_libvirt_says() {
        let error = |kind: &str, inner: &str| written(kind, inner).unwrap_err();
        let target = "<target><path>/x</path></target>";
        assert_eq!(
            error("fs", &format!("<name>a</name>{target}")),
            "missing storage pool source device name"
        );
        assert_eq!(
            error("netfs", &format!("<name>a</name>{target}")),
            "missing storage pool source host name"
        );
        let host = "<source><host name='h'/></source>";
        assert_eq!(
            error("netfs", &format!("<name>a</name>{host}{target}")),
            "missing storage pool source path"
        );
        let device = "<source><device path='/dev/sdb'/></source>";
        assert_eq!(error("fs", &format!("<name>a</name>{device}")), "missing storage pool target path");
        let format = "<source><device path='/dev/sdb'/><format type='btrfs'/></source>";
        assert_eq!(error("fs", &format!("<name>a</name>{format}{target}")), "unknown pool format type btrfs");
        assert_eq!(
            error("logical", "<name>a</name><source><name>../etc</name></source>"),
            "source name '../etc' cannot be a volume group's"
        );
        let cow = "<features><cow state='no'/></features>";
        assert_eq!(
            error("disk", &format!("<name>a</name>{cow}{device}{target}")),
            "cow feature may only be used for 'fs' and 'dir' pools"
        );
    }

    #[test]
    fn a_network_pool_has_no_target_and_a_directory_no_device() {
        let text =
            written("rbd", "<name>r</name><source><host name='h' port='6789'/><name>rbd</name></source>");
        let text = text.unwrap();
        assert!(text.contains("<host name='h' port='6789'/>") && !text.contains("<target>"), "{text}");
        let dir = "<name>d</name><source><device path='/dev/sdb'/></source><target><path>/x</path></target>";
        assert!(!written("dir", dir).unwrap().contains("device"));
    }
}
