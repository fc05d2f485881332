//! Seeds: what cloud-init is given at a guest's first boot, as a NoCloud disk (label `CIDATA`).
//!
//! ```text
//!  user-data       the user's own text, byte for byte
//!  meta-data       instance-id, local-hostname, public-keys    ─┐ ours, as JSON,
//!  network-config  DHCP on every nic, matched by MAC address   ─┘ which is YAML
//!  vendor-data     only if given; the user's text wins over it
//! ```
//!
//! **Why keys go into meta-data.** cloud-init gives the data source's `public-keys` to the default user (module
//! `ssh`), beside those of the user-data. So nothing has to be merged into the user's text. A MIME multipart of
//! theirs and ours would do it too, but then cloud-init's merge rules decide (its default drops a whole list that
//! both sides have), and the text in the guest is no longer what the user wrote.
//!
//! The user's cloud-config is judged before a guest is started with it: what cannot be YAML, or what cloud-init
//! would silently pass over, is refused with its place and reason; what it would take with a grumble is a note.
//! Other kinds (scripts, MIME, `#include`, jinja, gzip) are passed through.
//!
//! Deliberately absent: rendering the user's text, and writing the file (the caller's, who knows where).

mod cloud_config;
mod error;
mod iso;
mod meta;
mod user_data;

use lodge_model::MacAddr;

pub use error::SeedError;
pub use meta::hostname_of;
pub use user_data::{Kind as UserDataKind, USER_DATA_MAX_BYTES, UserData, UserDataFault};

/// The label of the seed's file system; cloud-init looks for it in either case.
pub const LABEL: &str = "CIDATA";

/// Public keys in one seed.
pub const KEYS_MAX: usize = 100;

/// What a seed is made of.
#[derive(Debug, Clone)]
pub struct SeedSpec {
    /// cloud-init runs its first-boot modules when this is new to the guest.
    pub instance_id: String,
    /// The guest's host name; a `hostname` in the user-data wins.
    pub hostname: String,
    /// The user's own part.
    pub user_data: Option<UserData>,
    /// Lines as in `authorized_keys`, for the default user.
    pub ssh_keys: Vec<String>,
    /// The guest's nics: DHCP on each.
    pub network: Network,
    /// A cloud-config of the house, weaker than the user's.
    pub vendor_data: Option<String>,
}

/// What the guest is told of its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// DHCP on the nics with these addresses.
    Dhcp(Vec<MacAddr>),
    /// Nothing: cloud-init does what it does by itself, DHCP on the first nic.
    Unsaid,
}

/// A finished seed.
#[derive(Clone)]
pub struct Seed {
    /// The disk image: an ISO 9660 file system with Rock Ridge and Joliet names.
    pub iso: Vec<u8>,
    /// What is odd about it; each a sentence for a person.
    pub notes: Vec<String>,
}

/// Makes the NoCloud seed.
pub fn nocloud(spec: &SeedSpec) -> Result<Seed, SeedError> {
    let mut notes = Vec::new();
    let meta_data = meta::meta_data(spec)?;
    if let Some(user_data) = &spec.user_data {
        notes.extend(user_data.notes().iter().cloned());
        if !spec.ssh_keys.is_empty() && user_data.drops_default_user() {
            notes.push(
                "the user-data has its own `users` without `default`: the SSH keys given beside it have no user to \
                 go to. Add `- default` to `users`, or put the keys into `ssh_authorized_keys` of one of them"
                    .to_owned(),
            );
        }
    }
    // Without user-data NoCloud takes the disk for none of its own: the file has to be there.
    let user_data = spec.user_data.as_ref().map_or(&b"#cloud-config\n{}\n"[..], UserData::bytes);
    let mut files = vec![("meta-data", meta_data.into_bytes()), ("user-data", user_data.to_vec())];
    if let Network::Dhcp(nics) = &spec.network
        && !nics.is_empty()
    {
        files.push(("network-config", meta::network_config(nics).into_bytes()));
    }
    if let Some(vendor_data) = &spec.vendor_data {
        files.push(("vendor-data", vendor_data.clone().into_bytes()));
    }
    Ok(Seed { iso: iso::write(LABEL, files)?, notes })
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seed").field("bytes", &self.iso.len()).field("notes", &self.notes).finish()
    }
}

#[cfg(test)]
mod tests;
