//! Which types of pools there are, and what can be said of them, as libvirt's document.

use std::fmt::Write as _;

use lodge_model::storage::PoolKind;

use super::{backend::Backend, shape};
use crate::vol::kind::VolumeFormat;

/// What can be said of a type's volumes.
enum Volumes {
    None,
    /// libvirt's list of file formats.
    Files,
    /// Nothing is listed.
    Raw,
    /// Types of partitions.
    Partitions,
}

/// libvirt's words for partitions' content.
pub(crate) const PARTITIONS: &[&str] =
    &["none", "linux", "fat16", "fat32", "linux-swap", "linux-lvm", "linux-raid", "extended"];

fn volumes(kind: PoolKind) -> Volumes {
    match kind {
        PoolKind::Fs | PoolKind::Netfs | PoolKind::Dir | PoolKind::Gluster | PoolKind::Vstorage => {
            Volumes::Files
        }
        PoolKind::Disk => Volumes::Partitions,
        PoolKind::Rbd => Volumes::Raw,
        PoolKind::Logical
        | PoolKind::Iscsi
        | PoolKind::IscsiDirect
        | PoolKind::Scsi
        | PoolKind::Mpath
        | PoolKind::Sheepdog
        | PoolKind::Zfs => Volumes::None,
    }
}

/// libvirt's `<storagepoolCapabilities>`: which types of pools there are.
pub fn pool_capabilities() -> String {
    let mut text = "<storagepoolCapabilities>\n".to_owned();
    for kind in PoolKind::ALL {
        let supported = if Backend::of(*kind).is_ok() { "yes" } else { "no" };
        let _ = writeln!(text, "  <pool type='{kind}' supported='{supported}'>");
        if let Some(default) = shape::default_format(*kind) {
            options(&mut text, "poolOptions", default, "sourceFormatType", shape::formats(*kind));
        }
        let files: Vec<_> =
            std::iter::once("none").chain(VolumeFormat::ALL.iter().map(|format| format.as_str())).collect();
        match volumes(*kind) {
            Volumes::None => {}
            Volumes::Files => options(&mut text, "volOptions", "raw", "targetFormatType", &files),
            Volumes::Raw => options(&mut text, "volOptions", "raw", "targetFormatType", &[]),
            Volumes::Partitions => {
                options(&mut text, "volOptions", "none", "targetFormatType", PARTITIONS);
            }
        }
        text += "  </pool>\n";
    }
    text + "</storagepoolCapabilities>\n"
}

fn options(text: &mut String, element: &str, default: &str, list: &str, values: &[&str]) {
    // A String takes all.
    let _ = writeln!(
        text,
        "    <{element}>\n      <defaultFormat type='{default}'/>\n      <enum name='{list}'>"
    );
    for value in values {
        let _ = writeln!(text, "        <value>{value}</value>");
    }
    let _ = writeln!(text, "      </enum>\n    </{element}>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_with_a_backend_are_there() {
        let text = pool_capabilities();
        assert!(text.starts_with(
            "<storagepoolCapabilities>\n  <pool type='dir' supported='yes'>\n    <volOptions>\n"
        ));
        assert_eq!(text.matches("supported='yes'").count(), 5);
        assert_eq!(text.matches("<pool ").count(), 14);
        assert_closed(&text);
    }

    /// Each element that is opened is closed.
    fn assert_closed(text: &str) {
        for element in ["pool", "enum", "volOptions", "poolOptions"] {
            let opened =
                text.matches(&format!("<{element} ")).count() + text.matches(&format!("<{element}>")).count();
            assert_eq!(opened, text.matches(&format!("</{element}>")).count(), "{element}");
        }
    }
}
