//! A figure with its name and its type, as libvirt's clients know them.

use std::borrow::Cow;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// 32 bits, signed.
    Int(i32),
    /// 32 bits.
    Uint(u32),
    /// 64 bits, signed.
    Long(i64),
    /// 64 bits.
    Ulong(u64),
    /// A fraction.
    Double(f64),
    /// Yes or no.
    Flag(bool),
    /// A text.
    Text(String),
}

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// `block.0.rd.reqs`. Most names are known beforehand: a list of a thousand guests copies none of those.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
}

impl Figure {
    /// A figure of that name.
    pub fn new(name: impl Into<Cow<'static, str>>, value: Value) -> Self {
        Self { name: name.into(), value }
    }
}

macro_rules! shorthands {
    ($($method:ident $variant:ident $type:ty, $doc:literal;)*) => {
        /// Figures being collected.
        pub(crate) trait Collect {
            /// Adds one.
            fn add(&mut self, name: impl Into<Cow<'static, str>>, value: Value);
            $(#[doc = $doc]
            fn $method(&mut self, name: impl Into<Cow<'static, str>>, value: $type) {
                self.add(name, Value::$variant(value));
            })*
        }
    };
}

shorthands! {
    int Int i32, "Adds an `int`.";
    uint Uint u32, "Adds an `unsigned int`.";
    long Long i64, "Adds a `long long`.";
    ulong Ulong u64, "Adds an `unsigned long long`.";
    flag Flag bool, "Adds a boolean.";
    text Text String, "Adds a text.";
}

impl Collect for Vec<Figure> {
    fn add(&mut self, name: impl Into<Cow<'static, str>>, value: Value) {
        self.push(Figure::new(name, value));
    }
}
