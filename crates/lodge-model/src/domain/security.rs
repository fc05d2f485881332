//! `<launchSecurity>`: what keeps a guest's memory from its host. The element is kept as it is; this reads it.
//!
//! Deliberately absent: whether a host can do it ([`super::Platform`], and a start), and protected guests of s390.

use super::Domain;
use crate::xml::Kept;

/// Where it stands.
const PATH: &str = "/domain/launchSecurity";

/// What a document asks for, by who does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchSecurity {
    /// AMD's encrypted memory.
    Sev(Sev),
    /// The same with nested paging in the guest's hands.
    Snp(Snp),
    /// Intel's trust domains.
    Tdx(Tdx),
}

/// Where the bit is that says that memory is encrypted, and how many bits of addresses that costs. The host knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncryptionBit {
    /// `<cbitpos>`.
    pub position: Option<u32>,
    /// `<reducedPhysBits>`.
    pub reduced_bits: Option<u32>,
}

/// `type='sev'`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sev {
    /// What the guest may do and may have done to it.
    pub policy: u64,
    /// The host's bit.
    pub bit: EncryptionBit,
    /// Whether kernel, initial disk and command line are measured.
    pub kernel_hashes: Option<bool>,
    /// The owner's certificate, in base64.
    pub certificate: Option<String>,
    /// The owner's session, in base64.
    pub session: Option<String>,
}

/// `type='sev-snp'`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snp {
    /// What the guest may do and may have done to it.
    pub policy: u64,
    /// The host's bit.
    pub bit: EncryptionBit,
    /// Whether kernel, initial disk and command line are measured.
    pub kernel_hashes: Option<bool>,
    /// Whether `id_auth` has the author's key.
    pub author_key: Option<bool>,
    /// Whether reports are signed by the chip's key of this version.
    pub vcek: Option<bool>,
    /// In base64.
    pub visible_workarounds: Option<String>,
    /// In base64.
    pub id_block: Option<String>,
    /// In base64.
    pub id_auth: Option<String>,
    /// In base64.
    pub host_data: Option<String>,
}

/// `type='tdx'`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tdx {
    /// The domain's attributes.
    pub policy: Option<u64>,
    /// SHA-384 of what was configured without measurement, in base64.
    pub config_id: Option<String>,
    /// The owner's, in base64.
    pub owner: Option<String>,
    /// What the owner configured, in base64.
    pub owner_config: Option<String>,
    /// The socket of who signs quotes.
    pub quote_service: Option<String>,
}

/// An element that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct BadSecurity {
    /// What of it.
    pub path: String,
    /// Why.
    pub message: String,
}

impl LaunchSecurity {
    /// libvirt's word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sev(_) => "sev",
            Self::Snp(_) => "sev-snp",
            Self::Tdx(_) => "tdx",
        }
    }
}

impl Domain {
    /// What it asks for; none: nothing.
    pub fn security(&self) -> Result<Option<LaunchSecurity>, BadSecurity> {
        self.launch_security.tree("launchSecurity").map(|tree| read(&tree)).transpose()
    }
}

fn bad(place: &str, message: impl Into<String>) -> BadSecurity {
    BadSecurity { path: format!("{PATH}{place}"), message: message.into() }
}

