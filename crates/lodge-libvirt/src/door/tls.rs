//! The TLS door: certificates as libvirt has them, clients checked, and the one byte that says so.
//!
//! After the handshake and the check of the client's certificate the server sends a single byte 1 inside TLS; only
//! then does the protocol begin. A client that is not let in sees the connection closed, as with libvirtd.
//! Certificates are read at the start and whenever `virt-admin server-update-tls` asks; connections that are open keep
//! what they were made with.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lodge_model::Kind;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::names;
use super::settings::TlsSettings;

mod subject;

pub use subject::distinguished_name;

/// A client that has not shown its certificate by then does not come in.
const HANDSHAKE_DEADLINE: Duration = Duration::from_mins(1);
/// How long a refused client may go on sending, and how much of it is read.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(2);
const FAREWELL_MAX_BYTES: usize = 64 * 1024;
/// What a client that is let in reads first.
const WELCOME: u8 = 1;

/// The certificates in use, and whom they let in.
#[derive(Debug)]
pub struct Tls {
    settings: TlsSettings,
    config: RwLock<Arc<ServerConfig>>,
}

/// Why the certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, unreadable, or not what it should be.
    #[error("cannot read {what} `{}`", path.display())]
    Read {
        /// What it should be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file that should have certificates has none.
    #[error("there is no {what} in `{}`", path.display())]
    Empty {
        /// What it should be.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// They were read and cannot be used.
    #[error("cannot use {what} `{}`: {reason}", path.display())]
    Use {
        /// Which of them.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl TlsError {
    /// The sort.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Read { source: rustls::pki_types::pem::Error::Io(error), .. }
                if error.kind() == io::ErrorKind::NotFound =>
            {
                Kind::NotFound
            }
            Self::Read { .. } | Self::Empty { .. } | Self::Use { .. } => Kind::InvalidInput,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        "docs/connecting.md says which certificates TLS needs; listen_tls = 0 does without"
    }
}

/// Why a client did not come in.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// It took too long.
    #[error("no TLS handshake within {} s", HANDSHAKE_DEADLINE.as_secs())]
    Late,
    /// The handshake failed: no certificate, not of our authority, revoked, no common version …
    #[error("TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The certificate is good and its name is not on the list.
    #[error("client's distinguished name `{0}` is not on the allowed list (tls_allowed_dn_list)")]
    Name(String),
}

impl Tls {
    /// Reads the certificates.
    pub fn load(settings: TlsSettings) -> Result<Self, TlsError> {
        let config = RwLock::new(Arc::new(configure(&settings)?));
        Ok(Self { settings, config })
    }

    /// Reads them anew. Those in use stay if the new ones cannot be used.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = Arc::new(configure(&self.settings)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Takes a client in, or says why not. Gives the name on its certificate, if it had to show one.
    pub async fn accept<S>(&self, stream: S) -> Result<(TlsStream<S>, Option<String>), Rejected>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        let welcomed = async {
            let handshake = TlsAcceptor::from(config).accept(stream).into_fallible().await;
            let mut stream = match handshake {
                Ok(stream) => stream,
                Err((error, stream)) => {
                    see_off(stream).await;
                    return Err(Rejected::Handshake(error));
                }
            };
            let name = self.judge(&stream)?;
            stream.write_all(&[WELCOME]).await.map_err(Rejected::Handshake)?;
            stream.flush().await.map_err(Rejected::Handshake)?;
            Ok((stream, name))
        };
        tokio::time::timeout(HANDSHAKE_DEADLINE, welcomed).await.unwrap_or(Err(Rejected::Late))
    }

    fn judge<S>(&self, stream: &TlsStream<S>) -> Result<Option<String>, Rejected> {
        if !self.settings.verify {
            return Ok(None);
        }
        let (_, connection) = stream.get_ref();
        let shown = connection.peer_certificates().and_then(|chain| chain.first());
        let name = shown.and_then(|certificate| distinguished_name(certificate)).unwrap_or_default();
        if names::allowed(self.settings.allowed_names.as_deref(), &name) {
            Ok(Some(name))
        } else {
            Err(Rejected::Name(name))
        }
    }
}

fn configure(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates("the server's certificate", &settings.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|source| TlsError::Read {
        what: "the server's key",
        path: settings.key.clone(),
        source,
    })?;
    let unusable = |what, path: &Path, reason: &dyn std::fmt::Display| TlsError::Use {
        what,
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("the server's certificate", &settings.certificate, &error))?;
    let builder = if settings.verify {
        let mut roots = RootCertStore::empty();
        for authority in certificates("the authority's certificate", &settings.authority)? {
            roots
                .add(authority)
                .map_err(|error| unusable("the authority's certificate", &settings.authority, &error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .with_crls(revocations(settings)?)
            // Lists of the authority itself are seldom kept; who is not on a list is not revoked.
            .only_check_end_entity_revocation()
            .allow_unknown_revocation_status()
            .build()
            .map_err(|error| unusable("the authority's certificate", &settings.authority, &error))?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| unusable("the server's certificate and key", &settings.certificate, &error))?;
    // libvirt's clients read the first record after the handshake as the welcome, and no client resumes a session.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// Lets a refused client finish what it is sending before the connection goes. It may have sent its certificate and
/// still be writing the rest of its handshake: closed under it, libvirt's client dies of SIGPIPE and says nothing.
async fn see_off<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let quiet = async {
        drop(stream.shutdown().await);
        let mut rest = [0; 1024];
        let mut left_bytes = FAREWELL_MAX_BYTES;
        while let Ok(count @ 1..) = stream.read(&mut rest).await {
            left_bytes = left_bytes.saturating_sub(count);
            if left_bytes == 0 {
                break;
            }
        }
    };
    drop(tokio::time::timeout(FAREWELL_DEADLINE, quiet).await);
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Read { what, path: path.to_owned(), source };
    let all: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if all.is_empty() {
        return Err(TlsError::Empty { what, path: path.to_owned() });
    }
    Ok(all)
}

fn revocations(settings: &TlsSettings) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let Some(path) = &settings.revoked else { return Ok(Vec::new()) };
    if settings.revoked_if_there && !path.exists() {
        return Ok(Vec::new());
    }
    let failed = |source| TlsError::Read { what: "the revocation list", path: path.clone(), source };
    CertificateRevocationListDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)
}
