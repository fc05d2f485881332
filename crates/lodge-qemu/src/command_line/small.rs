//! The small devices: watchdog, balloon, randomness, panic, vsock, generation id, vmcoreinfo.

use lodge_model::domain::devices::{
    Memballoon, MemballoonModel, Panic, PanicModel, Rng, RngModel, RngSource, WatchdogAction, WatchdogModel,
};
use lodge_model::xml::OnOff;

use super::builder::{Builder, Family, alias};
use super::controller::{virtio_name, virtio_options};
use super::props::Props;
use super::stream::{Stream, back_end};

/// `<watchdog>`.
pub(super) fn watchdogs(b: &mut Builder<'_>) {
    for (at, watchdog) in b.domain.devices.watchdogs.iter().enumerate() {
        b.at_device("watchdog", at);
        let id = alias(&watchdog.place);
        match watchdog.model {
            WatchdogModel::I6300esb => {
                let props = b.pci(Props::driver("i6300esb").with("id", id), &watchdog.place);
                b.device("i6300esb", &props);
            }
            WatchdogModel::Ib700 => b.device("ib700", &Props::driver("ib700").with("id", id)),
            WatchdogModel::Itco if b.family == Family::Q35 => b.arg("-global", "ICH9-LPC.noreboot=off"),
            WatchdogModel::Itco => b.refuse("watchdog 'itco' is part of machine q35"),
            WatchdogModel::Diag288 => b.refuse("watchdog 'diag288' is not a PC's"),
        }
        let action = match watchdog.action {
            // libvirt does it itself: the guest stands still for the dump.
            WatchdogAction::Dump => "pause",
            action => action.as_str(),
        };
        b.arg("-action", format!("watchdog={action}"));
    }
}

/// All the others, in libvirt's order.
pub(super) fn others(b: &mut Builder<'_>) {
    if let Some(balloon) = b.domain.devices.memballoon.as_deref() {
        b.at("/domain/devices/memballoon");
        self::balloon(b, balloon);
    }
    for (at, rng) in b.domain.devices.rngs.iter().enumerate() {
        b.at_device("rng", at);
        self::rng(b, rng);
    }
    if b.domain
        .features
        .as_deref()
        .and_then(|features| features.vmcoreinfo.as_ref())
        .is_some_and(|on| on.state.is_on())
    {
        b.at("/domain/features/vmcoreinfo");
        b.device("vmcoreinfo", &Props::driver("vmcoreinfo"));
    }
    if let Some(genid) = &b.domain.genid {
        b.at("/domain/genid");
        let guid = genid.uuid.as_deref().unwrap_or("auto");
        b.device("vmgenid", &Props::driver("vmgenid").with("guid", guid).with("id", "vmgenid0"));
    }
    for (at, panic) in b.domain.devices.panics.iter().enumerate() {
        b.at_device("panic", at);
        self::panic(b, panic);
    }
    if b.domain.devices.vsock.is_some() {
        b.at("/domain/devices/vsock");
        vsock(b);
    }
}

fn balloon(b: &mut Builder<'_>, balloon: &Memballoon) {
    let name = match balloon.model {
        MemballoonModel::None => return,
        MemballoonModel::Xen => return b.refuse("a balloon of model 'xen' is not QEMU's"),
        model => virtio_name("virtio-balloon-pci", Some(model.as_str())),
    };
    let id = alias(&balloon.place);
    let props = Props::driver(&name)
        .with("id", id)
        .maybe("deflate-on-oom", balloon.autodeflate.map(OnOff::is_on))
        .maybe("free-page-reporting", balloon.free_page_reporting.map(OnOff::is_on));
    let props = virtio_options(props, balloon.driver.as_deref().map(|driver| &driver.options));
    let props = b.pci(props, &balloon.place);
    b.device(&name, &props);
    if let Some(stats) = balloon.stats.as_ref().filter(|stats| stats.period_s > 0) {
        let path = format!("/machine/peripheral/{id}");
        let property = "guest-stats-polling-interval";
        b.command(
            "qom-set",
            serde_json::json!({ "path": path, "property": property, "value": stats.period_s }),
        );
    }
}

fn rng(b: &mut Builder<'_>, rng: &Rng) {
    let id = alias(&rng.place);
    let object = match rng.backend.model {
        RngSource::Random => Props::object("rng-random", &format!("obj{id}"))
            .with("filename", rng.backend.path.as_deref().unwrap_or("/dev/urandom")),
        RngSource::Builtin => Props::object("rng-builtin", &format!("obj{id}")),
        RngSource::Egd => {
            let Some(kind) = rng.backend.kind else { return b.refuse("model='egd' needs a type") };
            let (sources, protocol) = (&rng.backend.sources, rng.backend.protocol.as_ref());
            if !back_end(b, &Stream { id, kind, sources, protocol, log: None }) {
                return;
            }
            Props::object("rng-egd", &format!("obj{id}")).with("chardev", format!("char{id}"))
        }
    };
    b.json("-object", &object);
    let name = virtio_name("virtio-rng-pci", Some(rng.model.as_str()));
    let mut props = Props::driver(&name).with("rng", format!("obj{id}")).with("id", id);
    if let Some(rate) = rng.rate.as_ref().filter(|rate| rate.bytes > 0) {
        props = props.with("max-bytes", rate.bytes).with("period", rate.period_ms.unwrap_or(1000));
    }
    let props = virtio_options(props, rng.driver.as_deref().map(|driver| &driver.options));
    let props = b.pci(props, &rng.place);
    b.device(&name, &props);
}

fn panic(b: &mut Builder<'_>, panic: &Panic) {
    let id = alias(&panic.place);
    match panic.model.unwrap_or(PanicModel::Isa) {
        PanicModel::Isa => {
            b.device("pvpanic", &Props::driver("pvpanic").with("id", id).with("ioport", 0x505));
        }
        PanicModel::Pvpanic => {
            let props = b.pci(Props::driver("pvpanic-pci").with("id", id), &panic.place);
            b.device("pvpanic-pci", &props);
        }
        // A word of the processor's, see `cpu`.
        PanicModel::Hyperv => {}
        model => b.refuse(format!("panic devices of model '{model}' are not a PC's")),
    }
}

fn vsock(b: &mut Builder<'_>) {
    let Some(vsock) = b.domain.devices.vsock.as_deref() else { return };
    let Some((fd, cid)) = b.claims.vsock else {
        return b.refuse("this host has no vhost-vsock, or no number was chosen for the guest");
    };
    let model = vsock.model.map_or("virtio", RngModel::as_str);
    let name = virtio_name("vhost-vsock-pci", Some(model));
    let props = Props::driver(&name)
        .with("id", alias(&vsock.place))
        .with("guest-cid", cid)
        .with("vhostfd", fd.to_string());
    let props = virtio_options(props, vsock.driver.as_deref().map(|driver| &driver.options));
    let props = b.pci(props, &vsock.place);
    b.device(&name, &props);
}
