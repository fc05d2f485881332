//! Errors of domains as libvirt's: number, part and words as libvirtd 11.3's QEMU driver has them.

use std::error::Error;
use std::io;
use std::path::Path;

use lodge_engine::{AgentError, DomainError, MonitorError, SaveImageError};
use lodge_model::domain::lifecycle::Denied;
use lodge_model::domain::metadata::MetadataFault;
use lodge_model::snapshot::{SnapshotFault, SnapshotSort};
use lodge_model::{Faults, Kind};

use super::from::whole;
use super::{Code, Fault, Origin};

impl From<DomainError> for Fault {
    fn from(error: DomainError) -> Self {
        of_domain(&error)
    }
}

fn of_domain(error: &DomainError) -> Fault {
    let qemu = |code, text: String| Fault::new(code, Origin::Qemu, text);
    let domain = |code, text: String| Fault::new(code, Origin::Domain, text);
    match error {
        DomainError::NoSuchDomain { wanted } => {
            qemu(Code::NoDomain, format!("no domain with matching name '{wanted}'"))
        }
        DomainError::Vanished { name } => {
            qemu(Code::NoDomain, format!("no domain with matching name '{name}'"))
        }
        DomainError::NameTaken { name, id } => {
            domain(Code::OperationFailed, format!("domain '{name}' already exists with uuid {id}"))
        }
        DomainError::UuidTaken { name, id, .. } => {
            domain(Code::OperationFailed, format!("domain '{name}' is already defined with uuid {id}"))
        }
        DomainError::Document { faults } => of_document(faults),
        DomainError::Invalid { faults } => {
            Fault::new(Code::XmlInvalidSchema, Origin::Xml, format!("Unable to validate doc: {faults}"))
        }
        DomainError::NoSuchKind { emulator, kind } => qemu(
            Code::ConfigUnsupported,
            format!("Emulator '{}' does not support virt type '{kind}'", emulator.display()),
        ),
        DomainError::NoSuchArch { emulator, arch } if ARCHITECTURES.contains(&arch.as_str()) => qemu(
            Code::ConfigUnsupported,
            format!("Emulator '{}' does not support arch '{arch}'", emulator.display()),
        ),
        DomainError::NoSuchArch { arch, .. } => {
            domain(Code::ConfigUnsupported, format!("Unknown architecture {arch}"))
        }
        DomainError::NoEmulator { path, source } => Fault::system(
            Origin::Qemu,
            format!("Cannot check QEMU binary {}: {}", path.display(), strerror(source)),
            source.raw_os_error().unwrap_or_default(),
        ),
        DomainError::NoSuchMachine { emulator, machine } => qemu(
            Code::ConfigUnsupported,
            format!("Emulator '{}' does not support machine type '{machine}'", emulator.display()),
        ),
        DomainError::Denied { act: "create" | "restore", name, source: Denied::AlreadyRunning } => {
            domain(Code::OperationInvalid, format!("domain '{name}' is already active"))
        }
        DomainError::Denied { source, .. } => of_denied(*source),
        DomainError::NotRunning { .. } => not_running(),
        DomainError::NoJob { .. } => {
            qemu(Code::OperationInvalid, "no job is active on the domain".to_owned())
        }
        DomainError::CannotRename { why, .. } if why.ends_with("to itself") => {
            domain(Code::OperationInvalid, (*why).to_owned())
        }
        DomainError::CannotRename { why, .. } => qemu(Code::OperationInvalid, (*why).to_owned()),
        DomainError::NoManagedSave { .. } => {
            qemu(Code::OperationInvalid, "domain does not have managed save image".to_owned())
        }
        DomainError::Busy { what, .. } => {
            qemu(Code::OperationTimeout, format!("cannot acquire state change lock (held by {what})"))
        }
        DomainError::Aborted { act, .. } => {
            qemu(Code::OperationAborted, format!("domain {act} job: canceled by client"))
        }
        DomainError::NoAgent { .. } => {
            qemu(Code::ArgumentUnsupported, "QEMU guest agent is not configured".to_owned())
        }
        DomainError::Agent { source, .. } => of_agent(source),
        DomainError::Monitor { source, .. } => of_monitor(source),
        DomainError::WouldNotEnd { pid, .. } => Fault::system(
            Origin::None,
            format!("Failed to terminate process {pid} with SIGTERM: Device or resource busy"),
            rustix::io::Errno::BUSY.raw_os_error(),
        ),
        DomainError::Encumbered { what, .. } => qemu(Code::OperationInvalid, encumbered(what)),
        DomainError::Transient { act, .. } => qemu(Code::OperationInvalid, transient(act)),
        DomainError::Save { path, source, .. } | DomainError::Dump { path, source, .. } => {
            of_write(path, source.as_ref(), error)
        }
        DomainError::SavedImage { path, source } => of_image(path, source, error),
        DomainError::OtherMachine { why } => domain(Code::ConfigUnsupported, why.clone()),
        DomainError::Metadata { source } => of_metadata(source),
        DomainError::File { source, path, .. } => Fault::system(
            Origin::Qemu,
            format!("{}: {}", path.display(), strerror(source)),
            source.raw_os_error().unwrap_or_default(),
        ),
        DomainError::NoSnapshot { snapshot, .. } => {
            qemu(Code::NoDomainSnapshot, format!("no domain snapshot with matching name '{snapshot}'"))
        }
        DomainError::SnapshotRisky { why, .. } => qemu(Code::SnapshotRevertRisky, why.clone()),
        DomainError::HasSnapshots { count, .. } => {
            qemu(Code::OperationInvalid, format!("cannot delete inactive domain with {count} snapshots"))
        }
        DomainError::SnapshotDocument(fault) => of_snapshot(fault),
        // It has libvirt's sort and words already.
        DomainError::Refused(refusal) => refusal.clone().into(),
        DomainError::Definition(_) if error.kind() == Kind::InvalidInput => {
            domain(Code::XmlError, whole(error))
        }
        _ => other(error),
    }
}

