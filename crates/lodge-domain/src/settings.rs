//! What `qemu.conf` says of guests' screens and of TLS, judged: libvirt's own file, which its administrator has already.
//!
//! Read once, when the daemon starts, as libvirtd does. A value that cannot be, and a directory that is not there, are
//! errors: who asked for TLS must not get a screen without. What libvirt knows and Lodge does not do is told by name, file
//! and line. Deliberately absent: all else of the file; how guests run here is not libvirt's way (users, cgroups, logs).

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use lodge_model::Kind;
use lodge_qemu::Password;
use lodge_store::Root;
use lodge_store::conf::{self, ConfError, Entry, Place, Value, flag, number, text};
use uuid::Uuid;

/// The lowest port of a screen: VNC counts from here.
const SCREEN_PORT_MIN: u16 = 5900;
/// The same over WebSocket.
const WEB_PORT_MIN: u16 = 5700;

/// A server of guests' screens, or what else goes by TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Where it listens if the guest does not say; without: on this host only.
    pub listen: Option<String>,
    /// TLS is used; without a word: where the document asks for it.
    pub tls: Option<bool>,
    /// Where its certificates are, and nowhere else.
    pub certificates: Option<PathBuf>,
    /// Clients must show a certificate; without a word see [`Settings::verifies`].
    pub verify: Option<bool>,
    /// The secret that its key is opened with.
    pub secret: Option<Uuid>,
    /// It listens on a socket of the guest's own directory if the guest says no address.
    pub auto_socket: bool,
    /// What viewers say if the guest has no password of its own.
    pub password: Option<Password>,
    /// Viewers log in by SASL.
    pub sasl: bool,
    /// Where QEMU finds how (`qemu.conf` of SASL's); without: in `/etc/sasl2`.
    pub sasl_dir: Option<PathBuf>,
}

/// All that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// VNC.
    pub vnc: Service,
    /// SPICE.
    pub spice: Service,
    /// Streams of characters by TCP.
    pub streams: Service,
    /// Disks by NBD.
    pub disks: Service,
    /// Where certificates are of what has no directory of its own; without: `etc/pki/qemu`.
    pub certificates: Option<PathBuf>,
    /// The secret that keys are opened with of what has none of its own.
    pub secret: Option<Uuid>,
    /// What holds for all that says nothing of `verify`.
    pub verify: Option<bool>,
    /// Ports of screens.
    pub screen_ports: RangeInclusive<u16>,
    /// Ports of VNC over WebSocket.
    pub web_ports: RangeInclusive<u16>,
    /// What is said and not done, each with its place.
    pub warnings: Vec<String>,
}

impl Default for Settings {
    /// Those of a host without the file.
    fn default() -> Self {
        Self {
            vnc: Service::default(),
            spice: Service::default(),
            streams: Service::default(),
            disks: Service::default(),
            certificates: None,
            secret: None,
            verify: None,
            screen_ports: SCREEN_PORT_MIN..=u16::MAX,
            web_ports: WEB_PORT_MIN..=u16::MAX,
            warnings: Vec::new(),
        }
    }
}

/// Why the file is no good.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] ConfError),
    /// A value cannot be.
    #[error("{place}: {key}: {fault}")]
    Value {
        /// Where.
        place: Place,
        /// Of what.
        key: String,
        /// Why.
        fault: String,
    },
}

impl SettingsError {
    /// It is for whoever wrote it.
    pub fn kind(&self) -> Kind {
        Kind::InvalidInput
    }

    /// What to do.
    pub fn hint(&self) -> Option<&'static str> {
        Some("correct the file, or remove the line: without it libvirt's default holds")
    }
}

impl Settings {
    /// Reads the root's `etc/libvirt/qemu.conf`; a file that is not there says nothing.
    pub fn read(root: &Root) -> Result<Self, SettingsError> {
        Self::read_file(&root.libvirt_configuration().join("qemu.conf"))
    }

