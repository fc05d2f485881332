//! What `libvirtd.conf` (or `virtqemud.conf`) says of the doors, judged.
//!
//! [`Settings::read`] collects every fault and every warning and names each one's file and line. A key that is known
//! and cannot be honoured is a warning that says so; one whose silence would open a door (`access_drivers`) is an
//! error. `lodge.toml` has nothing of this: who comes in is libvirt's own file's matter.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lodge_model::Kind;
use lodge_store::{Root, Scope};

use lodge_store::conf::{self, ConfError, Entry, Place, Value, flag, list, number, text};

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Auth {
    /// Whoever may open the socket may come in.
    None,
    /// Name and password.
    Sasl,
    /// polkit, and where there is none the peer's groups.
    Polkit,
}

impl Auth {
    /// libvirt's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sasl => "sasl",
            Self::Polkit => "polkit",
        }
    }
}

/// How many may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Clients at once.
    pub clients: usize,
    /// Clients at once that have not logged in; 0: as many as there may be clients.
    pub unauthenticated: usize,
    /// Connections the kernel keeps waiting.
    pub queued: u32,
    /// Unfinished calls of one client.
    pub requests: usize,
}

/// When a client that asked for it is pinged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// After this much silence; none: never.
    pub interval: Option<Duration>,
    /// So many unanswered pings are too many.
    pub count: u32,
}

impl Default for Keepalive {
    /// libvirtd's.
    fn default() -> Self {
        Self { interval: Some(Duration::from_secs(5)), count: 5 }
    }
}

/// Where the certificates are, and whom they let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// Our key.
    pub key: PathBuf,
    /// Our certificate.
    pub certificate: PathBuf,
    /// Who signs clients' certificates.
    pub authority: PathBuf,
    /// Those taken back; none: nobody keeps a list.
    pub revoked: Option<PathBuf>,
    /// The list is where one is kept by default: it may appear and go while the daemon runs.
    pub revoked_if_there: bool,
    /// Clients need a certificate.
    pub verify: bool,
    /// Names that may come in, with `*`; none: every certificate of the authority's.
    pub allowed_names: Option<Vec<String>>,
}

/// Modes and group of the sockets in the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSettings {
    /// Where they are.
    pub directory: PathBuf,
    /// Whose group.
    pub group: Option<String>,
    /// Of `…-sock`.
    pub read_write_mode: u32,
    /// Whether there is a `…-sock-ro`: a user's session has none, as libvirtd's.
    pub read_only: bool,
    /// Of `…-sock-ro`.
    pub read_only_mode: u32,
    /// Of `…-admin-sock`.
    pub admin_mode: u32,
}

/// Everything the doors are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Sockets in the file system.
    pub unix: UnixSettings,
    /// Log-in on `…-sock`.
    pub auth_read_write: Auth,
    /// Log-in on `…-sock-ro`.
    pub auth_read_only: Auth,
    /// Log-in on the TCP port.
    pub auth_tcp: Auth,
    /// Log-in on the TLS port, beside the certificate.
    pub auth_tls: Auth,
    /// With `--listen`: the TLS port is opened.
    pub listen_tls: bool,
    /// With `--listen`: the TCP port is opened.
    pub listen_tcp: bool,
    /// Number or service name.
    pub tls_port: String,
    /// Number or service name.
    pub tcp_port: String,
    /// The address both are opened on; none: all.
    pub listen_addr: Option<String>,
    /// Certificates.
    pub tls: TlsSettings,
    /// Names that SASL may prove, with `*`; none: all.
    pub sasl_allowed_users: Option<Vec<String>>,
    /// For the program `remote` and its fellows.
    pub limits: ClientLimits,
    /// For the admin socket.
    pub admin_limits: ClientLimits,
    /// For the program `remote` and its fellows.
    pub keepalive: Keepalive,
    /// For the admin socket.
    pub admin_keepalive: Keepalive,
    /// The host's UUID, where the firmware's is not to be used; judged here, used by `lodge_host`.
    pub host_uuid: Option<uuid::Uuid>,
    /// What is logged, in libvirt's words.
    pub log_filters: Option<String>,
    /// 1 (all) to 4 (errors).
    pub log_level: Option<u8>,
    /// Where to, in libvirt's words.
    pub log_outputs: Option<String>,
    /// What is odd in the files, each with its place.
    pub warnings: Vec<String>,
}

