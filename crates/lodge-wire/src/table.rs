//! The macros that the generated tables are written in: one line per field and per procedure there, all code here.

/// How one field is written: as its type says, or in the way and up to the maximum that its line names.
macro_rules! put {
    ($out:ident, $value:expr) => {
        $crate::xdr::Xdr::encode(&$value, $out)?
    };
    ($out:ident, $value:expr, list $max:literal) => {
        $out.list(&$value, $max)?
    };
    ($out:ident, $value:expr, opaque $max:literal) => {
        $out.opaque(&$value, $max)?
    };
    ($out:ident, $value:expr, chars $max:literal) => {
        $out.chars(&$value, $max)?
    };
    ($out:ident, $value:expr, fixed) => {
        $out.fixed(&$value)
    };
    ($out:ident, $value:expr, fixed_chars) => {
        $out.fixed_chars(&$value)
    };
}

/// The reverse of [`put!`].
macro_rules! get {
    ($input:ident) => {
        $crate::xdr::Xdr::decode($input)?
    };
    ($input:ident, list $max:literal) => {
        $input.list($max)?
    };
    ($input:ident, opaque $max:literal) => {
        $input.opaque($max)?
    };
    ($input:ident, chars $max:literal) => {
        $input.chars($max)?
    };
    ($input:ident, fixed) => {
        $input.fixed()?
    };
    ($input:ident, fixed_chars) => {
        $input.fixed_chars()?
    };
}

/// A value that dice make, for the tests.
#[cfg(test)]
macro_rules! throw {
    ($dice:ident) => {
        $crate::dice::Thrown::throw($dice)
    };
    ($dice:ident, list $max:literal) => {
        $dice.list($max)
    };
    ($dice:ident, opaque $max:literal) => {
        $dice.bytes($max)
    };
    ($dice:ident, chars $max:literal) => {
        $dice.bytes($max)
    };
    ($dice:ident, $fixed:ident) => {
        $dice.array()
    };
}

macro_rules! structs {
    ($($name:ident { $($field:ident: $kind:ty $([$($how:tt)+])?,)* })*) => {
        /// Every struct here, made by dice, comes back from its bytes as it was.
        #[cfg(test)]
        pub(crate) fn round_trip(dice: &mut $crate::dice::Dice) {
            $($crate::dice::round_trip::<$name>(dice);)*
        }

        $(#[cfg(test)]
        impl $crate::dice::Thrown for $name {
            #[allow(unused_variables, reason = "a struct may be empty")]
            fn throw(dice: &mut $crate::dice::Dice) -> Self {
                Self { $($field: throw!(dice $(, $($how)+)?),)* }
            }
        })*
        $(
        #[doc = concat!("`", stringify!($name), "` of the table.")]
        #[allow(missing_docs, reason = "libvirt's own field names")]
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name { $(pub $field: $kind,)* }

        impl $crate::xdr::Xdr for $name {
            #[allow(unused_variables, reason = "a struct may be empty")]
            fn encode(&self, out: &mut $crate::xdr::Encoder) -> Result<(), $crate::xdr::XdrError> {
                $(put!(out, self.$field $(, $($how)+)?);)*
                Ok(())
            }

            #[allow(unused_variables, reason = "a struct may be empty")]
            fn decode(input: &mut $crate::xdr::Decoder<'_>) -> Result<Self, $crate::xdr::XdrError> {
                Ok(Self { $($field: get!(input $(, $($how)+)?),)* })
            }
        }
    )*};
}

macro_rules! unions {
    ($($name:ident { $first:literal $first_arm:ident($first_kind:ty), $($number:literal $arm:ident($kind:ty),)* })*) => {$(
        #[doc = concat!("`", stringify!($name), "` of the table.")]
        #[allow(missing_docs, reason = "libvirt's own names")]
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name { $first_arm($first_kind), $($arm($kind),)* }

        impl Default for $name {
            fn default() -> Self {
                Self::$first_arm(Default::default())
            }
        }

        #[cfg(test)]
        impl $crate::dice::Thrown for $name {
            fn throw(dice: &mut $crate::dice::Dice) -> Self {
                let arms = [
                    |dice: &mut $crate::dice::Dice| Self::$first_arm(throw!(dice)),
                    $(|dice: &mut $crate::dice::Dice| Self::$arm(throw!(dice)),)*
                ];
                arms[dice.below(arms.len())](dice)
            }
        }

        impl $crate::xdr::Xdr for $name {
            fn encode(&self, out: &mut $crate::xdr::Encoder) -> Result<(), $crate::xdr::XdrError> {
                match self {
                    Self::$first_arm(value) => { put!(out, $first); put!(out, *value) }
                    $(Self::$arm(value) => { put!(out, $number); put!(out, *value) })*
                }
                Ok(())
            }

            fn decode(input: &mut $crate::xdr::Decoder<'_>) -> Result<Self, $crate::xdr::XdrError> {
                let arm: i32 = get!(input);
                Ok(match arm {
                    $first => Self::$first_arm(get!(input)),
                    $($number => Self::$arm(get!(input)),)*
                    other => return Err($crate::xdr::XdrError::NoSuchArm(other)),
                })
            }
        }
    )*};
}

