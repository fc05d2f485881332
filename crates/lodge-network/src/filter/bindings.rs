//! Which card has which filter, in libvirt's directory (`run/libvirt/nwfilter-binding`) and form; and, beside it in a
//! directory of our own, what was learned of its guest's address.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use lodge_model::nwfilter::Binding;
use lodge_store::Root;

use super::Result;
use super::store::{file, with_header};

/// Where they are kept.
#[derive(Debug)]
pub(super) struct Bindings {
    documents: PathBuf,
    learned: PathBuf,
}

impl Bindings {
    /// Reads those that are kept.
    pub fn open(root: &Root) -> (Self, Vec<(Binding, Option<Ipv4Addr>)>) {
        let bindings = Self {
            documents: root.libvirt_run().join("nwfilter-binding"),
            learned: root.run().join("filters"),
        };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&bindings.documents).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "xml") {
                continue;
            }
            let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
            match read.and_then(|text| Binding::parse_status(&text).map_err(|error| error.to_string())) {
                Ok(binding) => {
                    let learned = std::fs::read_to_string(bindings.learned.join(&binding.port));
                    let learned = learned.ok().and_then(|text| text.trim().parse().ok());
                    found.push((binding, learned));
                }
                Err(error) => {
                    tracing::error!(file = %path.display(), error, "a card's filter cannot be read");
                }
            }
        }
        (bindings, found)
    }

    pub fn write(&self, binding: &Binding, learned: Option<Ipv4Addr>) -> Result<()> {
        let note = self.learned.join(&binding.port);
        match learned {
            Some(address) => {
                std::fs::create_dir_all(&self.learned).map_err(file("make", &self.learned))?;
                std::fs::write(&note, address.to_string()).map_err(file("write", &note))?;
            }
            None => drop(std::fs::remove_file(&note)),
        }
        let path = self.documents.join(format!("{}.xml", binding.port));
        std::fs::create_dir_all(&self.documents).map_err(file("make", &self.documents))?;
        let header = with_header("nwfilter-binding-create", &binding.port, &binding.to_status());
        lodge_sys::fs::write_durable(&path, header.as_bytes(), 0o600).map_err(file("write", &path))
    }

    pub fn remove(&self, port: &str) -> Result<()> {
        drop(std::fs::remove_file(self.learned.join(port)));
        let path = self.documents.join(format!("{port}.xml"));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}
