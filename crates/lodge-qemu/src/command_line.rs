//! A document as QEMU's arguments: a pure function.
//!
//! The layout, the ids and the order are libvirt's, so what people know of `ps` and of QEMU's logs stays true. Each
//! argument remembers the element it came from. What the document asks for and this code or this QEMU cannot give is
//! *refused with the element named*; nothing is ignored silently. Where another thing does the same for the guest
//! (VNC for SPICE, TCG for KVM) it is taken, with a warning.

use lodge_model::Kind;
use lodge_model::domain::Domain;

use crate::capabilities::Capabilities;
use crate::claims::Claims;

/// One argument: an option and its value, and why it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// `-device`.
    pub option: String,
    /// Its value, for those that have one.
    pub value: Option<String>,
    /// The element it came from, as `/domain/devices/disk[1]`; `lodge` for what every guest gets.
    pub element: String,
}

/// Something the user should know, although the guest starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The element.
    pub element: String,
    /// What is otherwise than written, and why.
    pub message: String,
}

/// Something asked for that cannot be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The element.
    pub element: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// All that was refused; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refusals(pub Vec<Refused>);

impl std::fmt::Display for Refusals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, refused) in self.0.iter().enumerate() {
            let gap = if at == 0 { "" } else { "; " };
            write!(f, "{gap}{}: {}", refused.element, refused.reason)?;
        }
        Ok(())
    }
}

impl Refusals {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        Kind::Unsupported
    }

    /// What to do about the first that has a remedy.
    pub fn hint(&self) -> Option<String> {
        self.0.iter().find_map(|refused| refused.hint.clone())
    }
}

/// The arguments of one start, and what is to be told about them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine {
    /// In order.
    pub arguments: Vec<Argument>,
    /// Variables of QEMU's environment.
    pub environment: Vec<(String, String)>,
    /// For the user.
    pub warnings: Vec<Warning>,
}

impl CommandLine {
    /// The words, as exec takes them.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.arguments
            .iter()
            .flat_map(|argument| [Some(argument.option.as_str()), argument.value.as_deref()])
            .flatten()
    }
}

/// Makes the arguments for one start of `domain`.
pub fn command_line(
    domain: &Domain,
    capabilities: &Capabilities,
    claims: &Claims,
) -> Result<CommandLine, Refusals> {
    let _ = (domain, capabilities, claims);
    let reason = "the command line is not written yet".to_owned();
    Err(Refusals(vec![Refused { element: "/domain".to_owned(), reason, hint: None }]))
}
