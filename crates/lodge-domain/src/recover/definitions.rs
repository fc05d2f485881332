//! Reading all definitions at start-up: thousands, with every processor. Only the text and a summary are kept.

use std::collections::HashMap;
use std::sync::Arc;

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_model::xml::WriteOptions;

use super::Found;
use crate::define::{blocking, judge_stored, summary_of};
use crate::domains::Shared;
use crate::error::{DomainError, chain};
use crate::index::{Documents, Entry};
use crate::snapshot::{Snapshot, Summary};
use crate::{save, snapshots};

/// A definition as it was read.
struct Definition {
    name: String,
    id: DomainId,
    text: String,
    autostart: bool,
    summary: Summary,
    /// The file had no UUID; this text has one.
    is_new: bool,
}

/// Reads all definitions into the table, which is empty.
pub(super) async fn load_definitions(shared: &Arc<Shared>) -> Result<Found, DomainError> {
    let (found, entries) = read_definitions(shared).await?;
    shared.index.fill(entries);
    Ok(found)
}

/// Reads the definitions that came since the start into the table: a libvirt daemon wrote them.
pub(super) async fn load_new_definitions(shared: &Arc<Shared>) -> Result<Vec<Arc<Entry>>, DomainError> {
    let (_, entries) = read_definitions(shared).await?;
    let taken = |entry: &Arc<Entry>| {
        let name = entry.name();
        match shared.index.claim(entry.id, &name, || Arc::clone(entry)) {
            Ok((_, fresh)) => fresh,
            Err(error) => {
                tracing::error!(domain = %name, error = %chain(&error), "a definition was left out");
                false
            }
        }
    };
    Ok(entries.into_iter().filter(taken).collect())
}

/// Reads all definitions. What is no valid document is told and left as it is.
async fn read_definitions(shared: &Arc<Shared>) -> Result<(Found, Vec<Arc<Entry>>), DomainError> {
    let store = shared.config.store.clone();
    let judging = Arc::clone(shared);
    let (loaded, saved, mut snapshots) = blocking(move || {
        let loaded = store.domains().load_all_with(|entry| read_definition(&judging, entry));
        let trees = store.snapshots().domains().into_iter().map(|name| {
            let tree = snapshots::load(&judging, &name);
            (name, tree)
        });
        let trees: HashMap<String, SnapshotTree> = trees.collect();
        (loaded, save::managed_saves(&store.root().managed_saves()), trees)
    })
    .await;
    let mut found = Found::default();
    let mut entries: HashMap<DomainId, Arc<Entry>> = HashMap::new();
    for outcome in loaded.map_err(DomainError::Definition)? {
        let definition = match outcome {
            Ok(Ok(definition)) => definition,
            Ok(Err((name, why))) => {
                found.invalid += 1;
                tracing::error!(domain = name, why, "a definition is not valid and was left out");
                continue;
            }
            Err(error) => {
                found.invalid += 1;
                tracing::error!(error = %chain(&error), "a definition could not be read and was left out");
                continue;
            }
        };
        if let Some(other) = entries.get(&definition.id) {
            found.invalid += 1;
            let why = format!("its uuid is that of `{}`", other.name());
            tracing::error!(domain = definition.name, why, "a definition was left out");
            continue;
        }
        if definition.is_new {
            let _ = shared.config.store.domains().put(&definition.name, &definition.text);
        }
        let snapshot = Snapshot {
            persistent: true,
            autostart: definition.autostart,
            autostart_once: shared.config.store.domains().autostart_once(&definition.name),
            managed_save: saved.contains(&definition.name),
            snapshots: snapshots.get(&definition.name).map_or(0, SnapshotTree::len),
            summary: Arc::new(definition.summary),
            ..Snapshot::embryo(definition.id, &definition.name)
        };
        let documents = Documents { inactive: Some(definition.text.into()), live: None };
        let entry = Entry::new(snapshot, documents);
        if let Some(tree) = snapshots.remove(&definition.name) {
            entry.snapshots.store(Arc::new(tree));
        }
        entries.insert(definition.id, entry);
    }
    found.definitions = entries.len();
    Ok((found, entries.into_values().collect()))
}

fn read_definition(
    shared: &Shared,
    entry: lodge_store::definitions::Entry,
) -> Result<Definition, (String, String)> {
    // What was stored was judged when it was defined; only what a person left out is made up for.
    let plain = Domain::parse(&entry.text).ok().filter(|domain| domain.name == entry.name);
    let (domain, text) = match plain.filter(|domain| domain.uuid.is_some()) {
        Some(domain) => (domain, None),
        None => match judge_stored(shared, &entry.text, entry.header_lines, &entry.name, None) {
            Ok(domain) => {
                let text = domain.to_xml(&WriteOptions::STORED);
                (domain, Some(text))
            }
            Err(faults) => return Err((entry.name, faults.to_string())),
        },
    };
    Ok(Definition {
        id: crate::define::id_of(&domain),
        summary: summary_of(&domain),
        name: entry.name,
        autostart: entry.autostart,
        is_new: text.is_some(),
        text: text.unwrap_or(entry.text),
    })
}
