//! Words: attribute values out of a closed list, as enums.

/// Makes an enum of libvirt's words: `as_str`, `FromStr`, `Display`, `ALL`; the first word is the default.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $first:ident = $word0:literal $(, $variant:ident = $word:literal)* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        $vis enum $name {
            #[doc = concat!("`", $word0, "`")]
            #[default]
            $first,
            $(#[doc = concat!("`", $word, "`")] $variant,)*
        }

        impl $name {
            /// Every word.
            pub const ALL: &'static [Self] = &[Self::$first $(, Self::$variant)*];

            /// The word as it stands in the document.
            pub const fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $word0,
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $word0 => Ok(Self::$first),
                    $($word => Ok(Self::$variant),)*
                    _ => Err($crate::xml::unknown_word(text, Self::ALL.iter().map(|word| word.as_str()))),
                }
            }
        }

        impl $crate::xml::Value for $name {
            fn read_value(text: &str) -> Result<Self, String> {
                text.parse()
            }

            fn write_value(&self, out: &mut String) {
                out.push_str(self.as_str());
            }
        }
    };
}
pub(crate) use words;

/// What is said of a word that is not in the list.
pub(crate) fn unknown_word(text: &str, known: impl Iterator<Item = &'static str>) -> String {
    let known: Vec<_> = known.collect();
    format!("`{text}` is not known here (known: {})", known.join(", "))
}

words! {
    /// A switch.
    pub enum OnOff { On = "on", Off = "off" }
}

words! {
    /// An answer.
    pub enum YesNo { Yes = "yes", No = "no" }
}

impl OnOff {
    /// Whether it is on.
    pub const fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

impl From<bool> for OnOff {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

impl YesNo {
    /// Whether it is yes.
    pub const fn is_yes(self) -> bool {
        matches!(self, Self::Yes)
    }
}

impl From<bool> for YesNo {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}