/// Why the settings cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file is unreadable or not in libvirt's syntax.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// A key has a value it cannot have.
    #[error("{place}: {key}: {fault}")]
    Value {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The file named by an option does not exist.
    #[error("there is no configuration file `{}`", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
    },
}

impl SettingsError {
    /// The sort.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Conf(ConfError::Read { .. }) => Kind::Denied,
            Self::Conf(ConfError::Syntax { .. }) | Self::Value { .. } => Kind::InvalidInput,
            Self::NoFile { .. } => Kind::NotFound,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Conf(ConfError::Read { .. }) => "let the daemon's user read the file, or remove it",
            Self::Conf(ConfError::Syntax { .. }) | Self::Value { .. } => {
                "correct the line; a leading # makes the key take its default"
            }
            Self::NoFile { .. } => "name a file that exists, or leave the option out",
        }
    }
}

impl Settings {
    /// What holds where no file says anything.
    pub fn defaults(root: &Root) -> Self {
        let privileged = root.scope() != Scope::User && rustix::process::geteuid().is_root();
        let unix_auth = if privileged { Auth::Polkit } else { Auth::None };
        Self {
            unix: UnixSettings {
                directory: root.libvirt_run(),
                group: None,
                read_write_mode: if privileged { 0o777 } else { 0o700 },
                read_only: root.scope() != Scope::User,
                read_only_mode: 0o777,
                admin_mode: 0o700,
            },
            auth_read_write: unix_auth,
            auth_read_only: unix_auth,
            auth_tcp: Auth::Sasl,
            auth_tls: Auth::None,
            listen_tls: true,
            listen_tcp: false,
            tls_port: "16514".to_owned(),
            tcp_port: "16509".to_owned(),
            listen_addr: None,
            tls: TlsSettings::defaults(root),
            sasl_allowed_users: None,
            limits: ClientLimits { clients: 5000, unauthenticated: 20, queued: 1000, requests: 5 },
            // Not what the comments in libvirtd.conf say, but what libvirtd 11.3 does.
            admin_limits: ClientLimits { clients: 5000, unauthenticated: 0, queued: 20, requests: 5 },
            keepalive: Keepalive::default(),
            admin_keepalive: Keepalive::default(),
            host_uuid: None,
            log_filters: None,
            log_level: None,
            log_outputs: None,
            warnings: Vec::new(),
        }
    }

    /// Reads `named`, else the files libvirt's own daemons would read: `libvirtd.conf`; where that is missing
    /// `virtproxyd.conf` and `virtqemud.conf`, the second winning. Files that do not exist say nothing.
    pub fn read(root: &Root, named: Option<&Path>) -> Result<Self, SettingsError> {
        let mut settings = Self::defaults(root);
        if let Some(path) = named {
            if !settings.take_file(path)? {
                return Err(SettingsError::NoFile { path: path.to_owned() });
            }
        } else {
            let directory = root.libvirt_configuration();
            if !settings.take_file(&directory.join("libvirtd.conf"))? {
                settings.take_file(&directory.join("virtproxyd.conf"))?;
                settings.take_file(&directory.join("virtqemud.conf"))?;
            }
        }
        Ok(settings)
    }

    fn take_file(&mut self, path: &Path) -> Result<bool, SettingsError> {
        let Some(entries) = conf::read(path)? else { return Ok(false) };
        let given = |key: &str| entries.iter().any(|entry| entry.key == key);
        let (mode_given, auth_given) = (given("unix_sock_rw_perms"), given("auth_unix_rw"));
        for entry in entries {
            let place = Place { file: path.to_owned(), line: entry.line };
            let key = entry.key.clone();
            match self.take(entry) {
                Ok(None) => {}
                Ok(Some(warning)) => self.warnings.push(format!("{place}: {key}: {warning}")),
                Err(fault) => return Err(SettingsError::Value { place, key, fault }),
            }
        }
        if auth_given && !mode_given {
            // As in libvirtd: the mode is wide only where polkit stands behind it.
            self.unix.read_write_mode = if self.auth_read_write == Auth::Polkit { 0o777 } else { 0o700 };
        }
        Ok(true)
    }

