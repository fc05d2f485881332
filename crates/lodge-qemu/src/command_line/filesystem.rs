//! `<filesystem>`: 9p, which QEMU serves itself; virtiofs, over the socket of its server; MTP over USB.

use lodge_model::domain::filesystem::{
    AccessMode, Filesystem, FilesystemDriverKind, FilesystemKind, FilesystemModel, Multidevs, WritePolicy,
};

use super::builder::{Builder, alias};
use super::controller::{virtio_name, virtio_options};
use super::props::{Props, escaped};

/// All of them.
pub(super) fn filesystems(b: &mut Builder<'_>) {
    for (at, filesystem) in b.domain.devices.filesystems.iter().enumerate() {
        b.at_device("filesystem", at);
        if filesystem.kind != FilesystemKind::Mount {
            b.refuse(format!("filesystems of type '{}' are not QEMU's; 'mount' is", filesystem.kind));
            continue;
        }
        match filesystem.served_by() {
            FilesystemDriverKind::Default | FilesystemDriverKind::Path => nine_p(b, filesystem),
            FilesystemDriverKind::Virtiofs => virtiofs(b, filesystem),
            FilesystemDriverKind::Mtp => mtp(b, filesystem),
            FilesystemDriverKind::Handle => {
                b.refuse_hinted("QEMU has no file systems of type 'handle' any more", "use type='path'");
            }
            kind => b.refuse(format!("filesystems served by '{kind}' are not QEMU's")),
        }
    }
}

fn nine_p(b: &mut Builder<'_>, filesystem: &Filesystem) {
    let id = alias(&filesystem.place);
    let Some(directory) = filesystem.directory() else {
        return b.refuse("<source dir='…'/> is missing");
    };
    let model = match filesystem.access_mode.unwrap_or_default() {
        AccessMode::Mapped => "mapped",
        AccessMode::Passthrough => "passthrough",
        AccessMode::Squash => "none",
    };
    let mut text = format!("local,security_model={model}");
    if let Some(multidevs) = filesystem.multidevs.filter(|multidevs| *multidevs != Multidevs::Default) {
        text += &format!(",multidevs={multidevs}");
    }
    for (name, mode) in [("fmode", filesystem.file_mode), ("dmode", filesystem.directory_mode)] {
        if let Some(mode) = mode {
            text += &format!(",{name}={:04o}", mode.0);
        }
    }
    if filesystem.driver.write_policy == Some(WritePolicy::Immediate) {
        text += ",writeout=immediate";
    }
    text += &format!(",id=fsdev-{id},path={}", escaped(directory));
    if filesystem.read_only {
        text += ",readonly=on";
    }
    b.arg("-fsdev", text);
    let name = virtio_name("virtio-9p-pci", filesystem.model.map(FilesystemModel::as_str));
    let props = virtio_options(Props::driver(&name), Some(&filesystem.driver.virtio));
    let props = props
        .with("id", id)
        .with("fsdev", format!("fsdev-{id}"))
        .with("mount_tag", filesystem.tag().unwrap_or_default());
    let props = b.pci(props, &filesystem.place);
    b.device(&name, &props);
}

fn virtiofs(b: &mut Builder<'_>, filesystem: &Filesystem) {
    let id = alias(&filesystem.place);
    let server = match (b.claims.helpers.get(id), filesystem.socket()) {
        (Some(fd), _) => format!("fd={fd}"),
        (None, Some(path)) => format!("path={}", escaped(path)),
        (None, None) => {
            return b.refuse("its server, virtiofsd, was not started");
        }
    };
    b.arg("-chardev", format!("socket,id=chr-vu-{id},{server}"));
    let props = virtio_options(Props::driver("vhost-user-fs-pci"), Some(&filesystem.driver.virtio));
    let props = props
        .with("id", id)
        .with("chardev", format!("chr-vu-{id}"))
        .maybe("queue-size", filesystem.driver.queue)
        .with("tag", filesystem.tag().unwrap_or_default())
        .maybe("bootindex", filesystem.place.boot.as_ref().map(|boot| boot.order));
    let props = b.pci(props, &filesystem.place);
    b.device("vhost-user-fs-pci", &props);
}

fn mtp(b: &mut Builder<'_>, filesystem: &Filesystem) {
    let Some(directory) = filesystem.directory() else {
        return b.refuse("<source dir='…'/> is missing");
    };
    let props = Props::driver("usb-mtp")
        .with("id", alias(&filesystem.place))
        .with("rootdir", directory)
        .with("desc", filesystem.tag().unwrap_or_default())
        .with("readonly", filesystem.read_only);
    let props = b.usb(props, &filesystem.place);
    b.device("usb-mtp", &props);
}
