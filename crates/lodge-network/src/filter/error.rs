//! Why an act on a filter was not done. Where libvirt has words for it, they are libvirt's.

use std::path::PathBuf;

use lodge_model::Kind;
use lodge_model::nwfilter::BadFilter;

/// Why something about a network filter was not done.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// There is none such.
    #[error("{0}")]
    NotFound(String),
    /// That card has no filter.
    #[error("no nwfilter binding for port dev '{port}'")]
    NoBinding {
        /// The card.
        port: String,
    },
    /// That card has a filter already.
    #[error("binding '{port}' already exists")]
    Bound {
        /// The card.
        port: String,
    },
    /// The document is no good.
    #[error(transparent)]
    Document(#[from] BadFilter),
    /// Another filter has the name or the UUID, or takes this one in.
    #[error("{0}")]
    Clash(String),
    /// A card uses it.
    #[error("nwfilter is in use")]
    InUse,
    /// A filter takes in one that there is not.
    #[error("referenced filter '{0}' is missing")]
    Missing(String),
    /// Nobody says what a variable is.
    #[error("{0}")]
    Variables(String),
    /// There is no such way to learn an address.
    #[error("filter '{filter}' learning value '{value}' invalid.")]
    Learning {
        /// The filter.
        filter: String,
        /// What was said.
        value: String,
    },
    /// A rule asks for something that cannot be done here.
    #[error("filter '{filter}': {what} is not supported")]
    Unsupported {
        /// The filter.
        filter: String,
        /// What, with the rule.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// No card can be called so.
    #[error("'{port}' cannot be the name of an interface")]
    NoPort {
        /// The card.
        port: String,
    },
    /// `nft` refused or is missing.
    #[error("cannot load the rules of network filters with nft: {detail}")]
    Kernel {
        /// nft's own words.
        detail: String,
    },
    /// A file could not be written or removed.
    #[error("cannot {act} `{}`", path.display())]
    File {
        /// The act.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: std::io::Error,
    },
}

impl FilterError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) | Self::NoBinding { .. } => Kind::NotFound,
            Self::Document(_)
            | Self::Missing(_)
            | Self::Variables(_)
            | Self::Learning { .. }
            | Self::NoPort { .. } => Kind::InvalidInput,
            Self::Clash(_) | Self::Bound { .. } => Kind::Exists,
            Self::InUse => Kind::InvalidState,
            Self::Unsupported { .. } => Kind::Unsupported,
            Self::Kernel { .. } | Self::File { .. } => Kind::Internal,
        }
    }

    /// The next step for the user, where one is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound(_) | Self::Missing(_) => Some("`lodge nwfilter-list` shows the filters there are"),
            Self::NoBinding { .. } => {
                Some("`lodge nwfilter-binding-list` shows the cards that have a filter")
            }
            Self::Bound { .. } => Some("`lodge nwfilter-binding-delete` takes its filter away"),
            Self::InUse => Some("`lodge nwfilter-binding-list` shows which cards use which filter"),
            Self::Learning { .. } => Some("CTRL_IP_LEARNING is one of any, dhcp and none"),
            Self::Variables(_) => Some("give it with <parameter name='…' value='…'/> in the <filterref>"),
            Self::Unsupported { hint, .. } => Some(hint),
            Self::Kernel { .. } => Some("`lodge host check` tells whether nft and nf_tables are there"),
            Self::Document(_) | Self::Clash(_) | Self::NoPort { .. } | Self::File { .. } => None,
        }
    }
}