/// Errors without words of libvirt's. A thing of the host that is not there is not a domain that is not there.
fn other(error: &DomainError) -> Fault {
    let code = match error.kind() {
        Kind::NotFound => {
            let text = whole(error);
            return super::from::of_missing_disk(&text).unwrap_or_else(|| {
                Fault::system(Origin::Qemu, text, rustix::io::Errno::NOENT.raw_os_error())
            });
        }
        Kind::Unsupported => Code::ConfigUnsupported,
        kind => super::from::code_of(kind),
    };
    Fault::new(code, Origin::Qemu, whole(error))
}

/// `virDomainObjCheckActive`.
pub(crate) fn not_running() -> Fault {
    Fault::new(Code::OperationInvalid, Origin::Domain, "domain is not running")
}

fn of_denied(denied: Denied) -> Fault {
    let invalid = |text: &str| Fault::new(Code::OperationInvalid, Origin::Qemu, text);
    match denied {
        Denied::NotRunning => not_running(),
        Denied::AlreadyRunning => invalid("domain is already running"),
        // What libvirtd says of a guest that is there and whose processors stand still.
        Denied::Paused | Denied::Crashed => invalid("domain is not running"),
        Denied::Asleep => invalid("domain is pmsuspended"),
        Denied::NotAsleep => invalid("domain is not pmsuspended"),
        Denied::Busy(_) => {
            Fault::new(Code::OperationTimeout, Origin::Qemu, "cannot acquire state change lock")
        }
    }
}

/// A text that is no XML, and one that is no guest.
fn of_document(faults: &Faults) -> Fault {
    match faults.0.as_slice() {
        [one] if one.path.is_empty() && one.line > 0 => {
            Fault::new(Code::XmlDetail, Origin::Domain, format!("at line {}: {}", one.line, one.message))
        }
        faults => in_libvirts_words(faults).unwrap_or_else(|| {
            let all: Vec<_> = faults.iter().map(ToString::to_string).collect();
            Fault::new(Code::XmlError, Origin::Domain, all.join("; "))
        }),
    }
}

