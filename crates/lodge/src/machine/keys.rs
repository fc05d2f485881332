//! `--private-keys`: what becomes of keys that are not the machine's own.

use clap::{Args, ValueEnum};
use lodge_client::api::PrivateKeys;

/// The option, for all verbs that make another machine of one.
#[derive(Debug, Args)]
pub struct Keys {
    /// Private keys of users and services, PGP's too: `keep` them and warn, `remove` them, or `refuse` to go on
    #[arg(long = "private-keys", value_name = "POLICY", default_value = "keep")]
    policy: Policy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    Keep,
    Remove,
    Refuse,
}

impl From<Keys> for PrivateKeys {
    fn from(keys: Keys) -> Self {
        match keys.policy {
            Policy::Keep => Self::Keep,
            Policy::Remove => Self::Remove,
            Policy::Refuse => Self::Refuse,
        }
    }
}
