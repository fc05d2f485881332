//! The user's own part of a seed: which kind it is, and whether cloud-init will take it.

use std::fmt;

use super::cloud_config;

/// The longest user-data. NoCloud itself has no limit; this is far above any in use.
pub const USER_DATA_MAX_BYTES: usize = 4 << 20;

/// User-data that was judged. May hold secrets: it is never shown or logged by itself.
#[derive(Clone, PartialEq, Eq)]
pub struct UserData {
    bytes: Vec<u8>,
    kind: Kind,
    notes: Vec<String>,
    drops_default_user: bool,
    hostname: Option<String>,
}

/// What cloud-init takes it for, by its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `#cloud-config`: YAML.
    CloudConfig,
    /// `#cloud-config-archive`: a YAML list of parts.
    Archive,
    /// `#!`: a script, run at the end of the first boot.
    Script,
    /// `#cloud-boothook`: a script, run at each boot, early.
    Boothook,
    /// `#include` or `#include-once`: a list of URLs.
    Include,
    /// `#part-handler`: Python code.
    PartHandler,
    /// `## template: jinja`: rendered in the guest before it is read.
    Jinja,
    /// A MIME multipart message.
    Mime,
    /// A kind of cloud-init's that is rarely seen.
    Other,
    /// gzip, of any of these.
    Gzip,
}

/// Why user-data is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserDataFault {
    /// More than fits.
    #[error("it has {found} bytes; at most {USER_DATA_MAX_BYTES} are taken")]
    TooLong {
        /// How many.
        found: usize,
    },
    /// No text.
    #[error("it is not UTF-8 text: the first wrong byte is in line {line}")]
    NotText {
        /// Counted from 1.
        line: usize,
    },
    /// Nothing but blanks.
    #[error("it is empty")]
    Empty,
    /// The first line is nearly right.
    #[error("line 1: `{found}` is not `{meant}`: cloud-init would pass over the whole text")]
    NearlyHeader {
        /// The line, shortened.
        found: String,
        /// What is meant, most likely.
        meant: &'static str,
    },
    /// The first line says nothing to cloud-init.
    #[error("line 1: `{found}` tells cloud-init nothing: it would pass over the whole text")]
    NoHeader {
        /// The line, shortened.
        found: String,
    },
    /// The YAML is none.
    #[error("line {line}, column {column}: {reason}")]
    Yaml {
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
        /// The parser's words.
        reason: String,
    },
    /// A cloud-config is a mapping.
    #[error("it is a YAML {found}, not a mapping of keys to values: cloud-init would refuse it")]
    NotMapping {
        /// What it is.
        found: &'static str,
    },
}

impl UserDataFault {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooLong { .. } => "fetch the large parts from within the guest".to_owned(),
            Self::NotText { .. } => "save it as UTF-8".to_owned(),
            Self::NearlyHeader { meant, .. } => {
                format!("write `{meant}` as the first line, with nothing before it and no blanks in it")
            }
            Self::NoHeader { .. } | Self::Empty => {
                "begin it with `#cloud-config` (YAML) or `#!/bin/sh` (a script)".to_owned()
            }
            Self::Yaml { .. } => {
                "correct the text there; YAML is indented with blanks, never with tabs".to_owned()
            }
            Self::NotMapping { .. } => "write `key: value` lines below `#cloud-config`".to_owned(),
        })
    }
}

impl UserData {
    /// Judges user-data. Nothing of it is changed.
    pub fn parse(bytes: &[u8]) -> Result<Self, UserDataFault> {
        if bytes.len() > USER_DATA_MAX_BYTES {
            return Err(UserDataFault::TooLong { found: bytes.len() });
        }
        let taken = |kind| Self {
            bytes: bytes.to_vec(),
            kind,
            notes: Vec::new(),
            drops_default_user: false,
            hostname: None,
        };
        if bytes.starts_with(&[0x1f, 0x8b]) {
            return Ok(taken(Kind::Gzip));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| UserDataFault::NotText {
            line: bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count(),
        })?;
        let kind = kind(text)?;
        let mut user_data = taken(kind);
        match kind {
            Kind::CloudConfig => {
                let judged = cloud_config::judge(text)?;
                user_data.notes = judged.notes;
                user_data.drops_default_user = judged.drops_default_user;
                user_data.hostname = judged.hostname;
            }
            Kind::Archive => cloud_config::judge_archive(text)?,
            Kind::Script
            | Kind::Boothook
            | Kind::Include
            | Kind::PartHandler
            | Kind::Jinja
            | Kind::Mime
            | Kind::Other
            | Kind::Gzip => {}
        }
        Ok(user_data)
    }

    /// The text, byte for byte.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The host name a cloud-config gives the guest; the host vouches for it in its DNS.
    pub fn hostname(&self) -> Option<&str> {
        self.hostname.as_deref()
    }

    /// What cloud-init takes it for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What is odd about it; each a sentence for a person, without values from the text.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Its `users` leave out the default user.
    pub(super) fn drops_default_user(&self) -> bool {
        self.drops_default_user
    }
}

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserData({:?}, {} bytes)", self.kind, self.bytes.len())
    }
}

/// First lines and what they mean, in cloud-init's order: the longest prefix first, any case, blanks before it
/// allowed (`cloudinit/handlers/__init__.py`, `type_from_starts_with`).
const HEADERS: [(&str, Kind); 12] = [
    ("#cloud-config-archive", Kind::Archive),
    ("#cloud-config-jsonp", Kind::Other),
    ("## template: jinja", Kind::Jinja),
    ("#cloud-boothook", Kind::Boothook),
    ("#include-once", Kind::Include),
    ("#part-handler", Kind::PartHandler),
    ("#cloud-config", Kind::CloudConfig),
    ("#include", Kind::Include),
    ("#!", Kind::Script),
    // Mail headers: a multipart message. `From ` is what mbox files begin with.
    ("content-type:", Kind::Mime),
    ("mime-version:", Kind::Mime),
    ("from ", Kind::Mime),
];

fn kind(text: &str) -> Result<Kind, UserDataFault> {
    let start = text.trim_start();
    let lower: String = start.chars().take(64).collect::<String>().to_lowercase();
    if let Some((_, kind)) = HEADERS.iter().find(|(header, _)| lower.starts_with(header)) {
        return Ok(*kind);
    }
    if start.is_empty() {
        return Err(UserDataFault::Empty);
    }
    let first = start.lines().next().unwrap_or_default();
    let found: String = first.chars().take(60).flat_map(char::escape_debug).collect();
    // What it is without blanks, dashes, case and a byte order mark.
    let bare = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, '#' | '!'))
            .collect::<String>()
            .to_lowercase()
    };
    let meant = ["#cloud-config", "#!/bin/sh", "#include", "#cloud-boothook", "## template: jinja"];
    let near = |header: &&str| {
        let (header, line) = (bare(header), bare(first));
        let line: String = line.chars().take(header.chars().count() + 1).collect();
        !line.is_empty() && distance(line.trim_start_matches('#'), header.trim_start_matches('#')) <= 2
    };
    match meant.into_iter().find(near) {
        Some("#!/bin/sh") | None => Err(UserDataFault::NoHeader { found }),
        Some(meant) => Err(UserDataFault::NearlyHeader { found, meant }),
    }
}

/// How many characters must be put in, taken out or changed to make one of the other.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let changed = before + usize::from(ca != *cb);
            before = row[j + 1];
            row[j + 1] = changed.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
