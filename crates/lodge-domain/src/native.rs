//! `virsh domxml-to-native qemu-argv`: the command that a document would become, for a person to read.
//!
//! The very builder of a start, given places instead of open files. Deliberately absent: running it; the descriptors a
//! start passes are not there, and stand as the paths they are of.

use std::collections::BTreeMap;

use lodge_model::domain::DomainKind;
use lodge_qemu::{Accelerator, CommandLine, ENVIRONMENT, Refusals, Rehearsal, command_line};

use crate::define::judge;
use crate::domains::Domains;
use crate::error::DomainError;
use crate::explain::full_files;

impl Domains {
    /// The words of the command, as a shell takes them.
    pub async fn native_command(&self, xml: &str) -> Result<String, DomainError> {
        let mut document = judge(&self.shared, xml, false)?;
        document.align_memory();
        lodge_qemu::assign_aliases(&mut document);
        let capabilities = self.shared.config.capabilities_of(&document);
        let accelerator = if document.kind == DomainKind::Kvm { Accelerator::Kvm } else { Accelerator::Tcg };
        let Rehearsal { mut claims, paths, .. } =
            Rehearsal::of(&document, accelerator).with_full(&full_files(&document).await);
        // A person reads paths; where QEMU takes both, they are what is shown.
        (claims.boot, claims.files) = Default::default();
        claims.logs.clear();
        for (alias, _) in lodge_qemu::listeners(&document) {
            claims.sockets.remove(alias);
        }
        claims.host_words.clone_from(&self.shared.config.host_words);
        let line = command_line(&document, capabilities, &claims).map_err(refused)?;
        let sets = sets(&line, &paths);
        let own = line.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let environment = ENVIRONMENT.into_iter().chain(own);
        let mut lines: Vec<String> =
            environment.map(|(name, value)| format!("{name}={}", quoted(value))).collect();
        let emulator = document.devices.emulator.clone();
        lines.push(emulator.unwrap_or_else(|| capabilities.binary.display().to_string()));
        for argument in line.arguments.iter().filter(|argument| argument.option != "-add-fd") {
            let named = |value: &str| {
                sets.iter().fold(value.to_owned(), |value, (set, path)| value.replace(set, path))
            };
            let value = argument.value.as_deref().map(named);
            let value = value.map(|value| format!(" {}", quoted(&value))).unwrap_or_default();
            lines.push(format!("{}{value}", argument.option));
        }
        Ok(lines.join(" "))
    }
}

/// What this QEMU cannot give, as faults of the document.
pub(crate) fn refused(refusals: Refusals) -> DomainError {
    let fault = |refused: lodge_qemu::Refused| lodge_model::Fault::at(refused.element, refused.reason);
    DomainError::Document { faults: lodge_model::Faults(refusals.0.into_iter().map(fault).collect()) }
}

/// The path behind each set of descriptors: `-add-fd set=1,fd=101,opaque=rdwr`.
fn sets(line: &CommandLine, names: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let given = line.arguments.iter().filter(|argument| argument.option == "-add-fd");
    let set = |argument: &lodge_qemu::Argument| {
        let mut parts = argument.value.as_deref()?.split(',');
        let set = parts.next()?.strip_prefix("set=")?;
        let path = names.get(parts.next()?.strip_prefix("fd=")?)?;
        Some((format!("/dev/fdset/{set}\""), format!("{path}\"")))
    };
    given.filter_map(set).collect()
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
