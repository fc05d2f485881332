//! What is known of a procedure beside its arguments: who may call it, when, and what flows with it.

use crate::xdr::Xdr;

/// A procedure that a client calls.
pub trait Call {
    /// What it is given.
    type Args: Xdr;
    /// What it answers.
    type Ret: Xdr;
    /// Its row of the table.
    const FACTS: &'static Facts;

    /// The arguments' `flags`, on which some rules depend; 0 where there are none.
    fn flags(_args: &Self::Args) -> u32 {
        0
    }

    /// The argument of that name, where a rule depends on one.
    fn parameter(_args: &Self::Args, _name: &str) -> Option<u32> {
        None
    }

    /// Whether a connection that may only look may make this call, by libvirt's rule: all that is needed is to see,
    /// to read or to search.
    fn only_looks(args: &Self::Args) -> bool {
        let holds = |when: When| match when {
            When::Always => true,
            When::Flag(mask) => Self::flags(args) & mask != 0,
            When::NoFlag(mask) => Self::flags(args) & mask == 0,
            When::Parameter(name, value) => Self::parameter(args, name) == Some(value),
        };
        Self::FACTS.acl.iter().filter(|rule| holds(rule.when)).all(Acl::only_looks)
    }
}

/// A message that the server sends without being asked.
pub trait Event: Xdr {
    /// Its row of the table.
    const FACTS: &'static Facts;
}

/// A row of the table of procedures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// libvirt's name without the program's prefix: `CONNECT_OPEN`.
    pub name: &'static str,
    /// The program it belongs to.
    pub program: u32,
    /// The program's version.
    pub version: u32,
    /// Its number in the program.
    pub number: i32,
    /// Who sends it.
    pub kind: ProcedureKind,
    /// It must not wait behind calls that can be slow.
    pub high_priority: bool,
    /// It may be called before login.
    pub before_login: bool,
    /// What the caller must be allowed; all of them.
    pub acl: &'static [Acl],
    /// The stream it opens.
    pub stream: Option<Direction>,
    /// The flag by which the client asks for holes in that stream.
    pub sparse_flag: u32,
    /// Descriptors may come with the call.
    pub fds_in: bool,
    /// Descriptors may go with the reply.
    pub fds_out: bool,
}

/// Who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcedureKind {
    /// The client, and the server answers.
    Call,
    /// The server, unasked.
    Event,
}

/// Which of a procedure's payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What a call is given.
    Args,
    /// What it answers.
    Ret,
    /// What an event says.
    Message,
}

/// Which way a stream flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    In,
    /// To the client.
    Out,
    /// Both ways.
    Both,
}

/// One permission that a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acl {
    /// On which sort of object.
    pub object: &'static str,
    /// libvirt's word for the permission.
    pub permission: &'static str,
    /// Under which condition.
    pub when: When,
}

impl Acl {
    /// Whether it changes nothing and tells no secret.
    pub fn only_looks(&self) -> bool {
        matches!(self.permission, "getattr" | "read") || self.permission.starts_with("search_")
    }
}

/// When a permission is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At every call.
    Always,
    /// If one of these flags is given.
    Flag(u32),
    /// If none of these flags is given.
    NoFlag(u32),
    /// If the argument has this value.
    Parameter(&'static str, u32),
}
