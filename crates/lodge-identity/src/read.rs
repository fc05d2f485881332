//! From documents to an identity, and which documents it needs.

use std::collections::BTreeMap;

use lodge_model::guest_disk::{FilePath, Files, Layout, Pattern, Wanted};

use super::{
    Catalogue, HostFacts, Identity, Item, Kind, RuleError, RuleInForce, State, devices, empty, host,
    host_name, machine_id, network, rules,
    seen::{Seen, fingerprint},
    ssh_keys, system,
};

/// The most of a text file that is looked at.
pub(crate) const TEXT_MAX_BYTES: u64 = 256 * 1024;

impl Catalogue {
    /// The catalogue as it comes.
    pub fn builtin() -> Self {
        let print = fingerprint(format!("{}\n{}", env!("CARGO_PKG_VERSION"), rules::BUILTIN).as_bytes());
        Self { rules: rules::builtin(), print }
    }

    /// A name of all that decides what is read: what was read with another one is not known of this one.
    pub fn print(&self) -> &str {
        &self.print
    }

    /// The rules, as they are in force.
    pub fn rules(&self) -> impl Iterator<Item = RuleInForce> {
        self.rules.iter().map(rules::Rule::in_force)
    }

    /// With the rules of one more file; `name` is for messages. A rule of a name that is known replaces those.
    pub fn with(mut self, name: &str, text: &str) -> Result<Self, RuleError> {
        let more = rules::parse(name, text)?;
        self.rules.retain(|rule| more.iter().all(|new| new.name != rule.name));
        self.rules.extend(more);
        self.print = fingerprint(format!("{}\n{text}", self.print).as_bytes());
        Ok(self)
    }

    /// The files that [`Catalogue::read`] must see to tell everything, each pattern once: what a proof needs.
    /// [`Catalogue::plan`] must also see [`Catalogue::wanted_to_plan`].
    pub fn wanted(&self) -> Vec<Wanted> {
        self.wanted_by(|_| true)
    }

    /// Less than [`Catalogue::wanted`]: what has a value. Enough to show, to compare and to find duplicates, and
    /// without the traces of use (logs, histories, temporary files) that may be thousands.
    pub fn wanted_to_look(&self) -> Vec<Wanted> {
        self.wanted_by(|rule| rule.kind != rules::RuleKind::Trace)
    }

    fn wanted_by(&self, is_asked: impl Fn(&rules::Rule) -> bool) -> Vec<Wanted> {
        let texts = [
            system::WANTED,
            machine_id::WANTED,
            host_name::WANTED,
            ssh_keys::WANTED,
            network::WANTED,
            empty::WANTED,
            devices::REFERENCES,
        ];
        let mut all: Vec<(&str, u64)> =
            texts.concat().into_iter().map(|text| (text, TEXT_MAX_BYTES)).collect();
        let names = [system::SIGNS, machine_id::NAMES, devices::NAMES];
        all.extend(names.concat().into_iter().map(|text| (text, 0)));
        let code = all.into_iter().filter_map(|(text, most)| Some((Pattern::new(text).ok()?, most)));
        let ruled = self.rules.iter().filter(|rule| is_asked(rule)).flat_map(rules::Rule::wanted);
        merged(code.chain(ruled))
    }

    /// What only a plan must see besides: boot loaders' programs, which may have a UUID built in, and where images of an
    /// initramfs are ([`Catalogue::archives`]).
    pub fn wanted_to_plan(&self) -> Vec<Wanted> {
        let images = devices::IMAGES.iter().map(|text| (*text, 0));
        let programs = devices::PROGRAMS.iter().copied().chain(images);
        merged(programs.filter_map(|(text, most)| Some((Pattern::new(text).ok()?, most))))
    }

    /// Judges what was read.
    pub fn read(&self, layout: &Layout, files: &Files, host: &HostFacts) -> Identity {
        let seen = Seen::new(layout, files, host);
        let mut items: Vec<Item> = Vec::new();
        if seen.system.family.is_some() {
            machine_id::read(&seen, &mut items);
            host_name::read(&seen, &mut items);
            ssh_keys::read(&seen, &mut items);
            network::read(&seen, &mut items);
            rules::read(&self.rules, &seen, &mut items);
            empty::read(&seen, &mut items);
        } else if let Some(why) =
            FilePath::new("/").ok().and_then(|root| seen.blind_at(&root).map(str::to_owned))
        {
            // There may be a Linux that nobody could look into.
            for (kind, place) in [(Kind::MACHINE_ID, "/etc/machine-id"), (Kind::HOST_NAME, "/etc/hostname")] {
                items.push(Item::absent(kind, place, State::Unknown).noting(why.clone()));
            }
        }
        devices::read(&seen, &mut items);
        host::read(&seen, &mut items);
        Identity { system: seen.system, items }
    }
}

fn merged(all: impl Iterator<Item = (Pattern, u64)>) -> Vec<Wanted> {
    let mut most: BTreeMap<Pattern, u64> = BTreeMap::new();
    for (pattern, bytes) in all {
        let entry = most.entry(pattern).or_default();
        *entry = (*entry).max(bytes);
    }
    most.into_iter().map(|(pattern, most_bytes)| Wanted { pattern, most_bytes }).collect()
}
