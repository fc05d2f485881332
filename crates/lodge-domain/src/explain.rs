//! `lodge explain`: which element of a document became which argument of QEMU's.
//!
//! Of a guest that runs: the words of its process, held against its live document. Of one that does not, or of a
//! document that is not defined: what a start would say. Nothing is opened, changed or started.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use lodge_model::domain::Domain;
use lodge_qemu::{Accelerator, Explanation, explain};
use lodge_sys::process::Identity;

use crate::define::{blocking, judge};
use crate::domains::{Domains, Shared};
use crate::error::DomainError;
use crate::handle::Handle;
use crate::native::refused;
use crate::start::{choose_accelerator, has_all_blocks};

/// How long a look at disks' files may take.
const LOOK: Duration = Duration::from_secs(2);

/// The arguments of one QEMU, explained.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The guest's name.
    pub name: String,
    /// Its process; none where the next start is explained.
    pub pid: Option<u32>,
    /// The program.
    pub emulator: String,
    /// The rest.
    pub explanation: Explanation,
}

impl Handle {
    /// Explains the QEMU that runs, or the next start.
    pub async fn explain(&self) -> Result<Explained, DomainError> {
        let document = self.document()?;
        let running = self.snapshot().vmm.clone();
        let words = running.as_ref().and_then(|vmm| words_of(vmm.process));
        let (Some(vmm), Some(words)) = (running, words) else {
            return next_start(self.shared(), &document).await;
        };
        let accelerator = if &*vmm.accelerator == "kvm" { Accelerator::Kvm } else { Accelerator::Tcg };
        let reason = Some(vmm.accelerator_reason.to_string());
        let capabilities = self.shared().config.capabilities_of(&document);
        // What its disks' files were at its start is in its words.
        let full = BTreeSet::new();
        let explanation = explain(&document, capabilities, accelerator, reason, &full).map_err(refused)?;
        let (emulator, words) =
            words.split_first().map_or((String::new(), &[][..]), |(first, rest)| (first.clone(), rest));
        let explanation = explanation.as_run(words);
        Ok(Explained { name: document.name, pid: Some(vmm.process.pid), emulator, explanation })
    }
}

impl Domains {
    /// Explains what a start of the document would say.
    pub async fn explain(&self, xml: &str) -> Result<Explained, DomainError> {
        next_start(&self.shared, &judge(&self.shared, xml, false)?).await
    }
}

async fn next_start(shared: &Shared, document: &Domain) -> Result<Explained, DomainError> {
    let mut document = document.clone();
    document.align_memory();
    let document = &document;
    let config = &shared.config;
    // A start would be refused; what it would say under KVM can still be told.
    let (accelerator, reason, fell_back) =
        choose_accelerator(config, document).unwrap_or((Accelerator::Kvm, String::new(), false));
    let fallback = fell_back.then_some(reason);
    let full = full_files(document).await;
    let explanation =
        explain(document, config.capabilities_of(document), accelerator, fallback, &full).map_err(refused)?;
    let emulator = document.devices.emulator.clone();
    let emulator = emulator.unwrap_or_else(|| config.capabilities_of(document).binary.display().to_string());
    Ok(Explained { name: document.name.clone(), pid: None, emulator, explanation })
}

/// Which files of the document's disks have all their blocks. Files that nobody can look at have none.
pub(crate) async fn full_files(document: &Domain) -> BTreeSet<String> {
    let mut paths: Vec<String> = Vec::new();
    for disk in &document.devices.disks {
        paths.extend(disk.path().map(str::to_owned));
        let below =
            std::iter::successors(disk.backing_store.as_deref(), |store| store.backing_store.as_deref());
        paths.extend(below.filter_map(|store| store.source.as_deref()?.file.clone()));
    }
    let look = blocking(move || {
        let is_full = |path: &String| {
            let of = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
            of.is_some_and(|of| has_all_blocks(of.size().cast_signed(), of.blocks().cast_signed()))
        };
        paths.into_iter().filter(is_full).collect()
    });
    tokio::time::timeout(LOOK, look).await.unwrap_or_default()
}

/// The words of a process, while it is the one that is meant.
fn words_of(process: Identity) -> Option<Vec<String>> {
    let text = std::fs::read(format!("/proc/{}/cmdline", process.pid)).ok()?;
    let text = text.strip_suffix(&[0]).unwrap_or(&text);
    let words =
        text.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    process.alive().then_some(words)
}
