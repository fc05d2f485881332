//! Files as administrators have them.

use super::*;

fn read(text: &str) -> Result<Settings, SettingsError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("qemu.conf");
    std::fs::write(&path, text).unwrap();
    Settings::read_file(&path)
}

#[test]
fn a_host_without_the_file_has_libvirts_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::read_file(&dir.path().join("qemu.conf")).unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!(read("# vnc_tls = 1\n").unwrap(), Settings::default());
    assert!(!settings.verifies(&settings.vnc, false) && settings.verifies(&settings.streams, true));
}

#[test]
fn what_is_said_of_screens_and_tls_is_taken() {
    let settings = read(
        "default_tls_x509_verify = 1\nvnc_listen = \"0.0.0.0\"\nvnc_tls = 1\nvnc_tls_x509_cert_dir = \"/tmp\"\n\
         vnc_tls_x509_verify = 0\nvnc_password = \"XYZ12345\"\nvnc_sasl = 1\nvnc_sasl_dir = '/etc/sasl2'\n\
         spice_listen = \"::\"\nspice_tls = 0\nspice_password = \"\"\nchardev_tls = 1\nnbd_tls = 1\n\
         remote_display_port_min = 6000\nremote_display_port_max = 6010\nremote_websocket_port_min = 5800\n",
    )
    .unwrap();
    assert_eq!(settings.warnings, [""; 0]);
    assert_eq!(settings.vnc.listen.as_deref(), Some("0.0.0.0"));
    assert_eq!((settings.vnc.tls, settings.vnc.sasl), (Some(true), true));
    assert_eq!(settings.vnc.certificates.as_deref(), Some(Path::new("/tmp")));
    assert_eq!(settings.vnc.password, Some(Password("XYZ12345".into())));
    assert_eq!((settings.spice.tls, &settings.spice.password), (Some(false), &Some(Password(String::new()))));
    assert_eq!((settings.streams.tls, settings.disks.tls), (Some(true), Some(true)));
    assert_eq!((settings.screen_ports.clone(), *settings.web_ports.start()), (6000..=6010, 5800));
    assert!(!settings.verifies(&settings.vnc, true), "its own word");
    assert!(settings.verifies(&settings.streams, false), "the word for all");
    assert!(!format!("{settings:?}").contains("XYZ"), "a password is not told");
}

#[test]
fn a_secret_for_all_keys_gives_way_to_ones_own() {
    let (all, own) = ("6a6a6c2e-1111-4a4a-8888-000000000001", "6a6a6c2e-1111-4a4a-8888-000000000002");
    let settings = read(&format!(
        "default_tls_x509_secret_uuid = \"{all}\"\nvnc_tls_x509_secret_uuid = \"{own}\"\nspice_auto_unix_socket = 1\n"
    ))
    .unwrap();
    let secret = |service: &Service| settings.secret_of(service).map(|uuid| uuid.to_string());
    assert_eq!(secret(&settings.vnc).as_deref(), Some(own));
    assert_eq!(secret(&settings.disks).as_deref(), Some(all));
    assert!(settings.spice.auto_socket && !settings.vnc.auto_socket);
    assert_eq!(settings.warnings, [""; 0]);
}

#[test]
fn what_cannot_be_is_refused_with_its_line() {
    for (text, expected) in [
        ("\nvnc_tls = 2", "qemu.conf:2: vnc_tls: is 0 or 1, not 2"),
        ("vnc_tls = \"yes\"", "qemu.conf:1: vnc_tls: expected a number, got a string"),
        ("vnc_listen = \"here\"", "vnc_listen: `here` is no address"),
        ("spice_tls_x509_cert_dir = \"/none\"", "spice_tls_x509_cert_dir: directory '/none' does not exist"),
        ("remote_display_port_min = 5000", "a port is at least 5900 here, not 5000"),
        (
            "remote_display_port_max = 5950\nremote_display_port_min = 6000",
            "5950 is below the least port, 6000",
        ),
        ("vnc_tls", "expecting an assignment"),
        ("nbd_tls_x509_secret_uuid = \"x\"", "nbd_tls_x509_secret_uuid: `x` is no UUID of a secret"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn what_has_no_effect_is_told_with_its_line() {
    let settings = read(
        "user = \"root\"\nspice_tls_x509_verify = 1\nmax_core = \"unlimited\"\nspice_tls_x509_secret_uuid = \"x\"\n\
         backup_tls_x509_secret_uuid = \"x\"\nvnc_tsl = 1\n",
    )
    .unwrap();
    let ends = [
        "qemu.conf:1: user: has no effect: each guest's QEMU runs as a user of its own, who is given descriptors, not files",
        "qemu.conf:2: spice_tls_x509_verify: unknown setting",
        "qemu.conf:3: max_core: has no effect: Lodge does not do this",
        "qemu.conf:4: spice_tls_x509_secret_uuid: unknown setting",
        "qemu.conf:5: backup_tls_x509_secret_uuid: has no effect: Lodge does not do this",
        "qemu.conf:6: vnc_tsl: unknown setting",
    ];
    assert_eq!(settings.warnings.len(), ends.len(), "{:?}", settings.warnings);
    for (warning, end) in settings.warnings.iter().zip(ends) {
        assert!(warning.ends_with(end), "{warning}");
    }
}
