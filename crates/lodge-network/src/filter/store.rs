//! Filters' documents, in libvirt's directory (`etc/libvirt/nwfilter`) and form, so that either daemon finds what the
//! other left.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lodge_model::Faults;
use lodge_model::nwfilter::NwFilter;
use uuid::Uuid;

use super::resolve::{self, Set};
use super::{FilterError, Result, stock};

/// A filter that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The name.
    pub name: String,
    /// The identity.
    pub uuid: Uuid,
    /// The document.
    pub document: NwFilter,
}

/// Where they are kept.
#[derive(Debug)]
pub(super) struct Store(PathBuf);

impl Store {
    /// Reads those that are kept; where there is no directory yet, the usual ones are put there. A file that is no good is
    /// told in the log and left alone.
    pub fn open(directory: PathBuf) -> (Self, Set) {
        let store = Self(directory);
        if !store.0.exists() {
            store.put_stock();
        }
        let mut filters = Set::new();
        for entry in std::fs::read_dir(&store.0).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".xml")) else { continue };
            match store.read(&path, name) {
                Ok(filter) => drop(filters.insert(filter.name.clone(), filter)),
                Err(error) => {
                    tracing::error!(file = %path.display(), error, "a network filter cannot be read");
                }
            }
        }
        // What takes itself in can be none; libvirt passes the later one over.
        let loops: Vec<String> =
            filters.keys().filter(|name| resolve::loops(&filters, name)).cloned().collect();
        for name in loops {
            tracing::error!(filter = name, "a network filter takes itself in; it is left out");
            filters.remove(&name);
        }
        (store, filters)
    }

    fn read(&self, path: &Path, name: &str) -> Result<Arc<Filter>, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let document = NwFilter::parse(&text).map_err(|error| error.to_string())?;
        if document.name != name {
            return Err(format!("its name is '{}', which is not the file's", document.name));
        }
        let has_uuid = document.uuid.is_some();
        let filter = Arc::new(named(document));
        if !has_uuid {
            // What it got stays its own.
            self.write(&filter).map_err(|error| crate::error::chain(&error))?;
        }
        Ok(filter)
    }

    fn put_stock(&self) {
        for text in stock::DOCUMENTS {
            let filter = match NwFilter::parse(text) {
                Ok(document) => named(document),
                Err(error) => {
                    tracing::error!(%error, "a usual filter is no filter");
                    continue;
                }
            };
            if let Err(error) = self.write(&filter) {
                let error = crate::error::chain(&error);
                tracing::warn!(
                    filter = filter.name,
                    error,
                    "a usual network filter was not put in its place"
                );
                return;
            }
        }
    }

    pub fn write(&self, filter: &Filter) -> Result<()> {
        let text = with_header("nwfilter-edit", &filter.name, &filter.document.to_xml());
        let path = self.path(&filter.name)?;
        std::fs::create_dir_all(&self.0).map_err(file("make", &self.0))?;
        lodge_sys::fs::write_durable(&path, text.as_bytes(), 0o600).map_err(file("write", &path))
    }

    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// The file of a name, which must be one of this directory.
    fn path(&self, name: &str) -> Result<PathBuf> {
        if name.contains('/') || name.starts_with('.') || name.contains('\0') {
            let text = format!("filter name '{name}' cannot be a file's");
            return Err(FilterError::Document(Faults::one("", text).into()));
        }
        Ok(self.0.join(format!("{name}.xml")))
    }
}

/// The documents with one more, which may replace one of its own name and UUID.
pub(super) fn taken_in(filters: &Set, document: NwFilter) -> Result<(Set, Arc<Filter>)> {
    let made = Arc::new(named(document));
    if let Some(other) = filters.values().find(|other| other.uuid == made.uuid && other.name != made.name) {
        let text = format!("filter with same UUID but different name ('{}') already exists", other.name);
        return Err(FilterError::Clash(text));
    }
    if let Some(other) = filters.get(&made.name).filter(|other| other.uuid != made.uuid) {
        let text = format!("filter '{}' already exists with uuid {}", made.name, other.uuid);
        return Err(FilterError::Clash(text));
    }
    let mut all = filters.clone();
    all.insert(made.name.clone(), Arc::clone(&made));
    if resolve::loops(&all, &made.name) {
        return Err(FilterError::Clash("filter would introduce a loop".to_owned()));
    }
    Ok((all, made))
}

/// The file's text, with the words that libvirt puts before each definition.
pub(super) fn with_header(command: &str, name: &str, xml: &str) -> String {
    // A comment must not contain `--` (XML 1.0, 2.5), nor end in `-`.
    let name = if name.contains("--") || name.ends_with('-') { "NAME" } else { name };
    format!(
        "<!--\n\
         WARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\n\
         OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:\n  \
         virsh {command} {name}\n\
         or other application using the libvirt API.\n\
         -->\n\n{xml}"
    )
}

fn named(mut document: NwFilter) -> Filter {
    let uuid = *document.uuid.get_or_insert_with(Uuid::new_v4);
    Filter { name: document.name.clone(), uuid, document }
}

pub(super) fn file<'p>(act: &'static str, path: &'p Path) -> impl FnOnce(std::io::Error) -> FilterError + 'p {
    move |source| FilterError::File { act, path: path.to_owned(), source }
}
