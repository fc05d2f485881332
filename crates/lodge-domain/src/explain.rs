//! `lodge explain`: which element of a document became which argument of QEMU's.
//!
//! Of a guest that runs: the words of its process, held against its live document. Of one that does not, or of a
//! document that is not defined: what a start would say. Nothing is opened, changed or started.

use lodge_model::domain::Domain;
use lodge_qemu::{Accelerator, Explanation, explain};
use lodge_sys::process::Identity;

use crate::define::judge;
use crate::domains::{Domains, Shared};
use crate::error::DomainError;
use crate::handle::Handle;
use crate::native::refused;
use crate::start::choose_accelerator;

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
    pub fn explain(&self) -> Result<Explained, DomainError> {
        let document = self.document()?;
        let running = self.snapshot().vmm.clone();
        let words = running.as_ref().and_then(|vmm| words_of(vmm.process));
        let (Some(vmm), Some(words)) = (running, words) else { return next_start(self.shared(), &document) };
        let accelerator = if &*vmm.accelerator == "kvm" { Accelerator::Kvm } else { Accelerator::Tcg };
        let reason = Some(vmm.accelerator_reason.to_string());
        let capabilities = &self.shared().config.capabilities;
        let explanation = explain(&document, capabilities, accelerator, reason).map_err(refused)?;
        let (emulator, words) =
            words.split_first().map_or((String::new(), &[][..]), |(first, rest)| (first.clone(), rest));
        let explanation = explanation.as_run(words);
        Ok(Explained { name: document.name, pid: Some(vmm.process.pid), emulator, explanation })
    }
}

impl Domains {
    /// Explains what a start of the document would say.
    pub fn explain(&self, xml: &str) -> Result<Explained, DomainError> {
        next_start(&self.shared, &judge(&self.shared, xml, false)?)
    }
}

fn next_start(shared: &Shared, document: &Domain) -> Result<Explained, DomainError> {
    let config = &shared.config;
    // A start would be refused; what it would say under KVM can still be told.
    let (accelerator, reason, fell_back) =
        choose_accelerator(config, document).unwrap_or((Accelerator::Kvm, String::new(), false));
    let fallback = fell_back.then_some(reason);
    let explanation = explain(document, &config.capabilities, accelerator, fallback).map_err(refused)?;
    let emulator = document.devices.emulator.clone();
    let emulator = emulator.unwrap_or_else(|| config.capabilities.binary.display().to_string());
    Ok(Explained { name: document.name.clone(), pid: None, emulator, explanation })
}

/// The words of a process, while it is the one that is meant.
fn words_of(process: Identity) -> Option<Vec<String>> {
    let text = std::fs::read(format!("/proc/{}/cmdline", process.pid)).ok()?;
    let text = text.strip_suffix(&[0]).unwrap_or(&text);
    let words =
        text.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    process.alive().then_some(words)
}
