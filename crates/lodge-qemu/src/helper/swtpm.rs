//! What swtpm and `swtpm_setup` are told: arguments as libvirt gives them, but for descriptors where it has paths.
//!
//! Sources: swtpm(8), `swtpm_setup`(8), and the control channel's messages in `swtpm_ioctls`(3).
//! Deliberately absent: where the state lies and whom it belongs to (lodge-domain), and the tools' own configuration.

use std::io;
use std::path::Path;

use lodge_model::DomainId;
use lodge_model::domain::tpm::{PcrBanks, TpmProfile, TpmVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::claims::FdNumber;

/// The cipher of an encrypted state; libvirt's.
const CIPHER: &str = "aes-256-cbc";
/// `CMD_GET_CAPABILITY` of the control channel: a 64-bit mask comes back.
const GET_CAPABILITY: u32 = 1;

/// Where the state is, in a way that the program can open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatePlace {
    /// A directory.
    Directory(String),
    /// One file.
    File(String),
}

/// A TPM to be made, or made anew.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The specification.
    pub version: TpmVersion,
    /// Where the state is.
    pub place: &'a StatePlace,
    /// For its certificates: the guest.
    pub guest: (&'a str, DomainId),
    /// `swtpm_setup.conf`; none: the tool's own.
    pub configuration: Option<&'a Path>,
    /// The passphrase of the state.
    pub passphrase: Option<FdNumber>,
    /// What it can do.
    pub profile: Option<&'a TpmProfile>,
    /// A saved memory brings the state along: what is there is replaced, without keys and certificates.
    pub incoming: bool,
}

impl Setup<'_> {
    /// The arguments of `swtpm_setup`.
    pub fn arguments(&self) -> Vec<String> {
        let mut words = Words::default();
        words.version(self.version).setup_place(self.place);
        if let Some(passphrase) = self.passphrase {
            words.two("--pwdfile-fd", passphrase).two("--cipher", CIPHER);
        }
        if let Some(configuration) = self.configuration {
            words.two("--config", configuration.display());
        }
        if self.incoming {
            words.one("--overwrite");
            return words.0;
        }
        let (name, id) = self.guest;
        words.two("--vmid", format_args!("{name}:{id}"));
        for word in ["--createek", "--create-ek-cert", "--create-platform-cert", "--lock-nvram"] {
            words.one(word);
        }
        words.one("--not-overwrite");
        if let Some(source) = self.profile.and_then(|profile| profile.source.as_deref()) {
            words.two("--profile-name", source);
            if let Some(removal) = self.profile.and_then(|profile| profile.remove_disabled) {
                words.two("--profile-remove-disabled", removal.as_str());
            }
        }
        words.0
    }
}

/// The arguments of `swtpm_setup` that switch a TPM 2.0's banks of registers. None: the document names no bank.
pub fn bank_arguments(
    place: &StatePlace,
    banks: &PcrBanks,
    configuration: Option<&Path>,
    passphrase: Option<FdNumber>,
) -> Option<Vec<String>> {
    let all =
        [("sha1", banks.sha1), ("sha256", banks.sha256), ("sha384", banks.sha384), ("sha512", banks.sha512)];
    let named: Vec<_> = all.into_iter().filter(|(_, is_on)| *is_on).map(|(name, _)| name).collect();
    if named.is_empty() {
        return None;
    }
    let mut words = Words::default();
    words.version(TpmVersion::V2_0).setup_place(place);
    if let Some(passphrase) = passphrase {
        words.two("--pwdfile-fd", passphrase).two("--cipher", CIPHER);
    }
    if let Some(configuration) = configuration {
        words.two("--config", configuration.display());
    }
    words.two("--pcr-banks", named.join(",")).one("--reconfigure");
    Some(words.0)
}

/// A TPM that serves.
#[derive(Debug)]
pub struct Emulator<'a> {
    /// The specification.
    pub version: TpmVersion,
    /// Where the state is.
    pub place: &'a StatePlace,
    /// The control socket, listening.
    pub control: FdNumber,
    /// Its log.
    pub log: FdNumber,
    /// How much it logs.
    pub debug: Option<u32>,
    /// The passphrase of the state, and again for the state that goes along with a saved memory: each is read to its
    /// end.
    pub passphrases: Option<(FdNumber, FdNumber)>,
}

impl Emulator<'_> {
    /// The arguments of `swtpm`.
    pub fn arguments(&self) -> Vec<String> {
        let mut words = Words::default();
        words.one("socket").two("--ctrl", format_args!("type=unixio,fd={}", self.control));
        let place = match self.place {
            StatePlace::Directory(path) => format!("dir={path}"),
            StatePlace::File(path) => format!("backend-uri=file://{path}"),
        };
        words.two("--tpmstate", format_args!("{place},mode=0600"));
        match self.debug {
            Some(level) => words.two("--log", format_args!("fd={},level={level}", self.log)),
            None => words.two("--log", format_args!("fd={}", self.log)),
        };
        words.one("--terminate").version(self.version);
        if let Some((state, moved)) = self.passphrases {
            words.two("--key", format_args!("pwdfd={state},mode={CIPHER}"));
            words.two("--migration-key", format_args!("pwdfd={moved},mode={CIPHER}"));
        }
        words.0
    }
}