/// One line per procedure: number, name, arguments and reply (or the event's message), then what is known of it.
macro_rules! procedures {
    (
        program $program:literal version $version:literal;
        calls { $($number:literal $name:ident $text:literal ($args:ty) -> $ret:ty { $($fact:tt)* })* }
        events { $($event_number:literal $event:ident $event_text:literal ($message:ident) { $($event_fact:tt)* })* }
    ) => {
        /// The program's number.
        pub const PROGRAM: u32 = $program;
        /// Its version.
        pub const VERSION: u32 = $version;

        /// Every procedure of the program.
        #[allow(missing_docs, reason = "libvirt's own names")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i32)]
        pub enum Procedure { $($name = $number,)* $($event = $event_number,)* }

        impl Procedure {
            /// All of them; calls first.
            pub const ALL: &'static [Self] = &[$(Self::$name,)* $(Self::$event,)*];

            /// The procedure with this number.
            pub const fn from_number(number: i32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    $($event_number => Some(Self::$event),)*
                    _ => None,
                }
            }

            /// Its number.
            pub const fn number(self) -> i32 {
                self as i32
            }

            /// Its row of the table.
            pub const fn facts(self) -> &'static $crate::Facts {
                match self {
                    $(Self::$name => {
                        const FACTS: $crate::Facts = facts!($text, PROGRAM, VERSION, $number, Call, $($fact)*);
                        &FACTS
                    })*
                    $(Self::$event => {
                        const FACTS: $crate::Facts = facts!($event_text, PROGRAM, VERSION, $event_number, Event, $($event_fact)*);
                        &FACTS
                    })*
                }
            }
        }

        impl Procedure {
            /// Reads a payload and writes it again; none where the procedure has no such part. For tests, fuzzing and
            /// tools that look at conversations: it touches every type of the table.
            pub fn recode(
                self,
                part: $crate::Part,
                payload: &[u8],
            ) -> Option<Result<Vec<u8>, $crate::xdr::XdrError>> {
                use $crate::{Part, xdr::recode};
                Some(match (self, part) {
                    $((Self::$name, Part::Args) => recode::<$args>(payload),
                    (Self::$name, Part::Ret) => recode::<$ret>(payload),)*
                    $((Self::$event, Part::Message) => recode::<$message>(payload),)*
                    _ => return None,
                })
            }
        }

        $(impl $crate::Event for $message {
            const FACTS: &'static $crate::Facts = Procedure::$event.facts();
        })*

        /// A type for each procedure that a client calls.
        pub mod call {
            #[allow(unused_imports, reason = "a program without arguments uses none")]
            use super::*;
            $(
                #[doc = concat!("`", $text, "`")]
                #[derive(Debug, Clone, Copy)]
                pub struct $name;

                impl $crate::Call for $name {
                    type Args = $args;
                    type Ret = $ret;
                    const FACTS: &'static $crate::Facts = Procedure::$name.facts();
                    conditions!($($fact)*);
                }
            )*
        }
    };
}

/// What a line of the table says, over the usual.
macro_rules! facts {
    ($name:literal, $program:expr, $version:expr, $number:literal, $kind:ident, $($key:ident $([$($value:tt)*])?)*) => {{
        #[allow(unused_mut, reason = "most lines say little")]
        let mut facts = $crate::Facts {
            name: $name,
            program: $program,
            version: $version,
            number: $number,
            kind: $crate::ProcedureKind::$kind,
            high_priority: false,
            before_login: false,
            acl: &[],
            stream: None,
            sparse_flag: 0,
            fds_in: false,
            fds_out: false,
        };
        $(fact!(facts, $key $([$($value)*])?);)*
        facts
    }};
}

macro_rules! fact {
    ($facts:ident, high) => { $facts.high_priority = true; };
    ($facts:ident, before_login) => { $facts.before_login = true; };
    ($facts:ident, fds_in) => { $facts.fds_in = true; };
    ($facts:ident, fds_out) => { $facts.fds_out = true; };
    ($facts:ident, stream[$direction:ident]) => { $facts.stream = Some($crate::Direction::$direction); };
    ($facts:ident, sparse[$flag:literal]) => { $facts.sparse_flag = $flag; };
    ($facts:ident, acl[$($object:ident.$permission:ident $(if $when:ident($($condition:tt)*))?),*]) => {
        $facts.acl = &[$($crate::Acl {
            object: stringify!($object),
            permission: stringify!($permission),
            when: condition!($($when($($condition)*))?),
        }),*];
    };
    ($facts:ident, flags) => {};
    ($facts:ident, parameter[$name:ident]) => {};
}

macro_rules! condition {
    () => {
        $crate::When::Always
    };
    (flag($mask:literal)) => {
        $crate::When::Flag($mask)
    };
    (no_flag($mask:literal)) => {
        $crate::When::NoFlag($mask)
    };
    (parameter($name:literal, $value:literal)) => {
        $crate::When::Parameter($name, $value)
    };
}

/// How the arguments are asked for what a rule depends on, where one does.
macro_rules! conditions {
    () => {};
    (flags $($rest:tt)*) => {
        fn flags(args: &Self::Args) -> u32 {
            args.flags
        }
        conditions!($($rest)*);
    };
    (parameter[$name:ident] $($rest:tt)*) => {
        fn parameter(args: &Self::Args, name: &str) -> Option<u32> {
            (name == stringify!($name)).then_some(args.$name)
        }
        conditions!($($rest)*);
    };
    ($other:tt $($rest:tt)*) => { conditions!($($rest)*); };
}
