//! What a client is told when a call did not happen: libvirt's number, part and words.
//!
//! Clients branch on the number, people and test suites read the words; both are as libvirtd 11.3 has them. The
//! words around the text come with the [`Code`]. Deliberately absent: deciding what went wrong (the engine's).

mod code;
pub(crate) mod domain;
mod from;
mod origin;

use lodge_wire::packet::ErrorBody;

pub use code::Code;
pub(crate) use from::{other_root, whole};
pub use origin::Origin;

/// `VIR_ERR_ERROR`.
const LEVEL_ERROR: i32 = 2;

/// A refused or failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    code: Code,
    origin: Origin,
    text: String,
    /// The text stands alone, without what libvirt writes around it.
    bare: bool,
    /// What stands in the error's strings instead of template and text, which some checks fill otherwise.
    strings: Option<(String, String)>,
    int1: i32,
}

impl Fault {
    /// The error `code` of libvirt's part `origin`; `text` is put into what libvirt writes for that code.
    pub fn new(code: Code, origin: Origin, text: impl Into<String>) -> Self {
        Self { code, origin, text: text.into(), bare: false, strings: None, int1: -1 }
    }

    /// The same with a text that stands alone: libvirt's own checks of arguments write no prefix.
    pub fn bare(code: Code, origin: Origin, text: impl Into<String>) -> Self {
        Self { bare: true, ..Self::new(code, origin, text) }
    }

    /// Sets the error's first two strings, which libvirt fills otherwise in its checks of arguments.
    pub(crate) fn with_strings(self, first: &str, second: &str) -> Self {
        Self { strings: Some((first.to_owned(), second.to_owned())), int1: 0, ..self }
    }

    /// `VIR_ERR_INTERNAL_ERROR`.
    pub fn internal(origin: Origin, text: impl Into<String>) -> Self {
        Self::new(Code::InternalError, origin, text)
    }

    /// An error of the protocol itself; its text stands alone.
    pub(crate) fn rpc(text: impl Into<String>) -> Self {
        Self::new(Code::Rpc, Origin::Rpc, text)
    }

    /// `VIR_ERR_SYSTEM_ERROR`: the text stands alone, the kernel's number goes with it.
    pub fn system(origin: Origin, text: impl Into<String>, errno: i32) -> Self {
        Self { int1: errno, ..Self::new(Code::SystemError, origin, text) }
    }

    /// The error's number.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Whose error it is.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The whole message.
    pub fn message(&self) -> String {
        if self.bare { self.text.clone() } else { self.code.message(&self.text) }
    }

    /// As the wire has it.
    pub(crate) fn body(&self) -> ErrorBody {
        let template = || self.code.template().replace("{}", if self.code.is_bare() { "%s" } else { "%1$s" });
        let (str1, str2) = self.strings.clone().unwrap_or_else(|| (template(), self.text.clone()));
        ErrorBody {
            code: self.code.number(),
            domain: self.origin.number(),
            message: Some(self.message().into()),
            level: LEVEL_ERROR,
            str1: Some(str1.into()),
            str2: Some(str2.into()),
            int1: self.int1,
            int2: if self.int1 == 0 { 0 } else { -1 },
            ..ErrorBody::default()
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for Fault {}
