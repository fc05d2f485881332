//! `<audio>`: where the sound of the guest's cards goes, in the words of QEMU's `-audiodev`.
//!
//! What it needs of the host (a sound server's socket, a device) is the document's matter: QEMU reports what it cannot
//! open when it starts.

use lodge_model::domain::graphics::{Audio, AudioKind};
use lodge_model::xml::Kept;

use super::builder::Builder;
use super::props::Props;

/// A property of QEMU's, the document's attribute for it, and what it is.
type Word = (&'static str, &'static str, Sort);

/// What an attribute holds.
#[derive(Clone, Copy)]
enum Sort {
    Text,
    Number,
    Yes,
}
use Sort::{Number, Text, Yes};

/// What both directions of every back end have.
const COMMON: [Word; 4] = [
    ("mixing-engine", "mixingEngine", Yes),
    ("fixed-settings", "fixedSettings", Yes),
    ("voices", "voices", Number),
    ("buffer-length", "bufferLength", Number),
];

/// `<settings frequency='44100' channels='2' format='s16'/>`.
const SETTINGS: [Word; 3] =
    [("frequency", "frequency", Number), ("channels", "channels", Number), ("format", "format", Text)];

/// What one direction of a back end has besides.
fn words(kind: AudioKind) -> &'static [Word] {
    match kind {
        AudioKind::Alsa => &[("dev", "dev", Text)],
        AudioKind::CoreAudio | AudioKind::Sdl => &[("buffer-count", "bufferCount", Number)],
        AudioKind::Jack => &[
            ("server-name", "serverName", Text),
            ("client-name", "clientName", Text),
            ("connect-ports", "connectPorts", Text),
            ("exact-name", "exactName", Yes),
        ],
        AudioKind::Oss => {
            &[("dev", "dev", Text), ("buffer-count", "bufferCount", Number), ("try-poll", "tryPoll", Yes)]
        }
        AudioKind::PulseAudio | AudioKind::Pipewire => {
            &[("name", "name", Text), ("stream-name", "streamName", Text), ("latency", "latency", Number)]
        }
        AudioKind::None | AudioKind::Spice | AudioKind::File | AudioKind::Dbus => &[],
    }
}

/// All of them; without any, the one that cards and screens refer to.
pub(super) fn audios(b: &mut Builder<'_>) {
    let spice = super::screen::serves_spice(b);
    let devices = &b.domain.devices;
    if devices.audios.is_empty() {
        if devices.sounds.is_empty() && devices.graphics.is_empty() {
            return;
        }
        // Of the first that needs it.
        b.at_device(if devices.graphics.is_empty() { "sound" } else { "graphics" }, 0);
        let driver = if spice { "spice" } else { "none" };
        return b.json("-audiodev", &Props::plain().with("id", "audio1").with("driver", driver));
    }
    for (at, audio) in devices.audios.iter().enumerate() {
        b.at_device("audio", at);
        one(b, audio, spice);
    }
}

fn one(b: &mut Builder<'_>, audio: &Audio, spice: bool) {
    let driver = match audio.kind {
        AudioKind::Spice if !spice => {
            b.warn("no sound: it goes over SPICE, which this guest's screen does not have here");
            "none"
        }
        AudioKind::PulseAudio => "pa",
        AudioKind::File => "wav",
        kind => kind.as_str(),
    };
    let own = &audio.foreign;
    let props = Props::plain()
        .with("id", format!("audio{}", audio.id))
        .with("driver", driver)
        .maybe("timer-period", audio.timer_period_us);
    let props = match audio.kind {
        AudioKind::File => props.maybe("path", audio.path.as_deref()),
        AudioKind::PulseAudio => props.maybe("server", own.attribute("serverName")),
        AudioKind::Oss => {
            let all = [
                ("try-mmap", "tryMMap", Yes),
                ("exclusive", "exclusive", Yes),
                ("dsp-policy", "dspPolicy", Number),
            ];
            with_words(b, props, &all, |name| own.attribute(name))
        }
        _ => props,
    };
    match audio.kind {
        AudioKind::Sdl => set_env(b, "SDL_AUDIODRIVER", own.attribute("driver")),
        AudioKind::Pipewire => set_env(b, "PIPEWIRE_RUNTIME_DIR", own.attribute("runtimeDir")),
        _ => {}
    }
    let props = direction(b, props, "in", own.tree("input").as_ref(), audio.kind);
    let props = direction(b, props, "out", own.tree("output").as_ref(), audio.kind);
    b.json("-audiodev", &props);
}

fn set_env(b: &mut Builder<'_>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        b.env(name, value);
    }
}

/// `<input>` or `<output>`.
fn direction(b: &mut Builder<'_>, props: Props, name: &str, tree: Option<&Kept>, kind: AudioKind) -> Props {
    let Some(tree) = tree else { return props };
    let of_tree = |name: &str| tree.attribute(name);
    let inner = with_words(b, Props::plain(), &COMMON, of_tree);
    let inner = match tree.child("settings") {
        Some(settings) => with_words(b, inner, &SETTINGS, |name| settings.attribute(name)),
        None => inner,
    };
    let inner = with_words(b, inner, words(kind), of_tree);
    if inner.is_empty() { props } else { props.nested(name, &inner) }
}

/// The properties with those that the document gives; what it gives in no form they have is refused.
fn with_words<'a>(
    b: &mut Builder<'_>,
    props: Props,
    words: &[Word],
    value_of: impl Fn(&str) -> Option<&'a str>,
) -> Props {
    words.iter().fold(props, |props, (property, name, sort)| {
        let Some(text) = value_of(name) else { return props };
        match sort {
            Text => return props.with(property, text),
            Number => {
                if let Ok(number) = text.parse::<u32>() {
                    return props.with(property, number);
                }
            }
            Yes if matches!(text, "yes" | "no") => return props.with(property, text == "yes"),
            Yes => {}
        }
        b.refuse(format!("{name}='{text}' makes no sense"));
        props
    })
}