/// What is wrong with a snapshot's document.
fn of_snapshot(fault: &SnapshotFault) -> Fault {
    match fault {
        SnapshotFault::Document(faults) => {
            if let Some(fault) = super::other_root(&faults.to_string()) {
                return fault;
            }
            Fault::new(Code::XmlError, Origin::DomainSnapshot, faults.to_string())
        }
        SnapshotFault::Refused { sort, text, of_document } => {
            let code = match sort {
                SnapshotSort::Xml => Code::XmlError,
                SnapshotSort::XmlDetail => Code::XmlDetail,
                SnapshotSort::ConfigUnsupported => Code::ConfigUnsupported,
                SnapshotSort::Unsupported => Code::OperationUnsupported,
                SnapshotSort::Invalid => Code::OperationInvalid,
                SnapshotSort::InvalidArg => Code::InvalidArg,
                SnapshotSort::Internal => Code::InternalError,
            };
            let origin = if *of_document { Origin::DomainSnapshot } else { Origin::Qemu };
            Fault::new(code, origin, text.clone())
        }
    }
}

/// Names of architectures that libvirt knows and this host does not run.
const ARCHITECTURES: [&str; 16] = [
    "aarch64",
    "alpha",
    "armv6l",
    "armv7l",
    "loongarch64",
    "m68k",
    "mips",
    "mipsel",
    "mips64",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv32",
    "riscv64",
    "s390x",
    "sparc64",
];

/// Faults that clients' tests know by libvirt's words.
fn in_libvirts_words(faults: &[lodge_model::Fault]) -> Option<Fault> {
    let [fault, ..] = faults else { return None };
    if let Some(fault) = super::other_root(&fault.message) {
        return Some(fault);
    }
    let quoted = || fault.message.strip_prefix('`')?.split_once('`').map(|(value, _)| value);
    match fault.path.as_str() {
        "/domain" if fault.message.starts_with("attribute `type` is missing") => {
            return Some(Fault::internal(Origin::Domain, "missing domain type attribute"));
        }
        "/domain/@type" => {
            let text = format!("invalid domain type {}", quoted()?);
            return Some(Fault::new(Code::ConfigUnsupported, Origin::Domain, text));
        }
        "/domain/uuid" if fault.message.ends_with("is no UUID") => {
            return Some(Fault::internal(Origin::Domain, "malformed uuid element"));
        }
        "/domain/memory" | "/domain/currentMemory" if fault.message.contains("is no whole number") => {
            let element = fault.path.strip_prefix("/domain/")?;
            let text = format!("Invalid value '{}' for element or attribute './{element}[1]'", quoted()?);
            return Some(Fault::new(Code::XmlError, Origin::Domain, text));
        }
        _ => {}
    }
    if fault.message.contains("element <name> is missing or empty") {
        return Some(Fault::bare(Code::NoName, Origin::Domain, "missing name information"));
    }
    if fault.path == "/domain/name" {
        let (name, _) = fault.message.strip_prefix("name `")?.split_once("` has a `/`")?;
        return Some(Fault::new(Code::XmlError, Origin::Domain, format!("name {name} cannot contain '/'")));
    }
    None
}

fn encumbered(what: &str) -> String {
    match what {
        "a managed save image" => "Refusing to undefine while domain managed save image exists".to_owned(),
        "UEFI variables" => "cannot undefine domain with nvram".to_owned(),
        other => format!("cannot undefine domain with {other}"),
    }
}

fn transient(act: &str) -> String {
    match act {
        "managedsave" => "cannot do managed save for transient domain".to_owned(),
        "set autostart of" => "cannot set autostart for transient domain".to_owned(),
        "rename" => "cannot rename a transient domain".to_owned(),
        "change the definition of" => "transient domains do not have any persistent config".to_owned(),
        act => format!("cannot {act} transient domain"),
    }
}