    fn read_file(path: &Path) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        for entry in conf::read(path)?.unwrap_or_default() {
            let place = Place { file: path.to_owned(), line: entry.line };
            let key = entry.key.clone();
            match settings.take(entry) {
                Ok(None) => {}
                Ok(Some(warning)) => settings.warnings.push(format!("{place}: {key}: {warning}")),
                Err(fault) => return Err(SettingsError::Value { place, key, fault }),
            }
        }
        let ranges = [
            ("remote_display_port_max", &settings.screen_ports),
            ("remote_websocket_port_max", &settings.web_ports),
        ];
        if let Some((key, range)) = ranges.into_iter().find(|(_, range)| range.is_empty()) {
            let fault = format!("{} is below the least port, {}", range.end(), range.start());
            let place = Place { file: path.to_owned(), line: 1 };
            return Err(SettingsError::Value { place, key: key.to_owned(), fault });
        }
        Ok(settings)
    }

    /// Whether a server of this sort lets only those in that show a certificate; `usual`: without a word.
    pub fn verifies(&self, service: &Service, usual: bool) -> bool {
        service.verify.or(self.verify).unwrap_or(usual)
    }

    /// The secret that a key of this service's is opened with.
    pub fn secret_of(&self, service: &Service) -> Option<Uuid> {
        service.secret.or(self.secret)
    }

    /// Takes one entry: nothing to say, a warning, or why it cannot be.
    fn take(&mut self, entry: Entry) -> Result<Option<String>, String> {
        let Entry { key, value, .. } = entry;
        match key.as_str() {
            "default_tls_x509_cert_dir" => self.certificates = Some(directory(value)?),
            "default_tls_x509_secret_uuid" => self.secret = Some(uuid(value)?),
            "default_tls_x509_verify" => self.verify = Some(flag(value)?),
            "remote_display_port_min" => {
                self.screen_ports = port(value, SCREEN_PORT_MIN)?..=*self.screen_ports.end();
            }
            "remote_display_port_max" => {
                self.screen_ports = *self.screen_ports.start()..=port(value, SCREEN_PORT_MIN)?;
            }
            "remote_websocket_port_min" => {
                self.web_ports = port(value, WEB_PORT_MIN)?..=*self.web_ports.end();
            }
            "remote_websocket_port_max" => {
                self.web_ports = *self.web_ports.start()..=port(value, WEB_PORT_MIN)?;
            }
            key => return self.take_of_service(key, value),
        }
        Ok(None)
    }

    fn take_of_service(&mut self, key: &str, value: Value) -> Result<Option<String>, String> {
        let (name, rest) = key.split_once('_').unwrap_or((key, ""));
        let service = match name {
            "vnc" => &mut self.vnc,
            "spice" => &mut self.spice,
            "chardev" => &mut self.streams,
            "nbd" => &mut self.disks,
            _ => return Ok(Some(of_others(key))),
        };
        let is_screen = matches!(name, "vnc" | "spice");
        match rest {
            "tls" => service.tls = Some(flag(value)?),
            "tls_x509_cert_dir" => service.certificates = Some(directory(value)?),
            // Whoever is a client looks at the server's certificate in any case, and SPICE's server at nobody's.
            "tls_x509_verify" if matches!(name, "vnc" | "chardev") => service.verify = Some(flag(value)?),
            "tls_x509_secret_uuid" if name != "spice" => service.secret = Some(uuid(value)?),
            "auto_unix_socket" if is_screen => service.auto_socket = flag(value)?,
            "listen" if is_screen => service.listen = Some(address(value)?),
            "password" if is_screen => service.password = Some(Password(text(value)?)),
            "sasl" if is_screen => service.sasl = flag(value)?,
            "sasl_dir" if is_screen => service.sasl_dir = Some(PathBuf::from(text(value)?)),
            _ => return Ok(Some(of_others(key))),
        }
        Ok(None)
    }
}

