//! The proof that a template or an image is nobody: what of an identity is left in it.

use serde::{Deserialize, Serialize};

use super::{Catalogue, Identity, Kind, State, operations, rules::Act};

/// Something that a template must not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Of what.
    pub kind: Kind,
    /// Where.
    pub place: String,
    /// The value, or its fingerprint.
    pub value: Option<String>,
    /// Why it must not be there, or why nothing can be said.
    pub why: String,
    /// A private key that is not the machine's own: somebody may have put it there on purpose.
    pub is_private: bool,
}

/// What a template has although each machine made of it has other ones: the host gives them, or the clone's plan.
const ALLOWED: &[Kind] = &[
    Kind::DISK_ID,
    Kind::PARTITION_ID,
    Kind::CONTENT_UUID,
    Kind::GROUP_UUID,
    Kind::VOLUME_UUID,
    Kind::SMBIOS_UUID,
    Kind::GENERATION_ID,
    Kind::TEMPLATE_VALUE,
];

impl Catalogue {
    /// What is left of an identity. A template is clean if this is empty, or all of it is private and wanted.
    pub fn clean(&self, identity: &Identity) -> Vec<Left> {
        let mut left = Vec::new();
        for item in &identity.items {
            if ALLOWED.contains(&item.kind) || item.place.starts_with("host: ") {
                continue;
            }
            let rule = self.rules.iter().find(|rule| rule.name == item.kind.as_str());
            let is_private = rule.is_some_and(|rule| rule.is_private);
            // Where a template keeps it, or nobody asked for the operation, it may be there.
            let is_meant = rule.is_none_or(|rule| {
                is_private
                    || (rule.generalise != Act::Keep
                        && operations::of(&rule.operation).is_none_or(|operation| operation.is_default))
            });
            let why = match item.state {
                _ if !is_meant => continue,
                State::Present | State::Unreadable => rule
                    .map_or("it makes one machine this machine and no other", |rule| rule.what.as_str())
                    .to_owned(),
                State::Unknown => {
                    format!("it could not be read: {}", item.note.as_deref().unwrap_or("nobody could look"))
                }
                // systemd takes a machine without the file for one at its very first boot.
                State::Missing if item.kind == Kind::MACHINE_ID && item.place == "/etc/machine-id" => {
                    "it must be there and empty".to_owned()
                }
                State::Empty | State::Missing => continue,
            };
            left.push(Left {
                kind: item.kind.clone(),
                place: item.place.clone(),
                value: item.value.clone(),
                why,
                is_private,
            });
        }
        left
    }
}