fn strerror(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn io_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// A file that could not be made or filled.
fn of_write(path: &Path, source: &(dyn Error + Send + Sync + 'static), error: &DomainError) -> Fault {
    match io_in(source) {
        Some(cause) => Fault::system(
            Origin::Qemu,
            format!("Failed to create file '{}': {}", path.display(), strerror(cause)),
            cause.raw_os_error().unwrap_or_default(),
        ),
        None => Fault::new(Code::OperationFailed, Origin::Qemu, whole(error)),
    }
}

fn of_image(path: &Path, source: &SaveImageError, error: &DomainError) -> Fault {
    let failed = |text: String| Fault::new(Code::OperationFailed, Origin::Qemu, text);
    match source {
        SaveImageError::Open { source, .. } => Fault::system(
            Origin::Qemu,
            format!("Failed to open file '{}': {}", path.display(), strerror(source)),
            source.raw_os_error().unwrap_or_default(),
        ),
        SaveImageError::NotASave { .. } => failed("image magic is incorrect".to_owned()),
        SaveImageError::Partial { .. } => failed("save image is incomplete".to_owned()),
        SaveImageError::Version { found, .. } => {
            failed(format!("image version is not supported ({found} > 2)"))
        }
        _ => failed(whole(error)),
    }
}

fn of_monitor(error: &MonitorError) -> Fault {
    match error {
        MonitorError::Refused { command, description, .. } => Fault::internal(
            Origin::Qemu,
            format!("unable to execute QEMU command '{command}': {description}"),
        ),
        _ => Fault::new(Code::OperationFailed, Origin::Qemu, whole(error)),
    }
}

fn of_agent(error: &AgentError) -> Fault {
    match error {
        AgentError::Refused { command, description, .. } => Fault::new(
            Code::AgentCommandFailed,
            Origin::Qemu,
            format!("unable to execute QEMU agent command '{command}': {description}"),
        ),
        AgentError::Connect { .. } | AgentError::Silent { .. } => {
            Fault::new(Code::AgentUnresponsive, Origin::Qemu, "QEMU guest agent is not connected")
        }
        _ => Fault::internal(Origin::Qemu, whole(error)),
    }
}

fn of_metadata(fault: &MetadataFault) -> Fault {
    match fault {
        MetadataFault::Malformed { line, message } => {
            Fault::new(Code::XmlDetail, Origin::Domain, format!("at line {line}: {message}"))
        }
        MetadataFault::Key { key } => {
            Fault::internal(Origin::Xml, format!("failed to validate prefix '{key}'"))
        }
        MetadataFault::KeyTaken { .. } => {
            Fault::internal(Origin::Xml, "failed to create a new XML namespace")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(error: DomainError) -> String {
        let fault = Fault::from(error);
        format!("{} {} {}", fault.code().number(), fault.origin().number(), fault.message())
    }

    /// As a libvirtd 11.3 said them, seen side by side.
    #[test]
    fn refusals_have_libvirts_numbers_and_words() {
        let name = || "a".into();
        let table = [
            (
                DomainError::NotRunning { name: name() },
                "55 20 Requested operation is not valid: domain is not running",
            ),
            (
                DomainError::Denied { act: "start", name: name(), source: Denied::AlreadyRunning },
                "55 10 Requested operation is not valid: domain is already running",
            ),
            (
                DomainError::Denied { act: "create", name: name(), source: Denied::AlreadyRunning },
                "55 20 Requested operation is not valid: domain 'a' is already active",
            ),
            (
                DomainError::Transient { act: "undefine", name: name() },
                "55 10 Requested operation is not valid: cannot undefine transient domain",
            ),
            (
                DomainError::Encumbered { name: name(), what: "a managed save image", hint: "" },
                "55 10 Requested operation is not valid: Refusing to undefine while domain managed save image exists",
            ),
            (
                DomainError::CannotRename { name: name(), why: "Can't rename domain to itself" },
                "55 20 Requested operation is not valid: Can't rename domain to itself",
            ),
            (
                DomainError::NoJob { name: name() },
                "55 10 Requested operation is not valid: no job is active on the domain",
            ),
            (
                DomainError::NoAgent { name: name() },
                "74 10 argument unsupported: QEMU guest agent is not configured",
            ),
            (
                DomainError::Document { faults: Faults::one("/domain/name", "name `a/b` has a `/`") },
                "27 20 XML error: name a/b cannot contain '/'",
            ),
            (
                DomainError::SavedImage {
                    path: "/nope".into(),
                    source: SaveImageError::Open {
                        path: "/nope".into(),
                        source: io::Error::from_raw_os_error(rustix::io::Errno::NOENT.raw_os_error()),
                    },
                },
                "38 10 Failed to open file '/nope': No such file or directory",
            ),
        ];
        for (error, wanted) in table {
            assert_eq!(said(error), wanted);
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_no_domain_that_is_not_there() {
        let source = io::Error::from_raw_os_error(rustix::io::Errno::NOENT.raw_os_error());
        let error = DomainError::File { act: "read", path: "/x".into(), source };
        assert_eq!(Fault::from(error).code(), Code::SystemError);
    }
}
