//! TLS on the listening port, with a self-signed certificate made on demand.
//!
//! The certificate lives in the data directory beside a note of its names and expiry, so that it can be reused without
//! parsing X.509; clients that trust it keep trusting it until it nears its end or the server gets a new name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

/// Days a made certificate is good for; Apple's limit for any server certificate.
const VALID_DAYS: i64 = 825;
/// A certificate with fewer days left is replaced at start.
const RENEW_DAYS: i64 = 30;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("a certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("{path}: not a PEM certificate or key: {source}")]
    Pem { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("{path}: no authorities for clients' certificates: {source}")]
    ClientCa { path: PathBuf, source: rustls::server::VerifierBuilderError },
    #[error("the certificate and key can't be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// PEM files of a certificate chain and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Note {
    names: Vec<String>,
    not_after_s: i64,
}

impl TlsFiles {
    /// The self-signed certificate in `data_dir`, made or replaced when there is none, it lacks a name, or it nears its
    /// end. Names are `localhost`, the loopback addresses and `host`.
    pub(crate) fn self_signed(data_dir: &Path, host: &str, now: OffsetDateTime) -> Result<Self, TlsError> {
        let folder = data_dir.join("tls");
        let files = Self { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
        let note_path = folder.join("certificate.json");
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !host.is_empty() && !names.iter().any(|name| name == host) {
            names.push(host.to_owned());
        }
        if files.are_good(&note_path, &names, now) {
            return Ok(files);
        }
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::File { path, source }
        };
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let key = rcgen::KeyPair::generate()?;
        let mut wanted = rcgen::CertificateParams::new(names.clone())?;
        wanted.distinguished_name = rcgen::DistinguishedName::new();
        wanted.distinguished_name.push(rcgen::DnType::CommonName, "craton");
        wanted.not_before = now - Duration::days(1);
        wanted.not_after = now + Duration::days(VALID_DAYS);
        let certificate = wanted.self_signed(&key)?;
        // The note is written last: without it the pair is not trusted to belong together.
        let _ = fs::remove_file(&note_path);
        write_private(&files.key, key.serialize_pem().as_bytes()).map_err(at(&files.key))?;
        fs::write(&files.certificate, certificate.pem()).map_err(at(&files.certificate))?;
        let note = Note { names, not_after_s: wanted.not_after.unix_timestamp() };
        let note = serde_json::to_vec(&note).unwrap_or_default();
        fs::write(&note_path, note).map_err(at(&note_path))?;
        Ok(files)
    }

    fn are_good(&self, note: &Path, names: &[String], now: OffsetDateTime) -> bool {
        let note = fs::read(note).ok().and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok());
        note.is_some_and(|note| {
            note.not_after_s > (now + Duration::days(RENEW_DAYS)).unix_timestamp()
                && names.iter().all(|name| note.names.contains(name))
        }) && self.certificate.exists()
            && self.key.exists()
    }
}

/// Writes a file that only its owner may read, whatever was there before.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let _ = fs::remove_file(path);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)?.write_all(bytes)
}

/// An acceptor for those files that offers HTTP/2 and HTTP/1.1. `client_ca`: the authorities that clients' certificates
/// must come from.
pub(crate) fn acceptor(
    files: &TlsFiles,
    client_ca: Option<&Path>,
) -> Result<tokio_rustls::TlsAcceptor, TlsError> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(pem(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).map_err(pem(path))? {
                roots.add(certificate.map_err(pem(path))?)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier =
                verifier.build().map_err(|source| TlsError::ClientCa { path: path.to_owned(), source })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(folder: &Path, host: &str, now: OffsetDateTime) -> (TlsFiles, Vec<u8>) {
        let files = TlsFiles::self_signed(folder, host, now).unwrap();
        acceptor(&files, None).unwrap();
        let bytes = fs::read(&files.certificate).unwrap();
        (files, bytes)
    }

    #[test]
    fn a_certificate_is_kept_until_it_nears_its_end_or_lacks_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let (_, first) = made(folder.path(), "127.0.0.1", now);
        assert_eq!(made(folder.path(), "127.0.0.1", now + Duration::days(700)).1, first);
        let (_, renamed) = made(folder.path(), "models.example.com", now);
        assert_ne!(renamed, first);
        assert_ne!(made(folder.path(), "models.example.com", now + Duration::days(800)).1, renamed);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_the_key() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (files, _) = made(folder.path(), "", OffsetDateTime::now_utc());
        assert_eq!(fs::metadata(files.key).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
