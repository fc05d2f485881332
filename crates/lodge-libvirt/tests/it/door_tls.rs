//! The TLS door: the real client with certificates made here.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};

use crate::door::{Doorway, have, open};

/// An authority that signs for the test.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        // Clients find an authority by its name: no two may have the same.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("Test authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key.
    fn sign(&self, name: &str, host: Option<&str>) -> (String, String) {
        let mut params =
            CertificateParams::new(host.map(str::to_owned).into_iter().collect::<Vec<_>>()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CountryName, DnValue::PrintableString("GB".try_into().unwrap()));
        params.distinguished_name.push(DnType::OrganizationName, "Red, Hat");
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![if host.is_some() {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        }];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A list of those taken back, with this client on it.
    fn revoke(&self, client: &Path) -> String {
        let pem = std::fs::read(client.join("clientcert.pem")).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
        let serial = pem.parse_x509().unwrap().raw_serial().to_vec();
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(4000, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    fn install_server(&self, root: &Path) {
        let pki = root.join("etc/pki");
        std::fs::create_dir_all(pki.join("CA")).unwrap();
        std::fs::create_dir_all(pki.join("libvirt/private")).unwrap();
        let (certificate, key) = self.sign("localhost", Some("localhost"));
        std::fs::write(pki.join("CA/cacert.pem"), &self.pem).unwrap();
        std::fs::write(pki.join("libvirt/servercert.pem"), certificate).unwrap();
        std::fs::write(pki.join("libvirt/private/serverkey.pem"), key).unwrap();
    }

    /// A directory for `?pkipath=`; `signer` signs the client, this one's certificate is what it trusts.
    fn client(&self, root: &Path, name: &str, signer: &Self) -> PathBuf {
        let directory = root.join(format!("client-{name}"));
        std::fs::create_dir_all(&directory).unwrap();
        let (certificate, key) = signer.sign(name, None);
        // The client checks its own certificate, too.
        std::fs::write(directory.join("cacert.pem"), format!("{}{}", self.pem, signer.pem)).unwrap();
        std::fs::write(directory.join("clientcert.pem"), certificate).unwrap();
        std::fs::write(directory.join("clientkey.pem"), key).unwrap();
        directory
    }
}

const CONF: &str = "listen_addr = 'localhost'\ntls_port = '0'\n";

fn doorway(conf: &str, authority: &Authority) -> Doorway {
    open(&format!("{CONF}{conf}"), |opening, root| {
        opening.listen = true;
        authority.install_server(root);
    })
}

fn uri(doorway: &Doorway, pki: &Path) -> String {
    let port = doorway.doors.tls()[0].port();
    format!("qemu+tls://localhost:{port}/system?pkipath={}", pki.display())
}

#[test]
fn the_real_client_comes_in_with_a_certificate_of_the_authority() {
    if !have(&["virsh"]) {
        return;
    }
    let authority = Authority::new();
    let doorway = doorway("", &authority);
    let good = authority.client(doorway.path(), "good", &authority);
    let text = doorway.virsh(&uri(&doorway, &good), "version").fine();
    assert!(text.contains("QEMU"), "{text}");
    // One that another authority signed is a stranger.
    let bad = authority.client(doorway.path(), "bad", &Authority::new());
    doorway.virsh(&uri(&doorway, &bad), "version").refused();
    doorway.virsh(&uri(&doorway, &good), "version").fine();
}

#[test]
fn names_that_are_not_on_the_list_stay_out() {
    if !have(&["virsh"]) {
        return;
    }
    let authority = Authority::new();
    let doorway = doorway("tls_allowed_dn_list = ['C=GB,O=Red\\, Hat,CN=g*']\n", &authority);
    let good = authority.client(doorway.path(), "good", &authority);
    doorway.virsh(&uri(&doorway, &good), "uri").fine();
    let other = authority.client(doorway.path(), "other", &authority);
    doorway.virsh(&uri(&doorway, &other), "uri").refused();
}

#[test]
fn a_list_of_revoked_ones_is_read_where_it_appears_and_forgotten_where_it_goes() {
    if !have(&["virsh", "virt-admin"]) {
        return;
    }
    let authority = Authority::new();
    let doorway = doorway("", &authority);
    let revoked = authority.client(doorway.path(), "revoked", &authority);
    let good = authority.client(doorway.path(), "good", &authority);
    doorway.virsh(&uri(&doorway, &revoked), "uri").fine();
    let list = doorway.path().join("etc/pki/CA/cacrl.pem");
    std::fs::write(&list, authority.revoke(&revoked)).unwrap();
    doorway.admin("server-update-tls libvirtd").fine();
    for _ in 0..20 {
        // Closed too early, the client dies of SIGPIPE, now and then, and says nothing.
        let refused = doorway.virsh(&uri(&doorway, &revoked), "uri").refused();
        assert!(refused.contains("TLS"), "{refused}");
    }
    doorway.virsh(&uri(&doorway, &good), "uri").fine();
    std::fs::remove_file(list).unwrap();
    doorway.admin("server-update-tls libvirtd").fine();
    doorway.virsh(&uri(&doorway, &revoked), "uri").fine();
}

#[test]
fn without_verifying_any_certificate_comes_in() {
    if !have(&["virsh"]) {
        return;
    }
    let authority = Authority::new();
    let doorway = doorway("tls_no_verify_certificate = 1\n", &authority);
    let stranger = authority.client(doorway.path(), "stranger", &Authority::new());
    doorway.virsh(&uri(&doorway, &stranger), "uri").fine();
}

#[test]
fn new_certificates_are_taken_without_a_restart() {
    if !have(&["virsh", "virt-admin"]) {
        return;
    }
    let authority = Authority::new();
    let doorway = doorway("", &authority);
    let fresh = Authority::new();
    let client = fresh.client(doorway.path(), "fresh", &fresh);
    doorway.virsh(&uri(&doorway, &client), "uri").refused();
    fresh.install_server(doorway.path());
    doorway.admin("server-update-tls libvirtd").fine();
    doorway.virsh(&uri(&doorway, &client), "uri").fine();
    // Those that cannot be used change nothing.
    std::fs::write(doorway.path().join("etc/pki/libvirt/servercert.pem"), "no certificate").unwrap();
    let refused = doorway.admin("server-update-tls libvirtd").refused();
    assert!(
        refused.contains("there is no the server's certificate") || refused.contains("servercert.pem"),
        "{refused}"
    );
    doorway.virsh(&uri(&doorway, &client), "uri").fine();
}

#[test]
fn the_certificates_name_is_what_libvirts_own_tool_prints() {
    if !have(&["virt-pki-query-dn"]) {
        return;
    }
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let client = authority.client(directory.path(), "some one", &authority);
    let path = client.join("clientcert.pem");
    let printed = crate::door::run(std::process::Command::new("virt-pki-query-dn").arg(&path)).fine();
    let pem = std::fs::read(&path).unwrap();
    let certificate = rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap();
    assert_eq!(lodge_libvirt::door::distinguished_name(&certificate).as_deref(), Some(printed.trim()));
}
