//! Sound cards.

use lodge_model::domain::graphics::{Sound, SoundModel};
use lodge_model::xml::YesNo;

use super::builder::{Builder, alias};
use super::controller::virtio_options;
use super::props::Props;

/// Every `<sound>`.
pub(super) fn sounds(b: &mut Builder<'_>) {
    for (at, sound) in b.domain.devices.sounds.iter().enumerate() {
        b.at_device("sound", at);
        one(b, sound);
    }
}

fn one(b: &mut Builder<'_>, sound: &Sound) {
    let id = alias(&sound.place);
    let audio = format!("audio{}", sound.audio.as_ref().map_or(1, |audio| audio.id));
    let name = match sound.model {
        // A property of the machine, see `machine`.
        SoundModel::PcSpeaker => return,
        SoundModel::Ich6 => "intel-hda",
        SoundModel::Ich9 => "ich9-intel-hda",
        SoundModel::Ac97 => "AC97",
        SoundModel::Es1370 => "ES1370",
        SoundModel::Sb16 => "sb16",
        SoundModel::Usb => "usb-audio",
        SoundModel::Virtio => "virtio-sound-pci",
        SoundModel::Ich7 => return b.refuse("sound of model 'ich7' is not QEMU's"),
    };
    let props = Props::driver(name).with("id", id);
    let props = match sound.model {
        SoundModel::Usb => props.maybe("multi", sound.multi_channel.map(YesNo::is_yes)),
        SoundModel::Virtio => {
            let props = props.maybe("streams", sound.streams);
            virtio_options(props, sound.driver.as_deref().map(|driver| &driver.options))
        }
        _ => props,
    };
    let is_hda = matches!(sound.model, SoundModel::Ich6 | SoundModel::Ich9);
    let props = if is_hda { props } else { props.with("audiodev", audio.as_str()) };
    let props = match sound.model {
        SoundModel::Sb16 => props,
        SoundModel::Usb => b.usb(props, &sound.place),
        _ => b.pci(props, &sound.place),
    };
    b.device(name, &props);
    if is_hda {
        codecs(b, sound, id, &audio);
    }
}

/// An HDA card is nothing without a codec; libvirt's is `duplex`.
fn codecs(b: &mut Builder<'_>, sound: &Sound, id: &str, audio: &str) {
    let kinds: Vec<&str> = match sound.codecs.as_slice() {
        [] => vec!["duplex"],
        codecs => codecs.iter().map(|codec| codec.kind.as_str()).collect(),
    };
    for (number, kind) in kinds.into_iter().enumerate() {
        let name = match kind {
            "duplex" => "hda-duplex",
            "micro" => "hda-micro",
            "output" => "hda-output",
            other => return b.refuse(format!("codec '{other}' is not one of duplex, micro, output")),
        };
        let props = Props::driver(name)
            .with("id", format!("{id}-codec{number}"))
            .with("bus", format!("{id}.0"))
            .with("cad", number)
            .with("audiodev", audio);
        b.device(name, &props);
    }
}