#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn one(&mut self, word: &str) -> &mut Self {
        self.0.push(word.to_owned());
        self
    }

    fn two(&mut self, option: &str, value: impl std::fmt::Display) -> &mut Self {
        self.0.extend([option.to_owned(), value.to_string()]);
        self
    }

    fn version(&mut self, version: TpmVersion) -> &mut Self {
        match version {
            TpmVersion::V1_2 => self,
            TpmVersion::V2_0 => self.one("--tpm2"),
        }
    }

    fn setup_place(&mut self, place: &StatePlace) -> &mut Self {
        match place {
            StatePlace::Directory(path) => self.two("--tpm-state", path),
            StatePlace::File(path) => self.two("--tpm-state", format_args!("file://{path}")),
        }
    }
}

/// Asks swtpm over its control socket what it can do: it is up when it answers.
pub async fn greet(control: &mut UnixStream) -> io::Result<u64> {
    control.write_u32(GET_CAPABILITY).await?;
    control.read_u64().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use lodge_model::domain::tpm::RemoveDisabled;

    fn place() -> StatePlace {
        StatePlace::Directory("/s/tpm2".into())
    }

    #[test]
    fn a_new_tpm_gets_keys_and_certificates_once() {
        let id: DomainId = "3f0e6b1d-4a5e-4d0a-9a44-0a7f2a5b7c12".parse().unwrap();
        let place = place();
        let mut setup = Setup {
            version: TpmVersion::V2_0,
            place: &place,
            guest: ("web 1", id),
            configuration: None,
            passphrase: None,
            profile: None,
            incoming: false,
        };
        assert_eq!(
            setup.arguments().join("|"),
            format!(
                "--tpm2|--tpm-state|/s/tpm2|--vmid|web 1:{id}|--createek|--create-ek-cert|\
                 --create-platform-cert|--lock-nvram|--not-overwrite"
            )
        );
        setup.incoming = true;
        assert_eq!(setup.arguments().join(" "), "--tpm2 --tpm-state /s/tpm2 --overwrite");
        setup.incoming = false;
        setup.version = TpmVersion::V1_2;
        setup.configuration = Some(Path::new("/c"));
        setup.passphrase = Some(FdNumber::fixed(7));
        let profile = TpmProfile {
            source: Some("local:restricted".into()),
            remove_disabled: Some(RemoveDisabled::Check),
            ..TpmProfile::default()
        };
        setup.profile = Some(&profile);
        let said = setup.arguments().join(" ");
        assert!(
            said.starts_with("--tpm-state /s/tpm2 --pwdfile-fd 7 --cipher aes-256-cbc --config /c --vmid"),
            "{said}"
        );
        assert!(said.ends_with("--profile-name local:restricted --profile-remove-disabled check"), "{said}");
    }

    #[test]
    fn banks_are_switched_where_the_document_names_some() {
        let mut banks = PcrBanks::default();
        assert_eq!(bank_arguments(&place(), &banks, None, None), None);
        (banks.sha256, banks.sha512) = (true, true);
        let file = StatePlace::File("/s/one".into());
        assert_eq!(
            bank_arguments(&file, &banks, None, None).unwrap().join(" "),
            "--tpm2 --tpm-state file:///s/one --pcr-banks sha256,sha512 --reconfigure"
        );
    }

    #[test]
    fn the_emulator_gets_descriptors() {
        let place = place();
        let mut emulator = Emulator {
            version: TpmVersion::V2_0,
            place: &place,
            control: FdNumber::fixed(5),
            log: FdNumber::fixed(6),
            debug: None,
            passphrases: None,
        };
        assert_eq!(
            emulator.arguments().join(" "),
            "socket --ctrl type=unixio,fd=5 --tpmstate dir=/s/tpm2,mode=0600 --log fd=6 --terminate --tpm2"
        );
        let file = StatePlace::File("/s/one".into());
        emulator.place = &file;
        emulator.version = TpmVersion::V1_2;
        emulator.debug = Some(3);
        emulator.passphrases = Some((FdNumber::fixed(8), FdNumber::fixed(9)));
        assert_eq!(
            emulator.arguments().join(" "),
            "socket --ctrl type=unixio,fd=5 --tpmstate backend-uri=file:///s/one,mode=0600 --log fd=6,level=3 \
             --terminate --key pwdfd=8,mode=aes-256-cbc --migration-key pwdfd=9,mode=aes-256-cbc"
        );
    }
}
