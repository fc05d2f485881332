//! QEMU's own events, of the QEMU program, and how a callback chooses among them.

use lodge_engine::{Engine, MonitorEvent};
use lodge_wire::{Text, qemu, remote};
use regex::bytes::{Regex, RegexBuilder};

use super::{Class, Subject, Told};
use crate::fault::{Code, Fault, Origin};
use crate::limits::REGEX_BYTES_MAX;

/// Which events by their name.
#[derive(Debug)]
pub(crate) enum Names {
    /// This one.
    Exactly(Text),
    /// This one, whatever its case.
    AnyCase(Text),
    /// Those that it fits.
    Matching(Regex),
}

impl Names {
    /// A regular expression, as a client gave it.
    pub fn matching(pattern: &Text, any_case: bool) -> Result<Self, Fault> {
        let text = pattern.to_string_lossy();
        let mut builder = RegexBuilder::new(&text);
        let built = builder.case_insensitive(any_case).size_limit(REGEX_BYTES_MAX).build();
        built.map(Self::Matching).map_err(|_| {
            Fault::new(Code::InvalidArg, Origin::Qemu, format!("failed to compile regex {text}"))
        })
    }

    /// Whether an event of this name is meant.
    pub fn admit(&self, name: &[u8]) -> bool {
        match self {
            Self::Exactly(wanted) => wanted.as_bytes() == name,
            Self::AnyCase(wanted) => wanted.as_bytes().eq_ignore_ascii_case(name),
            Self::Matching(regex) => regex.is_match(name),
        }
    }
}

/// The message that says what QEMU said.
pub(crate) fn messages(_: &Engine, told: &MonitorEvent) -> Vec<Told> {
    let uuid = *told.domain.0.as_bytes();
    let id = told.domid.and_then(|id| i32::try_from(id).ok()).unwrap_or(-1);
    let at = told.event.timestamp;
    let name = Text::from(told.event.name.as_str());
    let message = qemu::DomainMonitorEventMsg {
        callback_id: 0,
        dom: remote::Domain { name: (&*told.name).into(), uuid, id },
        event: name.clone(),
        seconds: at.map_or(-1, |at| at.seconds),
        micros: at.and_then(|at| u32::try_from(at.microseconds).ok()).unwrap_or(0),
        details: told.event.text.as_deref().map(Text::from),
    };
    let made = Told::new(Class::Monitor, 0, Subject::Uuid(uuid), &message);
    made.map(|made| Told { monitor: Some(name), ..made }).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_chosen_as_asked() {
        let matching = |pattern: &str, any_case| Names::matching(&pattern.into(), any_case);
        assert!(
            Names::Exactly("STOP".into()).admit(b"STOP") && !Names::Exactly("STOP".into()).admit(b"stop")
        );
        assert!(Names::AnyCase("stop".into()).admit(b"STOP"));
        assert!(matching("^(ST|RES)", false).unwrap().admit(b"RESUME"));
        assert!(
            !matching("res", false).unwrap().admit(b"RESUME")
                && matching("res", true).unwrap().admit(b"RESUME")
        );
        assert!(matching("(", false).is_err());
        assert!(matching("((((a{100}){100}){100}){100})", false).is_err());
    }
}
