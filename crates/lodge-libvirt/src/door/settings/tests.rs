use super::*;

fn of(text: &str) -> Result<Settings, SettingsError> {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::at(directory.path()).unwrap();
    std::fs::create_dir_all(root.libvirt_configuration()).unwrap();
    std::fs::write(root.libvirt_configuration().join("libvirtd.conf"), text).unwrap();
    Settings::read(&root, None)
}

#[test]
fn without_files_libvirts_defaults_hold() {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::at(directory.path()).unwrap();
    let settings = Settings::read(&root, None).unwrap();
    assert_eq!(settings, Settings::defaults(&root));
    assert_eq!(
        settings.limits,
        ClientLimits { clients: 5000, unauthenticated: 20, queued: 1000, requests: 5 }
    );
    assert_eq!(settings.tls.certificate, root.pki().join("libvirt/servercert.pem"));
    assert!(!settings.listen_tcp && settings.warnings.is_empty());
}

#[test]
fn every_key_of_libvirts_file_is_known() {
    let text = "unix_sock_group = \"libvirt\"\nunix_sock_ro_perms = \"0770\"\nunix_sock_rw_perms = \"0660\"\n\
        unix_sock_admin_perms = '0600'\nunix_sock_dir = '/x'\nauth_unix_ro = 'none'\nauth_unix_rw = 'sasl'\n\
        auth_tcp = 'none'\nauth_tls = 'sasl'\nlisten_tls = 0\nlisten_tcp = 1\ntls_port = '1'\ntcp_port = '2'\n\
        listen_addr = '127.0.0.1'\nkey_file = '/k'\ncert_file = '/c'\nca_file = '/a'\ncrl_file = '/r'\n\
        tls_no_verify_certificate = 1\ntls_allowed_dn_list = ['CN=*']\nsasl_allowed_username_list = ['joe']\n\
        max_clients = 7\nmax_queued_clients = 8\nmax_anonymous_clients = 9\nmax_client_requests = 10\n\
        keepalive_interval = -1\nkeepalive_count = 3\nadmin_max_clients = 2\n\
        host_uuid = '8510f1ee-cc2f-4ee6-b8be-97fd0a2e5c50'\nlog_level = 1\nlog_filters='1:qemu'\nlog_outputs='1:stderr'\n";
    let settings = of(text).unwrap();
    assert_eq!(settings.warnings, Vec::<String>::new());
    assert_eq!(settings.unix.group.as_deref(), Some("libvirt"));
    assert_eq!((settings.unix.read_only_mode, settings.unix.read_write_mode), (0o770, 0o660));
    assert_eq!((settings.auth_read_only, settings.auth_read_write), (Auth::None, Auth::Sasl));
    assert_eq!((settings.listen_tls, settings.listen_tcp, settings.tls.verify), (false, true, false));
    assert_eq!(settings.keepalive, Keepalive { interval: None, count: 3 });
    assert_eq!(settings.limits, ClientLimits { clients: 7, unauthenticated: 9, queued: 8, requests: 10 });
    assert!(settings.host_uuid.is_some());
}

#[test]
fn without_polkit_the_socket_is_its_owners_unless_a_mode_is_given() {
    assert_eq!(of("auth_unix_rw = 'none'\n").unwrap().unix.read_write_mode, 0o700);
    assert_eq!(
        of("auth_unix_rw = 'none'\nunix_sock_rw_perms = '0770'\n").unwrap().unix.read_write_mode,
        0o770
    );
}

#[test]
fn what_is_odd_is_told_with_its_place() {
    let warnings = of("# head\nmax_workers = 20\nmax_clints = 3\n").unwrap().warnings;
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].contains("libvirtd.conf:2: max_workers: has no effect"), "{}", warnings[0]);
    assert!(warnings[1].ends_with("libvirtd.conf:3: max_clints: unknown setting"), "{}", warnings[1]);
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    for (text, part) in [
        ("max_clients = \"many\"", ":1: max_clients: expected a number, got a string"),
        ("\nmax_clients = 0", ":2: max_clients: must be at least 1"),
        ("auth_tcp = 'polkit'", "unsupported auth polkit"),
        ("auth_unix_rw = 'pam'", "unsupported auth pam"),
        ("unix_sock_rw_perms = '0999'", "is no mode"),
        ("access_drivers = [ 'polkit' ]", "no access driver `polkit`"),
        ("host_uuid = '00000000-0000-0000-0000-000000000000'", "all digits the same"),
        ("tls_port = 16514", "expected a string, got a number"),
        ("keepalive_interval = -5", "out of range"),
    ] {
        let error = of(text).unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
}

#[test]
fn a_named_file_must_exist_and_stands_alone() {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::at(directory.path()).unwrap();
    let path = directory.path().join("my.conf");
    assert_eq!(Settings::read(&root, Some(&path)).unwrap_err().kind(), Kind::NotFound);
    std::fs::write(&path, "max_clients = 3\n").unwrap();
    assert_eq!(Settings::read(&root, Some(&path)).unwrap().limits.clients, 3);
}
