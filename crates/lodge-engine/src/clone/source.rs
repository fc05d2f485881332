//! What clones are made of: a guest that is off, one that runs (`live.rs`), or a version of a template.

use std::path::PathBuf;

use lodge_api::CloneSpec;
use lodge_model::{
    DomainId, Kind,
    domain::{
        Domain,
        lodge::{Origin, OriginKind},
    },
};

use super::live::Live;
use crate::{
    Engine,
    error::{EngineError, Result},
    template::Template,
};

/// A source, looked at.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// What it is.
    pub origin: Origin,
    /// Its document.
    pub document: Domain,
    /// Its UEFI variables, where there is such a file.
    pub nvram: Option<PathBuf>,
    /// The guest, whose seed the clones get too.
    pub guest: Option<DomainId>,
    /// The template's own disks' targets: clones stand on them.
    pub bases: Vec<String>,
    /// It runs.
    pub live: Option<Live>,
}

impl Source {
    /// `web1`, `web:2`.
    pub fn said(&self) -> String {
        match self.origin.version {
            Some(version) => format!("{}:{version}", self.origin.name),
            None => self.origin.name.clone(),
        }
    }

    pub fn of_template(template: Template) -> Result<Self> {
        Ok(Self {
            origin: Origin {
                kind: OriginKind::Template,
                name: template.name.clone(),
                version: Some(template.version),
            },
            document: Domain::parse(&template.document)?,
            nvram: template.nvram,
            guest: None,
            bases: template.disks.into_iter().map(|disk| disk.target).collect(),
            live: None,
        })
    }
}

/// A copy gets variables of its own, which are a file at the usual place.
pub(super) fn refuse_variables_elsewhere(name: &str, document: &Domain) -> Result<()> {
    if document.os.nvram.as_deref().is_none_or(|nvram| nvram.source.is_none()) {
        return Ok(());
    }
    let text = format!("the UEFI variables of `{name}` are at a <source>, which is not copied");
    Err(EngineError::new(Kind::Unsupported, text)
        .with_hint("write the path of their file into <nvram> itself"))
}

impl Engine {
    /// A machine that is not defined here, or not so, by its document. Whoever writes to its disks is met when they are copied.
    pub(super) fn documented_source(&self, spec: &CloneSpec, text: &str) -> Result<Source> {
        if !spec.source.is_empty() {
            let text =
                format!("a document is given, and `{}` too: of which is the clone to be?", spec.source);
            return Err(EngineError::new(Kind::InvalidInput, text));
        }
        let mut document = Domain::parse(text)?;
        if lodge_model::check_name(&document.name).is_err() {
            return Err(EngineError::new(Kind::InvalidInput, "the document has no name"));
        }
        // What a running guest's document says of its run.
        document.id = None;
        let name = document.name.clone();
        refuse_variables_elsewhere(&name, &document)?;
        let nvram = self.nvram_of(&name, &document);
        Ok(Source {
            origin: Origin { kind: OriginKind::Domain, name, version: None },
            document,
            nvram,
            guest: None,
            bases: Vec::new(),
            live: None,
        })
    }

    /// Finds what somebody named: a domain before a template of the same name.
    pub(crate) async fn clone_source(&self, spec: &CloneSpec) -> Result<Source> {
        if let Some(text) = &spec.document {
            return self.documented_source(spec, text);
        }
        let wanted = &spec.source;
        match self.domains.find(wanted) {
            Ok(handle) if handle.snapshot().is_active() => self.running_source(&handle, spec).await,
            Ok(_) => self.guest_source(wanted).await,
            Err(_) => match self.find_template(wanted).await? {
                Some(template) => Source::of_template(template),
                None => Err(EngineError::new(
                    Kind::NotFound,
                    format!("there is no domain and no template `{wanted}`"),
                )
                .with_hint("`lodge list --all` and `lodge template list` show what there is")),
            },
        }
    }

    /// A guest that is off and will stay so while its disks are copied.
    pub(crate) async fn guest_source(&self, wanted: &str) -> Result<Source> {
        let handle = self.find_domain(wanted)?;
        handle.refresh().await?;
        let (snapshot, name) = (handle.snapshot(), handle.name().to_string());
        if snapshot.is_active() {
            return Err(EngineError::new(Kind::InvalidState, format!("domain `{name}` runs"))
                .with_hint(format!("shut it down first (lodge shutdown {name})")));
        }
        if snapshot.managed_save {
            let text =
                format!("domain `{name}` has saved memory: its disks are as in the middle of its work");
            return Err(EngineError::new(Kind::InvalidState, text).with_hint(format!(
                "start it and shut it down, or give the memory up: lodge managedsave-remove {name}"
            )));
        }
        let document = handle.definition()?.ok_or_else(|| {
            EngineError::new(Kind::InvalidState, format!("domain `{name}` has no definition"))
        })?;
        refuse_variables_elsewhere(&name, &document)?;
        let nvram = self.nvram_of(&name, &document);
        Ok(Source {
            origin: Origin { kind: OriginKind::Domain, name, version: None },
            document,
            nvram,
            guest: Some(handle.id()),
            bases: Vec::new(),
            live: None,
        })
    }

    /// The file of a guest's UEFI variables, where there is one.
    pub(super) fn nvram_of(&self, name: &str, document: &Domain) -> Option<PathBuf> {
        let named = document.os.nvram.as_deref().and_then(|nvram| nvram.path.clone()).map(PathBuf::from);
        // Where the document names none, the first start has put it there.
        let usual = self.store.root().nvram_of(name);
        let is_uefi = crate::clone::document::has_variables(document);
        named.or_else(|| is_uefi.then_some(usual)).filter(|path| path.exists())
    }
}
