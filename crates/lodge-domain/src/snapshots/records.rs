//! What is written down of a change of snapshots: their files, and the domain's definition. The old and the new of
//! each are kept with the saga, so that both directions can be gone, twice too.

use std::sync::Arc;

use async_trait::async_trait;
use lodge_model::domain::Domain;
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_model::xml::WriteOptions;
use lodge_store::saga::{Context, Failure, Step};
use serde::{Deserialize, Serialize};

use crate::define::blocking;
use crate::domains::Shared;

/// One file: its name, its text before and after; none where there is no file.
type Change = (String, Option<String>, Option<String>);

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Records {
    pub domain: String,
    files: Vec<Change>,
    definition: Option<(String, String)>,
}

impl Records {
    /// What makes `new` of `old`.
    pub fn between(domain: &str, old: &SnapshotTree, new: &SnapshotTree) -> Self {
        let text = |tree: &SnapshotTree, name: &str| {
            tree.get(name).map(|snapshot| snapshot.to_file(tree.is_current(name)))
        };
        let mut names: Vec<&str> = old.names().chain(new.names()).collect();
        names.sort_unstable();
        names.dedup();
        let changes = names.into_iter().map(|name| (name.to_owned(), text(old, name), text(new, name)));
        let files = changes.filter(|(_, before, after)| before != after).collect();
        Self { domain: domain.to_owned(), files, definition: None }
    }

    /// The definition changes too.
    pub fn with_definition(mut self, before: &Domain, after: &Domain) -> Self {
        let (before, after) = (before.to_xml(&WriteOptions::STORED), after.to_xml(&WriteOptions::STORED));
        self.definition = (before != after).then_some((before, after));
        self
    }

    /// Writes it down outside of a saga: each file appears whole, and what is new comes first.
    pub async fn write_all(&self, shared: &Shared) -> Result<(), Failure> {
        self.write(shared, true).await
    }

    async fn write(&self, shared: &Shared, forward: bool) -> Result<(), Failure> {
        let (files, definitions) = (shared.config.store.snapshots(), shared.config.store.domains().clone());
        let records = self.clone();
        blocking(move || {
            let domain = &records.domain;
            // What is new comes before what goes: a crash in between leaves too much, not too little.
            let mut changes: Vec<_> = records.files.iter().collect();
            changes
                .sort_by_key(|(_, before, after)| if forward { after.is_none() } else { before.is_none() });
            for (name, before, after) in changes {
                let done = match if forward { after } else { before } {
                    Some(text) => files.put(domain, name, text),
                    None => files.remove(domain, name),
                };
                done.map_err(|error| Failure::of(error.kind(), &error).with_hint(error.hint()))?;
            }
            let Some((before, after)) = &records.definition else { return Ok(()) };
            let put = definitions.put(domain, if forward { after } else { before });
            put.map(drop).map_err(|error| Failure::of(error.kind(), &error).with_hint(error.hint()))
        })
        .await
    }
}

/// A saga that has such a change.
pub(super) trait HasRecords: Context + Sync {
    fn shared(&self) -> &Arc<Shared>;
    fn records(&self) -> &Records;
}

/// Writes it down.
pub(super) struct WriteDown;

#[async_trait]
impl<C: HasRecords> Step<C> for WriteDown {
    fn name(&self) -> &'static str {
        "write-down"
    }

    async fn run(&self, context: &mut C) -> Result<(), Failure> {
        context.records().write(context.shared(), true).await
    }

    async fn undo(&self, context: &mut C) -> Result<(), Failure> {
        context.records().write(context.shared(), false).await
    }
}

#[cfg(test)]
mod tests {
    use lodge_model::snapshot::DomainSnapshot;

    use super::*;

    #[test]
    fn only_files_that_differ_are_written() {
        let snapshot =
            |name: &str| DomainSnapshot { name: Some(name.to_owned()), ..DomainSnapshot::default() };
        let mut old = SnapshotTree::default();
        old.insert(snapshot("a"));
        old.insert(snapshot("b"));
        old.set_current(Some("a"));
        let mut new = old.clone();
        new.insert(snapshot("c"));
        new.set_current(Some("c"));
        let records = Records::between("web1", &old, &new);
        let told: Vec<_> = records
            .files
            .iter()
            .map(|(name, before, after)| format!("{name} {} {}", before.is_some(), after.is_some()))
            .collect();
        assert_eq!(told, ["a true true", "c false true"]);
    }
}
