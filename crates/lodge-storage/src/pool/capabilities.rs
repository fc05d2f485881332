//! Which types of pools there are, and what can be said of them, as libvirt's document.

use std::fmt::Write as _;

use lodge_model::storage::PoolKind;

use crate::vol::kind::VolumeFormat;

/// What libvirt says of a type beside whether it is there.
struct About {
    /// Formats of the source; the first is the default.
    source: &'static [&'static str],
    volumes: Volumes,
}

enum Volumes {
    None,
    /// libvirt's list of file formats.
    Files,
    /// Nothing is listed.
    Raw,
    /// Types of partitions.
    Partitions,
}

const PARTITIONS: &[&str] =
    &["none", "linux", "fat16", "fat32", "linux-swap", "linux-lvm", "linux-raid", "extended"];

fn about(kind: PoolKind) -> About {
    let (source, volumes): (&[&str], Volumes) = match kind {
        PoolKind::Fs => (
            &[
                "auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2", "vfat", "hfs+",
                "xfs", "ocfs2", "vmfs",
            ],
            Volumes::Files,
        ),
        PoolKind::Netfs => (&["auto", "nfs", "glusterfs", "cifs"], Volumes::Files),
        PoolKind::Dir | PoolKind::Gluster | PoolKind::Vstorage => (&[], Volumes::Files),
        PoolKind::Logical => (&["unknown", "lvm2"], Volumes::None),
        PoolKind::Disk => {
            (&["unknown", "dos", "dvh", "gpt", "mac", "bsd", "pc98", "sun", "lvm2"], Volumes::Partitions)
        }
        PoolKind::Rbd => (&[], Volumes::Raw),
        PoolKind::Iscsi
        | PoolKind::IscsiDirect
        | PoolKind::Scsi
        | PoolKind::Mpath
        | PoolKind::Sheepdog
        | PoolKind::Zfs => (&[], Volumes::None),
    };
    About { source, volumes }
}

/// libvirt's `<storagepoolCapabilities>`: which types of pools there are.
pub fn pool_capabilities() -> String {
    let mut text = "<storagepoolCapabilities>\n".to_owned();
    for kind in PoolKind::ALL {
        let supported = if *kind == PoolKind::Dir { "yes" } else { "no" };
        let _ = writeln!(text, "  <pool type='{kind}' supported='{supported}'>");
        let About { source, volumes } = about(*kind);
        if let Some(first) = source.first() {
            let default = if *kind == PoolKind::Logical { "lvm2" } else { first };
            options(&mut text, "poolOptions", default, "sourceFormatType", source);
        }
        let files: Vec<_> =
            std::iter::once("none").chain(VolumeFormat::ALL.iter().map(|format| format.as_str())).collect();
        match volumes {
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
    fn only_directories_are_there() {
        let text = pool_capabilities();
        assert!(text.starts_with(
            "<storagepoolCapabilities>\n  <pool type='dir' supported='yes'>\n    <volOptions>\n"
        ));
        assert_eq!(text.matches("supported='yes'").count(), 1);
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
