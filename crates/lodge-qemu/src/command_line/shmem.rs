//! `<shmem>`: memory that guests share by its name, plain or with doorbells rung over a server.

use lodge_model::domain::shmem::{Shmem, ShmemModelKind, ShmemRole};
use lodge_model::xml::OnOff;

use super::builder::{Builder, alias};
use super::props::{Props, escaped};

/// What a plain one has when no size is said, as libvirt completes it.
const BYTES: u64 = 4 << 20;

/// All of them.
pub(super) fn shmems(b: &mut Builder<'_>) {
    for (at, shmem) in b.domain.devices.shmems.iter().enumerate() {
        b.at_device("shmem", at);
        self::shmem(b, shmem);
    }
}

fn shmem(b: &mut Builder<'_>, shmem: &Shmem) {
    let id = alias(&shmem.place);
    let kind = shmem.kind();
    let mut props = Props::driver(kind.as_str()).with("id", id);
    match kind {
        ShmemModelKind::Ivshmem => return b.refuse("ivshmem device is no longer supported"),
        ShmemModelKind::Plain => {
            let size = shmem.size.as_ref().map_or(BYTES, |size| size.size.0);
            let object = Props::object("memory-backend-file", &format!("shmmem-{id}"))
                .with("mem-path", format!("/dev/shm/{}", shmem.name))
                .with("size", size)
                .with("share", true);
            b.json("-object", &object);
            props.set("memdev", format!("shmmem-{id}"));
            if let Some(role) = shmem.role {
                props.set("master", OnOff::from(role == ShmemRole::Master).as_str());
            }
        }
        ShmemModelKind::Doorbell => {
            let named = shmem.server.as_ref().and_then(|server| server.path.clone());
            // libvirt's place of those that name none.
            let path = named.unwrap_or_else(|| format!("/var/lib/libvirt/shmem-{}-sock", shmem.name));
            b.arg("-chardev", format!("socket,id=char{id},path={}", escaped(&path)));
            props.set("chardev", format!("char{id}"));
        }
    }
    if let Some(msi) = &shmem.msi {
        props = props.maybe("vectors", msi.vectors).maybe("ioeventfd", msi.ioeventfd.map(OnOff::is_on));
    }
    let props = b.pci(props, &shmem.place);
    b.device(kind.as_str(), &props);
}
