//! Tablets, mice and keyboards.

use lodge_model::domain::graphics::{Grab, GrabToggle, Input, InputBus, InputKind};
use lodge_model::xml::OnOff;

use super::builder::{Builder, alias};
use super::controller::{virtio_name, virtio_options};
use super::props::Props;

/// The host's event device, as QEMU opens it: by a name, of a node that its user may open.
fn node(b: &mut Builder<'_>, input: &Input) -> Option<String> {
    let Some(fd) = b.claims.inputs.get(alias(&input.place)) else {
        b.refuse("the host's event device was not opened");
        return None;
    };
    Some(format!("/proc/self/fd/{fd}"))
}

/// What the host's keyboard or mouse says goes to the guest's own.
fn evdev(b: &mut Builder<'_>, input: &Input) {
    let (Some(node), Some(source)) = (node(b, input), input.source.as_deref()) else { return };
    let object = Props::object("input-linux", alias(&input.place))
        .with("evdev", node)
        .maybe("repeat", source.repeat.map(OnOff::is_on))
        .maybe("grab_all", source.grab.map(|Grab::All| true))
        .maybe("grab-toggle", source.grab_toggle.map(GrabToggle::as_str));
    b.json("-object", &object);
}

/// The host's event device as a device of the guest's.
fn passthrough(b: &mut Builder<'_>, input: &Input) {
    let Some(node) = node(b, input) else { return };
    let name = virtio_name("virtio-input-host-pci", input.model.as_deref());
    let props = Props::driver(&name).with("id", alias(&input.place)).with("evdev", node);
    let props = virtio_options(props, input.driver.as_deref().map(|driver| &driver.options));
    let props = b.pci(props, &input.place);
    b.device(&name, &props);
}

/// Every `<input>`.
pub(super) fn inputs(b: &mut Builder<'_>) {
    super::usb::hubs(b);
    for (at, input) in b.domain.devices.inputs.iter().enumerate() {
        b.at_device("input", at);
        let id = alias(&input.place);
        let usual = match input.kind {
            InputKind::Tablet => InputBus::Usb,
            InputKind::Passthrough => InputBus::Virtio,
            InputKind::Mouse | InputKind::Keyboard | InputKind::Evdev => InputBus::Ps2,
        };
        match (input.bus.unwrap_or(usual), input.kind) {
            (_, InputKind::Evdev) => evdev(b, input),
            (InputBus::Virtio, InputKind::Passthrough) => passthrough(b, input),
            (bus, InputKind::Passthrough) => {
                b.refuse(format!("an event device on bus '{bus}' is not possible"));
            }
            // A PC has both of them anyway.
            (InputBus::Ps2, InputKind::Mouse | InputKind::Keyboard) => {}
            (InputBus::Usb, kind) => {
                let name = format!("usb-{}", if kind == InputKind::Keyboard { "kbd" } else { kind.as_str() });
                let props = b.usb(Props::driver(&name).with("id", id), &input.place);
                b.device(&name, &props);
            }
            (InputBus::Virtio, kind) => {
                let name = virtio_name(&format!("virtio-{kind}-pci"), input.model.as_deref());
                let props = Props::driver(&name).with("id", id);
                let props = virtio_options(props, input.driver.as_deref().map(|driver| &driver.options));
                let props = b.pci(props, &input.place);
                b.device(&name, &props);
            }
            (bus, kind) => b.refuse(format!("a {kind} on bus '{bus}' is not supported")),
        }
    }
}