/// What is said to a setting that has no effect.
fn of_others(key: &str) -> String {
    if let Some((_, why)) = REASONS.iter().find(|(keys, _)| keys.contains(&key)) {
        return format!("has no effect: {why}");
    }
    if OTHERS.contains(&key) {
        return "has no effect: Lodge does not do this".to_owned();
    }
    "unknown setting".to_owned()
}

/// Why some of libvirt's settings have no effect.
const REASONS: [(&[&str], &str); 5] = [
    (
        &[
            "migrate_tls_x509_cert_dir",
            "migrate_tls_x509_secret_uuid",
            "migrate_tls_x509_verify",
            "migrate_tls_force",
            "migration_address",
            "migration_host",
            "migration_port_min",
            "migration_port_max",
        ],
        "of moving guests between hosts nothing is read here",
    ),
    (
        &["user", "group", "dynamic_ownership", "remember_owner"],
        "each guest's QEMU runs as a user of its own, who is given descriptors, not files",
    ),
    (
        &["security_driver", "security_default_confined", "security_require_confined"],
        "guests are not confined by SELinux or AppArmor",
    ),
    (&["swtpm_user", "swtpm_group"], "each guest's TPM runs as a user of its own"),
    (&["stdio_handler"], "consoles are logged by the daemon, without virtlogd"),
];

/// libvirt 11.3's other settings.
const OTHERS: [&str; 58] = [
    "auto_dump_bypass_cache",
    "auto_dump_path",
    "auto_save_bypass_cache",
    "auto_shutdown_poweroff",
    "auto_shutdown_restore",
    "auto_shutdown_try_save",
    "auto_shutdown_try_shutdown",
    "auto_shutdown_wait",
    "auto_start_bypass_cache",
    "auto_start_delay",
    "backup_tls_x509_cert_dir",
    "backup_tls_x509_secret_uuid",
    "backup_tls_x509_verify",
    "bridge_helper",
    "capability_filters",
    "cgroup_controllers",
    "cgroup_device_acl",
    "clear_emulator_capabilities",
    "dbus_daemon",
    "deprecation_behavior",
    "dump_guest_core",
    "dump_image_format",
    "gluster_debug_level",
    "hugetlbfs_mount",
    "keepalive_count",
    "keepalive_interval",
    "lock_manager",
    "log_timestamp",
    "mac_filter",
    "max_core",
    "max_files",
    "max_processes",
    "max_queued",
    "max_threads_per_process",
    "memory_backing_dir",
    "namespaces",
    "nographics_allow_host_audio",
    "nvram",
    "pr_helper",
    "qemu_rdp",
    "rdp_listen",
    "rdp_password",
    "rdp_tls_x509_cert_dir",
    "rdp_username",
    "relaxed_acs_check",
    "save_image_format",
    "sched_core",
    "seccomp_sandbox",
    "set_process_name",
    "shared_filesystems",
    "slirp_helper",
    "snapshot_image_format",
    "storage_use_nbdkit",
    "virtiofsd_debug",
    "vnc_allow_host_audio",
    "vxhs_tls",
    "vxhs_tls_x509_cert_dir",
    "vxhs_tls_x509_secret_uuid",
];

/// A directory that is there: libvirtd does not start without it either.
fn directory(value: Value) -> Result<PathBuf, String> {
    let path = PathBuf::from(text(value)?);
    if path.is_dir() { Ok(path) } else { Err(format!("directory '{}' does not exist", path.display())) }
}

fn uuid(value: Value) -> Result<Uuid, String> {
    let text = text(value)?;
    text.parse().map_err(|_| format!("`{text}` is no UUID of a secret"))
}

fn address(value: Value) -> Result<String, String> {
    let text = text(value)?;
    match text.parse::<std::net::IpAddr>() {
        Ok(_) => Ok(text),
        Err(_) => Err(format!("`{text}` is no address: write one such as \"0.0.0.0\" or \"::\"")),
    }
}

fn port(value: Value, least: u16) -> Result<u16, String> {
    let port: u16 = number(value)?;
    if port >= least { Ok(port) } else { Err(format!("a port is at least {least} here, not {port}")) }
}
