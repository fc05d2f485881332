//! `virsh desc`, `virsh metadata`: a guest's title, description and others' elements, live and for the next boot.
//!
//! Deliberately absent: what an element says; only its namespace counts (lodge-model).

use std::sync::Arc;

use lodge_model::domain::Domain;
use lodge_model::xml::WriteOptions;

use crate::act::{Begin, Reply, ended};
use crate::define::{self, blocking};
use crate::error::DomainError;
use crate::event::EventKind;
use crate::handle::Handle;
use crate::owner::Owner;
use crate::record::replace;
use crate::start::LIVE;
use crate::vmm::LIVE_XML;

/// Which part (`virDomainMetadataType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MetadataKind {
    /// `<description>`.
    Description = 0,
    /// `<title>`.
    Title = 1,
    /// An element of `<metadata>`.
    Element = 2,
}

impl MetadataKind {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Title => "title",
            Self::Element => "element",
        }
    }
}

/// Which of a guest's two documents is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Affects {
    /// The running guest's.
    pub live: bool,
    /// The next boot's.
    pub config: bool,
}

/// What is to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataEdit {
    /// Which part.
    pub kind: MetadataKind,
    /// The text or element; none removes it.
    pub text: Option<String>,
    /// The element's namespace.
    pub uri: Option<String>,
    /// The prefix it gets.
    pub key: Option<String>,
    /// Where.
    pub affects: Affects,
}

impl MetadataEdit {
    fn apply(&self, domain: &mut Domain) -> Result<(), DomainError> {
        let text = self.text.clone().filter(|text| !text.is_empty());
        match self.kind {
            MetadataKind::Description => domain.description = text,
            MetadataKind::Title => domain.title = text,
            MetadataKind::Element => {
                let uri = self.uri.as_deref().unwrap_or_default();
                let element =
                    self.text.as_deref().map(|text| (self.key.as_deref().unwrap_or_default(), text));
                domain
                    .set_metadata_element(uri, element)
                    .map_err(|source| DomainError::Metadata { source })?;
            }
        }
        Ok(())
    }
}

impl Handle {
    /// A part of the live document (`live`) or of the definition; none if it is not there.
    pub fn metadata(
        &self,
        kind: MetadataKind,
        uri: Option<&str>,
        live: bool,
    ) -> Result<Option<String>, DomainError> {
        let document = match (live, self.definition()?) {
            (false, Some(definition)) => definition,
            _ => self.document()?,
        };
        Ok(match kind {
            MetadataKind::Description => document.description,
            MetadataKind::Title => document.title,
            MetadataKind::Element => uri.and_then(|uri| document.metadata_element(uri)),
        })
    }
}

/// `virsh metadata --set`.
pub(crate) fn set(owner: &mut Owner, edit: MetadataEdit) -> Begin {
    let name = owner.name();
    if edit.affects.config && !owner.is_persistent() {
        return Begin::Now(Err(DomainError::Transient { act: "change the definition of", name }));
    }
    if edit.affects.live && owner.vmm.is_none() {
        return Begin::Now(Err(DomainError::NotRunning { name }));
    }
    let documents = owner.entry.documents.load_full();
    let definitions = owner.shared.config.store.domains().clone();
    let live_file = owner.vmm.as_deref().map(|vmm| vmm.dir.join(LIVE_XML));
    Begin::job(async move {
        let mut changed = (None, None);
        let outcome = async {
            if let (true, Some(text)) = (edit.affects.config, documents.inactive.as_deref()) {
                let mut domain = define::parse(text)?;
                edit.apply(&mut domain)?;
                let xml: Arc<str> = domain.to_xml(&WriteOptions::STORED).into();
                changed.0 = Some((Arc::clone(&xml), domain));
                let written = blocking(move || definitions.put(&name, &xml).map(drop));
                written.await.map_err(DomainError::Definition)?;
            }
            if let (true, Some(text), Some(path)) = (edit.affects.live, documents.live.as_deref(), live_file)
            {
                let mut domain = define::parse(text)?;
                edit.apply(&mut domain)?;
                let xml: Arc<str> = domain.to_xml(&LIVE).into();
                let text = Arc::clone(&xml);
                let to = path.clone();
                let written = blocking(move || replace(&to, text.as_bytes())).await;
                written.map_err(|source| DomainError::File { act: "write", path, source })?;
                changed.1 = Some((xml, domain));
            }
            Ok(())
        };
        let outcome: Result<(), DomainError> = outcome.await;
        ended(move |owner| {
            let (config, live) = changed;
            if let Some((xml, domain)) = config {
                let before = owner.entry.snapshot.load().changed;
                owner.take_definition(xml, &domain);
                owner.amend_snapshot(|snapshot| snapshot.changed = before);
            }
            if let Some((xml, domain)) = live {
                owner.set_documents(|documents| documents.live = Some(xml));
                owner.amend_snapshot(|snapshot| snapshot.summary = Arc::new(define::summary_of(&domain)));
            }
            owner.publish_snapshot();
            outcome?;
            let uri = edit.uri.filter(|_| edit.kind == MetadataKind::Element);
            owner.shared.publish(&owner.entry, EventKind::MetadataChange { kind: edit.kind, uri });
            Ok(Reply::Done)
        })
    })
}
