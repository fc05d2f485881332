//! A certificate's subject as libvirt writes it: `C=GB,O=Red Hat,CN=host1`, in the certificate's own order.
//!
//! It is what `virt-pki-query-dn` prints and what `tls_allowed_dn_list` is compared with (GnuTLS's older form: not
//! turned around as RFC 4514 has it, special characters escaped as there).

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The name; none if the certificate cannot be read or its subject has parts that are no text.
pub fn distinguished_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut parts = Vec::new();
    for relative in certificate.subject().iter_rdn() {
        let mut attributes = Vec::new();
        for attribute in relative.iter() {
            let oid = attribute.attr_type().to_id_string();
            let value = escape(attribute.as_str().ok()?);
            attributes.push(format!("{}={value}", short_name(&oid).unwrap_or(&oid)));
        }
        parts.push(attributes.join("+"));
    }
    Some(parts.join(","))
}

/// RFC 4514's short names and those GnuTLS has beside them.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "sn",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.17" => "postalCode",
        "2.5.4.42" => "givenName",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "EMAIL",
        _ => return None,
    })
}

fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(value.len());
    for (at, c) in value.chars().enumerate() {
        let special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (at == 0 && matches!(c, ' ' | '#'))
            || (at == last && c == ' ');
        if special {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
