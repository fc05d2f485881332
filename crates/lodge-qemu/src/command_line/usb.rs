//! USB: controllers, hubs, and devices sent over from a viewer.

use lodge_model::domain::chardev::{CharKind, Redirdev};
use lodge_model::domain::controller::Controller;
use lodge_model::domain::redirfilter::{Redirfilter, RedirfilterDevice, UsbVersion};

use super::builder::{Builder, Family, alias};
use super::props::Props;
use super::stream::{Stream, back_end};

/// A USB controller.
pub(super) fn controller(b: &mut Builder<'_>, controller: &Controller) {
    let usual = if b.family == Family::I440fx { "piix3-uhci" } else { "qemu-xhci" };
    let model = controller.model.as_deref().unwrap_or(usual);
    let name = match model {
        "none" => return,
        "qemu-xhci" => "qemu-xhci",
        "nec-xhci" => "nec-usb-xhci",
        "ehci" => "usb-ehci",
        "ich9-ehci1" => "ich9-usb-ehci1",
        "ich9-uhci1" => "ich9-usb-uhci1",
        "ich9-uhci2" => "ich9-usb-uhci2",
        "ich9-uhci3" => "ich9-usb-uhci3",
        "piix3-uhci" => "piix3-usb-uhci",
        "piix4-uhci" => "piix4-usb-uhci",
        "vt82c686b-uhci" => "vt82c686b-usb-uhci",
        "pci-ohci" => "pci-ohci",
        _ => return b.refuse(format!("USB controllers of model '{model}' are not supported")),
    };
    let mut props = Props::driver(name);
    if name.ends_with("xhci") {
        props = props.maybe("p2", controller.ports).maybe("p3", controller.ports);
    } else if controller.ports.is_some() {
        b.refuse(format!("the number of ports of model '{model}' is fixed"));
    }
    let id = alias(&controller.place);
    props = match &controller.place.master {
        // A companion is reached through its master and has no name of its own.
        Some(master) => props.with("masterbus", format!("{id}.0")).with("firstport", master.start_port),
        None => props.with("id", id),
    };
    let props = b.pci(props, &controller.place);
    b.device(name, &props);
}

/// `<hub>`.
pub(super) fn hubs(b: &mut Builder<'_>) {
    for (at, hub) in b.domain.devices.hubs.iter().enumerate() {
        b.at_device("hub", at);
        let props = b.usb(Props::driver("usb-hub").with("id", alias(&hub.place)), &hub.place);
        b.device("usb-hub", &props);
    }
}

/// `<redirdev>`.
pub(super) fn redirections(b: &mut Builder<'_>) {
    for (at, redirdev) in b.domain.devices.redirdevs.iter().enumerate() {
        b.at_device("redirdev", at);
        redirection(b, redirdev);
    }
}

fn redirection(b: &mut Builder<'_>, redirdev: &Redirdev) {
    let id = alias(&redirdev.place);
    match redirdev.kind {
        CharKind::SpiceVmc if !super::screen::serves_spice(b) => {
            return b.warn("left out: it comes over SPICE, which this guest's screen does not have here");
        }
        CharKind::SpiceVmc => b.arg("-chardev", format!("spicevmc,id=char{id},name=usbredir")),
        kind => {
            let (sources, protocol) = (&redirdev.sources, redirdev.protocol.as_ref());
            if !back_end(b, &Stream { id, kind, sources, protocol, log: None }) {
                return;
            }
        }
    }
    let props = Props::driver("usb-redir")
        .with("chardev", format!("char{id}"))
        .with("id", id)
        .maybe("filter", filter(&b.domain.devices.redirfilter));
    let props =
        b.usb(props, &redirdev.place).maybe("bootindex", redirdev.place.boot.as_ref().map(|boot| boot.order));
    b.device("usb-redir", &props);
}

/// The rules of `<redirfilter>` as usbredir reads them: class:vendor:product:version:allow, apart by `|`.
fn filter(filter: &Redirfilter) -> Option<String> {
    let rule = |device: &RedirfilterDevice| {
        let code = |number: Option<u16>, digits: usize| match number {
            Some(number) => format!("0x{number:0digits$X}"),
            None => "-1".to_owned(),
        };
        format!(
            "{}:{}:{}:{}:{}",
            code(device.class.and_then(|code| code.0), 2),
            code(device.vendor.and_then(|code| code.0), 4),
            code(device.product.and_then(|code| code.0), 4),
            code(device.version.and_then(UsbVersion::bcd), 4),
            u8::from(device.allow.is_yes()),
        )
    };
    let rules: Vec<_> = filter.devices.iter().map(rule).collect();
    (!rules.is_empty()).then(|| rules.join("|"))
}
