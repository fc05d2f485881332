//! `virsh domxml-to-native qemu-argv`: the command that a document would become, for a person to read.
//!
//! The very builder of a start, given places instead of open files. Deliberately absent: running it; the descriptors a
//! start passes are not there, and stand as the paths they are of.

use std::collections::BTreeMap;

use lodge_model::domain::chardev::CharKind;
use lodge_model::domain::{Domain, DomainKind};
use lodge_qemu::{
    Accelerator, Claims, CommandLine, ENVIRONMENT, FdNumber, Link, NicClaim, ScreenClaim, command_line,
};

use crate::define::judge;
use crate::domains::Domains;
use crate::error::DomainError;

impl Domains {
    /// The words of the command, as a shell takes them.
    pub fn native_command(&self, xml: &str) -> Result<String, DomainError> {
        let mut document = judge(&self.shared, xml, false)?;
        lodge_qemu::assign_aliases(&mut document);
        let capabilities = &self.shared.config.capabilities;
        let (claims, names) = places(&document);
        let line = command_line(&document, capabilities, &claims).map_err(|refusals| {
            let faults = refusals
                .0
                .iter()
                .map(|refused| lodge_model::Fault::at(refused.element.as_str(), refused.reason.as_str()));
            DomainError::Document { faults: lodge_model::Faults(faults.collect()) }
        })?;
        let sets = sets(&line, &names);
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

/// What a start would have open, by numbers of no file, and the path behind each.
fn places(document: &Domain) -> (Claims, BTreeMap<String, String>) {
    let mut numbers = (100..).map(FdNumber::fixed);
    let mut next = || numbers.next().unwrap_or(FdNumber::fixed(0));
    let accelerator = if document.kind == DomainKind::Kvm { Accelerator::Kvm } else { Accelerator::Tcg };
    let mut claims = Claims::new(accelerator, next());
    let mut names = BTreeMap::new();
    let mut name = |fd: FdNumber, path: &str| names.insert(fd.to_string(), path.to_owned());
    for disk in &document.devices.disks {
        let Some(path) = disk.path() else { continue };
        let fd = next();
        name(fd, path);
        claims.disks.insert(disk.target.dev.clone(), vec![Link::file(fd, disk.format(), disk.readonly)]);
    }
    for _ in &document.devices.interfaces {
        claims.nics.push(NicClaim { taps: vec![next()], ..NicClaim::default() });
    }
    for (at, channel) in document.devices.channels.iter().enumerate() {
        if channel.kind == CharKind::Unix && channel.source().is_none_or(|source| source.path.is_none()) {
            claims.sockets.insert(format!("channel{at}"), next());
        }
    }
    // Where a helper's socket will be is not known before it runs.
    for tpm in &document.devices.tpms {
        claims.helpers.extend(tpm.place.alias.as_ref().map(|alias| (alias.name.clone(), next())));
    }
    for graphics in &document.devices.graphics {
        let port = graphics.port.and_then(|port| u16::try_from(port).ok());
        claims.screens.push(ScreenClaim { port: port.or(Some(5900)), ..ScreenClaim::default() });
    }
    let os = &document.os;
    if let Some(code) = os.loader.as_deref().and_then(|loader| loader.path.as_deref()) {
        let fd = next();
        name(fd, code);
        claims.firmware = Some(Link::file(fd, "raw", true));
    }
    if let Some(nvram) = os.nvram.as_deref().and_then(|nvram| nvram.path.as_deref()) {
        let fd = next();
        name(fd, nvram);
        claims.nvram = Some(Link::file(fd, "raw", false));
    }
    (claims, names)
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