fn read(tree: &Kept) -> Result<LaunchSecurity, BadSecurity> {
    let text = |name: &str| tree.child(name).map(|child| child.text.trim().to_owned());
    let policy = || {
        let text = text("policy").ok_or_else(|| bad("/policy", "a policy is missing"))?;
        hexadecimal(&text).ok_or_else(|| bad("/policy", format!("`{text}` is no number as 0x0003")))
    };
    let bits = |name: &str| match text(name) {
        None => Ok(None),
        Some(text) => {
            let number = text.parse::<u32>().ok();
            number.map(Some).ok_or_else(|| bad(&format!("/{name}"), format!("`{text}` is no number")))
        }
    };
    let bit = || -> Result<EncryptionBit, BadSecurity> {
        Ok(EncryptionBit { position: bits("cbitpos")?, reduced_bits: bits("reducedPhysBits")? })
    };
    let is_on = |name: &str| match tree.attribute(name) {
        None => Ok(None),
        Some("yes") => Ok(Some(true)),
        Some("no") => Ok(Some(false)),
        Some(word) => Err(bad(&format!("/@{name}"), format!("`{word}` is neither yes nor no"))),
    };
    Ok(match tree.attribute("type").unwrap_or_default() {
        "sev" => LaunchSecurity::Sev(Sev {
            policy: policy()?,
            bit: bit()?,
            kernel_hashes: is_on("kernelHashes")?,
            certificate: text("dhCert"),
            session: text("session"),
        }),
        "sev-snp" => LaunchSecurity::Snp(Snp {
            policy: policy()?,
            bit: bit()?,
            kernel_hashes: is_on("kernelHashes")?,
            author_key: is_on("authorKey")?,
            vcek: is_on("vcek")?,
            visible_workarounds: text("guestVisibleWorkarounds"),
            id_block: text("idBlock"),
            id_auth: text("idAuth"),
            host_data: text("hostData"),
        }),
        "tdx" => LaunchSecurity::Tdx(Tdx {
            policy: if text("policy").is_some() { Some(policy()?) } else { None },
            config_id: text("mrConfigId"),
            owner: text("mrOwner"),
            owner_config: text("mrOwnerConfig"),
            quote_service: quote_service(tree)?,
        }),
        "s390-pv" => return Err(bad("", "'s390-pv' launch security is not supported: it is no PC's")),
        kind => {
            return Err(bad("/@type", format!("`{kind}` is not known here (known: sev, sev-snp, tdx)")));
        }
    })
}

/// Without a path it is where Intel's package has it.
fn quote_service(tree: &Kept) -> Result<Option<String>, BadSecurity> {
    let Some(service) = tree.child("quoteGenerationService") else { return Ok(None) };
    let path = service.attribute("path").unwrap_or("/var/run/tdx-qgs/qgs.socket");
    if !path.starts_with('/') {
        return Err(bad("/quoteGenerationService/@path", format!("`{path}` is no absolute path")));
    }
    Ok(Some(path.to_owned()))
}

/// As libvirt reads it: to the base of 16, with or without `0x`.
fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(security: &str) -> Result<Option<LaunchSecurity>, BadSecurity> {
        let text = format!(
            "<domain type='kvm'><name>n</name><memory>1</memory><os><type>hvm</type></os>{security}</domain>"
        );
        Domain::parse(&text).unwrap().security()
    }

    #[test]
    fn each_kind_is_read() {
        assert_eq!(of(""), Ok(None));
        let sev =
            of("<launchSecurity type='sev' kernelHashes='yes'><policy>0x0001</policy><cbitpos>47</cbitpos>\
                      <reducedPhysBits>1</reducedPhysBits><dhCert>AAAA</dhCert></launchSecurity>");
        let bit = EncryptionBit { position: Some(47), reduced_bits: Some(1) };
        let certificate = Some("AAAA".to_owned());
        let wanted = Sev { policy: 1, bit, kernel_hashes: Some(true), certificate, session: None };
        assert_eq!(sev, Ok(Some(LaunchSecurity::Sev(wanted))));
        let tdx =
            of("<launchSecurity type='tdx'><quoteGenerationService/></launchSecurity>").unwrap().unwrap();
        let LaunchSecurity::Tdx(tdx) = tdx else { panic!("{tdx:?}") };
        assert_eq!(tdx.quote_service.as_deref(), Some("/var/run/tdx-qgs/qgs.socket"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (security, place) in [
            ("<launchSecurity type='sev'/>", "/policy"),
            ("<launchSecurity type='sev'><policy>x</policy></launchSecurity>", "/policy"),
            (
                "<launchSecurity type='sev'><policy>3</policy><cbitpos>a</cbitpos></launchSecurity>",
                "/cbitpos",
            ),
            ("<launchSecurity type='sev-snp' vcek='maybe'><policy>3</policy></launchSecurity>", "/@vcek"),
            ("<launchSecurity type='prayer'/>", "/@type"),
            ("<launchSecurity type='s390-pv'/>", ""),
        ] {
            assert_eq!(of(security).unwrap_err().path, format!("{PATH}{place}"), "{security}");
        }
    }
}
