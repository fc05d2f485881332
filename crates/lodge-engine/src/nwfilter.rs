//! Network filters: documents that are kept, in libvirt's directory (`etc/libvirt/nwfilter`, beside `qemu`).
//!
//! Nothing applies them yet: a guest whose interface has a `<filterref>` is refused by name at its start, so no guest
//! runs without a filter that its document asks for. Deliberately absent: bindings, which only an applied filter has.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lodge_model::nwfilter::NwFilter;
use lodge_model::{Faults, Kind};
use uuid::Uuid;

use crate::error::Result;
use crate::{Caller, Engine};

/// Why an act on a filter was not done. The words are libvirt's.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// There is none such.
    #[error("{0}")]
    NotFound(String),
    /// The document is no good.
    #[error(transparent)]
    Document(#[from] Faults),
    /// Another filter has the name or the UUID.
    #[error("{0}")]
    Clash(String),
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
            Self::NotFound(_) => Kind::NotFound,
            Self::Document(_) => Kind::InvalidInput,
            Self::Clash(_) => Kind::Exists,
            Self::File { .. } => Kind::Internal,
        }
    }

    /// There is no next step to tell.
    pub fn hint(&self) -> Option<&'static str> {
        None
    }
}

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

/// All filters of one root.
#[derive(Debug)]
pub struct Filters {
    directory: PathBuf,
    kept: Mutex<Vec<Arc<Filter>>>,
}

impl Filters {
    /// Reads those that are kept. A file that is no good is told in the log and left alone.
    pub(crate) fn open(directory: PathBuf) -> Self {
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "xml") {
                continue;
            }
            let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
            match read.and_then(|text| NwFilter::parse(&text).map_err(|faults| faults.to_string())) {
                Ok(document) => kept.push(Arc::new(named(document))),
                Err(error) => {
                    tracing::error!(file = %path.display(), error, "a network filter cannot be read");
                }
            }
        }
        kept.sort_by(|one, other| one.name.cmp(&other.name));
        Self { directory, kept: Mutex::new(kept) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Filter>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<Arc<Filter>> {
        self.lock().clone()
    }

    /// One by name.
    pub fn by_name(&self, name: &str) -> std::result::Result<Arc<Filter>, FilterError> {
        let found = self.lock().iter().find(|filter| filter.name == name).cloned();
        found.ok_or_else(|| FilterError::NotFound(format!("no nwfilter with matching name '{name}'")))
    }

    /// One by UUID.
    pub fn by_uuid(&self, uuid: Uuid) -> std::result::Result<Arc<Filter>, FilterError> {
        let found = self.lock().iter().find(|filter| filter.uuid == uuid).cloned();
        found.ok_or_else(|| FilterError::NotFound(format!("no nwfilter with matching uuid '{uuid}'")))
    }

    fn define(&self, xml: &str) -> std::result::Result<Arc<Filter>, FilterError> {
        let made = Arc::new(named(NwFilter::parse(xml)?));
        let mut kept = self.lock();
        for other in kept.iter() {
            let (name, uuid) = (&other.name, other.uuid);
            if *name == made.name && uuid != made.uuid {
                return Err(FilterError::Clash(format!("filter '{name}' already exists with uuid {uuid}")));
            }
            if *name != made.name && uuid == made.uuid {
                return Err(FilterError::Clash(format!(
                    "filter with same UUID but different name ('{name}') already exists"
                )));
            }
        }
        let text = with_header(&made.name, &made.document.to_xml());
        let path = self.path(&made.name)?;
        std::fs::create_dir_all(&self.directory).map_err(file("make", &self.directory))?;
        lodge_sys::fs::write_durable(&path, text.as_bytes(), 0o600).map_err(file("write", &path))?;
        kept.retain(|other| other.uuid != made.uuid);
        kept.push(Arc::clone(&made));
        kept.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(made)
    }

    /// The file of a name, which must be one of this directory.
    fn path(&self, name: &str) -> std::result::Result<PathBuf, FilterError> {
        if name.contains('/') || name.starts_with('.') || name.contains('\0') {
            let text = format!("filter name '{name}' cannot be a file's");
            return Err(FilterError::Document(Faults::one("", text)));
        }
        Ok(self.directory.join(format!("{name}.xml")))
    }

    fn undefine(&self, uuid: Uuid) -> std::result::Result<(), FilterError> {
        let filter = self.by_uuid(uuid)?;
        let mut kept = self.lock();
        let path = self.path(&filter.name)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(file("remove", &path)(error));
            }
            _ => {}
        }
        kept.retain(|other| other.uuid != uuid);
        Ok(())
    }
}

/// The file's text, with the words that libvirt puts before each definition.
fn with_header(name: &str, xml: &str) -> String {
    // A comment must not contain `--` (XML 1.0, 2.5), nor end in `-`.
    let name = if name.contains("--") || name.ends_with('-') { "NAME" } else { name };
    format!(
        "<!--\n\
         WARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE\n\
         OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:\n  \
         virsh nwfilter-edit {name}\n\
         or other application using the libvirt API.\n\
         -->\n\n{xml}"
    )
}

fn named(mut document: NwFilter) -> Filter {
    let uuid = *document.uuid.get_or_insert_with(Uuid::new_v4);
    Filter { name: document.name.clone().unwrap_or_default(), uuid, document }
}

fn file<'p>(act: &'static str, path: &'p Path) -> impl FnOnce(std::io::Error) -> FilterError + 'p {
    move |source| FilterError::File { act, path: path.to_owned(), source }
}

impl Engine {
    /// The network filters, to look at.
    pub fn network_filters(&self, _caller: &Caller) -> Arc<Filters> {
        Arc::clone(&self.filters)
    }

    /// Takes in a filter's document.
    #[crate::boxed]
    pub async fn define_network_filter(&self, caller: &Caller, xml: String) -> Result<Arc<Filter>> {
        caller.may_change()?;
        Ok(self.filters.define(&xml)?)
    }

    /// Forgets a filter.
    #[crate::boxed]
    pub async fn undefine_network_filter(&self, caller: &Caller, uuid: Uuid) -> Result<()> {
        caller.may_change()?;
        Ok(self.filters.undefine(uuid)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_kept_with_libvirts_header() {
        let root = tempfile::tempdir().unwrap();
        let filters = Filters::open(root.path().to_owned());
        let made =
            filters.define("<filter name='f1'><rule action='drop' direction='out'/></filter>").unwrap();
        let text = std::fs::read_to_string(root.path().join("f1.xml")).unwrap();
        assert!(text.starts_with("<!--\nWARNING") && text.contains("virsh nwfilter-edit f1"), "{text}");
        let clash = filters.define("<filter name='f1'/>").unwrap_err().to_string();
        assert_eq!(clash, format!("filter 'f1' already exists with uuid {}", made.uuid));
        assert!(filters.define("<filter name='../x'/>").is_err());
        let again = Filters::open(root.path().to_owned());
        assert_eq!(again.list(), std::slice::from_ref(&made));
        again.undefine(made.uuid).unwrap();
        assert!(again.by_name("f1").is_err());
    }
}
