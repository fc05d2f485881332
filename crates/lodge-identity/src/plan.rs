//! From a wish to edits: what is changed, what stays and why, and what somebody should look at.
//!
//! The same wish with the same [`super::Fresh`] gives the same plan. A template planned again gives no edits.

use std::collections::BTreeSet;

use lodge_model::guest_disk::{Edit, Files, Layout};
use serde::{Deserialize, Serialize};

use super::{
    Catalogue, HostFacts, Identity, Kind, NicWish, PrivateKeys, Purpose, Wish, customize, devices,
    draft::Draft, host_name, machine_id, network, rules, seen::Seen, ssh_keys,
};

/// What is to be done and what is said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The edits, in an order in which they may be done. They hold new private keys: not for logs.
    pub edits: Vec<Edit>,
    /// Item by item.
    pub changes: Vec<Change>,
    /// Items that stay although a new machine would have others.
    pub kept: Vec<Kept>,
    /// What somebody should look at.
    pub flagged: Vec<Flagged>,
    /// The cards that were to ask DHCP and will. Of the others nothing in the guest says so.
    #[serde(default)]
    pub asking_dhcp: Vec<NicWish>,
    /// What was asked for beside an identity, step by step; `kind` is the option's name.
    #[serde(default)]
    pub customized: Vec<Change>,
}

/// One item's change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Of what.
    pub kind: Kind,
    /// Where, as [`super::Item::place`].
    pub place: String,
    /// The value before, or its fingerprint.
    pub old: Option<String>,
    /// The value after, or its fingerprint. None: there is none any more.
    pub new: Option<String>,
    /// Why so.
    pub reason: String,
}

/// One item that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Of what.
    pub kind: Kind,
    /// Where.
    pub place: String,
    /// Its value, or the fingerprint.
    pub value: Option<String>,
    /// Why.
    pub reason: String,
}

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flagged {
    /// Of what.
    pub kind: Kind,
    /// Where.
    pub place: String,
    /// What is the matter.
    pub why: String,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The policy refuses them.
    #[error("private keys are on it: {}", .0.join(", "))]
    PrivateKeys(Vec<String>),
    /// The name is no host name.
    #[error("`{0}` is no host name (letters, digits and `-`, labels of at most 63, all of at most 253)")]
    HostName(String),
    /// The caller's key is none.
    #[error("host key {number} of the wish is no OpenSSH private key")]
    HostKey {
        /// Which, from 1.
        number: usize,
    },
    /// A step of a customization cannot be done in this guest.
    #[error("--{option}: {why}")]
    Step {
        /// virt-sysprep's option.
        option: String,
        /// Why.
        why: String,
    },
}

impl PlanError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::PrivateKeys(_) => {
                Some("remove them, or say that private keys are to be kept or removed".to_owned())
            }
            Self::HostName(_) | Self::HostKey { .. } | Self::Step { .. } => None,
        }
    }
}

impl Catalogue {
    /// The plan that makes of a guest what is wished. `before` is what [`Catalogue::read`] made of the same documents.
    pub fn plan(
        &self,
        before: &Identity,
        layout: &Layout,
        files: &Files,
        wish: &Wish,
    ) -> Result<Plan, PlanError> {
        if let Some(name) = &wish.host_name {
            host_name::check(name)?;
        }
        let host = HostFacts::default();
        let seen = Seen::new(layout, files, &host);
        let mut draft = Draft::new(files);
        if wish.purpose == Purpose::Keep {
            for item in before.items.iter().filter(|item| item.is_unique) {
                draft.keep(item, "the identity is to be kept");
            }
            return Ok(draft.finish());
        }
        if seen.system.family.is_some() {
            machine_id::plan(&seen, before, wish, &mut draft);
            host_name::plan(&seen, before, wish, &mut draft);
            ssh_keys::plan(&seen, before, wish, &mut draft)?;
            network::plan(&seen, before, wish, &mut draft);
            rules::plan(&self.rules, &seen, before, wish, &mut draft);
        }
        devices::plan(&seen, before, wish, &mut draft);
        customize::plan(&seen, &wish.steps, &mut draft)?;
        for gap in &files.gaps {
            draft.flag(&Kind::known("gap"), gap.place.clone(), format!("could not be read: {}", gap.why));
        }
        if wish.private_keys == PrivateKeys::Refuse && !draft.refused.is_empty() {
            return Err(PlanError::PrivateKeys(draft.refused));
        }
        let asking_dhcp = network::dhcp::asking(&seen, before, wish, &draft);
        let mut plan = Plan { asking_dhcp, ..draft.finish() };
        account(before, &mut plan);
        Ok(plan)
    }
}

/// What is one machine's alone, is not the host's, and is neither changed nor said to be kept, is kept because nobody
/// asked for it.
fn account(before: &Identity, plan: &mut Plan) {
    let told: BTreeSet<(Kind, String)> = plan
        .changes
        .iter()
        .map(|change| (change.kind.clone(), change.place.clone()))
        .chain(plan.kept.iter().map(|kept| (kept.kind.clone(), kept.place.clone())))
        .chain(plan.flagged.iter().map(|flagged| (flagged.kind.clone(), flagged.place.clone())))
        .collect();
    for item in before.items.iter().filter(|item| item.is_unique && item.value.is_some()) {
        if item.place.starts_with("host: ") || told.contains(&(item.kind.clone(), item.place.clone())) {
            continue;
        }
        plan.kept.push(Kept {
            kind: item.kind.clone(),
            place: item.place.clone(),
            value: item.value.clone(),
            reason: "it is not among what was asked for".to_owned(),
        });
    }
}
