//! `lodge explain`: which element of a domain's document became which argument of QEMU's.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The arguments of one QEMU, each with the element it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplanationView {
    /// The domain's name.
    #[schema(example = "web1")]
    pub name: String,
    /// The process whose arguments these are; absent where they are those of the next start, in which the numbers of
    /// descriptors and the ports that nobody fixed are stand-ins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The program.
    #[schema(example = "/usr/bin/qemu-system-x86_64")]
    pub emulator: String,
    /// In QEMU's order.
    pub arguments: Vec<ExplainedArgument>,
    /// Variables of QEMU's environment that the document asks for, as `NAME=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// What is said to QEMU's monitor before the guest's processors run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<ExplainedCommand>,
    /// Elements that became nothing of QEMU's, and why.
    pub without: Vec<ElementWithout>,
    /// What is otherwise than written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One argument.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedArgument {
    /// The element it comes from; `lodge`: every guest gets it; `unknown`: this daemon would not give it (another
    /// version or libvirt started the guest).
    #[schema(example = "/domain/devices/disk[1]")]
    pub element: String,
    /// The alias of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "virtio-disk0")]
    pub alias: Option<String>,
    /// The option.
    #[schema(example = "-device")]
    pub option: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// One monitor command; its arguments may be secret and are not told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedCommand {
    /// The element it comes from.
    pub element: String,
    /// The command.
    #[schema(example = "set_link")]
    pub command: String,
}

/// An element that became nothing of QEMU's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ElementWithout {
    /// It.
    #[schema(example = "/domain/title")]
    pub element: String,
    /// The alias of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Why, or where its effect is.
    #[schema(example = "kept for people and programs")]
    pub reason: String,
}