    /// Takes one entry: nothing to say, a warning, or why it cannot be.
    fn take(&mut self, entry: Entry) -> Result<Option<String>, String> {
        let value = entry.value;
        match entry.key.as_str() {
            "unix_sock_group" => self.unix.group = Some(text(value)?),
            "unix_sock_dir" => self.unix.directory = PathBuf::from(text(value)?),
            "unix_sock_rw_perms" => self.unix.read_write_mode = mode(value)?,
            "unix_sock_ro_perms" => self.unix.read_only_mode = mode(value)?,
            "unix_sock_admin_perms" => self.unix.admin_mode = mode(value)?,
            "auth_unix_rw" => self.auth_read_write = auth(value)?,
            "auth_unix_ro" => self.auth_read_only = auth(value)?,
            "auth_tcp" => self.auth_tcp = no_polkit(auth(value)?)?,
            "auth_tls" => self.auth_tls = no_polkit(auth(value)?)?,
            "listen_tls" => self.listen_tls = flag(value)?,
            "listen_tcp" => self.listen_tcp = flag(value)?,
            "tls_port" => self.tls_port = text(value)?,
            "tcp_port" => self.tcp_port = text(value)?,
            "listen_addr" => self.listen_addr = Some(text(value)?),
            "key_file" => self.tls.key = PathBuf::from(text(value)?),
            "cert_file" => self.tls.certificate = PathBuf::from(text(value)?),
            "ca_file" => self.tls.authority = PathBuf::from(text(value)?),
            "crl_file" => {
                self.tls.revoked =
                    Some(PathBuf::from(text(value)?)).filter(|path| !path.as_os_str().is_empty());
                self.tls.revoked_if_there = false;
            }
            "tls_no_verify_certificate" => self.tls.verify = !flag(value)?,
            "tls_allowed_dn_list" => self.tls.allowed_names = Some(list(value)?),
            "sasl_allowed_username_list" => self.sasl_allowed_users = Some(list(value)?),
            "max_clients" => self.limits.clients = at_least_one(value)?,
            "max_queued_clients" => self.limits.queued = number(value)?,
            "max_anonymous_clients" => self.limits.unauthenticated = number(value)?,
            "max_client_requests" => self.limits.requests = at_least_one(value)?,
            "admin_max_clients" => self.admin_limits.clients = at_least_one(value)?,
            "admin_max_queued_clients" => self.admin_limits.queued = number(value)?,
            "admin_max_client_requests" => self.admin_limits.requests = at_least_one(value)?,
            "keepalive_interval" => self.keepalive.interval = seconds(&value)?,
            "keepalive_count" => self.keepalive.count = number(value)?,
            "admin_keepalive_interval" => self.admin_keepalive.interval = seconds(&value)?,
            "admin_keepalive_count" => self.admin_keepalive.count = number(value)?,
            "host_uuid" => self.host_uuid = Some(host_uuid(value)?),
            "host_uuid_source" => host_uuid_source(value)?,
            "log_filters" => self.log_filters = Some(text(value)?),
            "log_outputs" => self.log_outputs = Some(text(value)?),
            "log_level" => self.log_level = Some(log_level(value)?),
            "access_drivers" => return access_drivers(value),
            "min_workers" | "max_workers" | "prio_workers" | "admin_min_workers" | "admin_max_workers" => {
                let _: u32 = number(value)?;
                return Ok(Some(
                    "has no effect: calls are tasks here, there is no pool of workers to size".into(),
                ));
            }
            "tls_no_sanity_certificate" => {
                flag(value)?;
                return Ok(Some(
                    "has no effect: a certificate of our own that cannot be used is found when it is loaded"
                        .into(),
                ));
            }
            "tls_priority" => {
                text(value)?;
                return Ok(Some(
                    "has no effect: TLS 1.2 and 1.3 with their modern ciphers are spoken, and no others"
                        .into(),
                ));
            }
            "tcp_min_ssf" => {
                let _: u32 = number(value)?;
                return Ok(Some("has no effect: no SASL mechanism here encrypts, so plain TCP is served only as docs/connecting.md says".into()));
            }
            "audit_level" | "audit_logging" => {
                let _: u32 = number(value)?;
                return Ok(Some("has no effect: Lodge writes no audit records".into()));
            }
            "ovs_timeout" => {
                let _: u32 = number(value)?;
                return Ok(Some("has no effect: Open vSwitch is waited for 5 s".into()));
            }
            "keepalive_required" | "admin_keepalive_required" => {
                return Ok(Some("is no longer used, by libvirtd either".into()));
            }
            _ => return Ok(Some("unknown setting".into())),
        }
        Ok(None)
    }
}

