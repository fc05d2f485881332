//! Tablets, mice and keyboards.

use lodge_model::domain::graphics::{InputBus, InputKind};

use super::builder::{Builder, alias};
use super::controller::{virtio_name, virtio_options};
use super::props::Props;

/// Every `<input>`.
pub(super) fn inputs(b: &mut Builder<'_>) {
    super::usb::hubs(b);
    for (at, input) in b.domain.devices.inputs.iter().enumerate() {
        b.at_device("input", at);
        let id = alias(&input.place);
        let usual = if input.kind == InputKind::Tablet { InputBus::Usb } else { InputBus::Ps2 };
        match (input.bus.unwrap_or(usual), input.kind) {
            (_, InputKind::Passthrough | InputKind::Evdev) => {
                b.refuse(format!("inputs of type '{}' are not supported yet", input.kind));
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