impl TlsSettings {
    fn defaults(root: &Root) -> Self {
        let pki = root.pki();
        Self {
            key: pki.join("libvirt/private/serverkey.pem"),
            certificate: pki.join("libvirt/servercert.pem"),
            authority: pki.join("CA/cacert.pem"),
            revoked: Some(pki.join("CA/cacrl.pem")),
            revoked_if_there: true,
            verify: true,
            allowed_names: None,
        }
    }
}

fn at_least_one(value: Value) -> Result<usize, String> {
    match number(value)? {
        0 => Err("must be at least 1: nobody could come in".to_owned()),
        number => Ok(number),
    }
}

/// `"0770"`: octal digits in a string.
fn mode(value: Value) -> Result<u32, String> {
    let digits = text(value)?;
    let mode = u32::from_str_radix(&digits, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| format!("`{digits}` is no mode: write octal digits, such as \"0770\""))
}

fn auth(value: Value) -> Result<Auth, String> {
    match text(value)?.as_str() {
        "none" => Ok(Auth::None),
        "sasl" => Ok(Auth::Sasl),
        "polkit" => Ok(Auth::Polkit),
        other => Err(format!("unsupported auth {other}: it is none, sasl or polkit")),
    }
}

/// polkit asks who the process at the other end is; over a network there is none to ask for.
fn no_polkit(auth: Auth) -> Result<Auth, String> {
    match auth {
        Auth::Polkit => Err("unsupported auth polkit: over a network it is none or sasl".to_owned()),
        auth => Ok(auth),
    }
}

fn seconds(value: &Value) -> Result<Option<Duration>, String> {
    match value {
        Value::Number(-1) => Ok(None),
        Value::Number(seconds @ 0..=86_400) => Ok(Some(Duration::from_secs(seconds.unsigned_abs()))),
        Value::Number(other) => Err(format!("{other} is out of range: seconds up to 86400, or -1 for never")),
        other => Err(format!("expected a number, got {}", other.sort())),
    }
}

fn host_uuid(value: Value) -> Result<uuid::Uuid, String> {
    let text = text(value)?;
    let uuid = uuid::Uuid::try_parse(&text).map_err(|_| format!("`{text}` is no UUID"))?;
    let digits = uuid.simple().to_string();
    if digits.bytes().all(|digit| Some(&digit) == digits.as_bytes().first()) {
        return Err("a host's UUID must not have all digits the same".to_owned());
    }
    Ok(uuid)
}

/// Read again by `lodge_host`, which finds the UUID.
fn host_uuid_source(value: Value) -> Result<(), String> {
    match text(value)?.as_str() {
        "smbios" | "machine-id" => Ok(()),
        other => Err(format!("unknown source `{other}`: it is smbios or machine-id")),
    }
}

fn log_level(value: Value) -> Result<u8, String> {
    match number(value)? {
        level @ 1..=4 => Ok(level),
        other => Err(format!("{other} is out of range: 1 (debug), 2 (info), 3 (warnings) or 4 (errors)")),
    }
}

/// Rules that are asked for and not applied would let in those whom they are to keep out.
fn access_drivers(value: Value) -> Result<Option<String>, String> {
    match list(value)?.iter().find(|driver| *driver != "none") {
        None => Ok(None),
        Some(driver) => Err(format!(
            "Lodge has no access driver `{driver}`: it would let everyone who logs in do everything"
        )),
    }
}

#[cfg(test)]
mod tests;
