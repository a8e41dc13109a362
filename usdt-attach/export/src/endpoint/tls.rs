//! TLS of the endpoint: rustls, with a provider of cryptography that needs no C compiler.

use super::web_config::{ClientAuth, TlsConfig, TlsVersion};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;
use usdt_attach::error::Escaped;
use usdt_attach::error::{Error, Result};

/// The maximum size in bytes of a file with certificates or a key.
const MAX_SIZE: u64 = 1 << 20;

/// Reads the certificates and the key that a web configuration names. Relative paths are relative
/// to `folder`.
pub(super) fn server_config(path: &Path, folder: &Path, tls: &TlsConfig) -> Result<ServerConfig> {
    check_cpu()?;
    let cert_file = folder.join(&tls.cert_file);
    let chain = certificates(&cert_file)?;
    let key_file = folder.join(&tls.key_file);
    let key = PrivateKeyDer::from_pem_slice(&read(&key_file)?)
        .map_err(|error| Error::object(&key_file, format!("no private key in PEM: {error}")))?;
    let provider = Arc::new(rustls_graviola::default_provider());
    let versions: &[_] = match (tls.min_version, tls.max_version) {
        (TlsVersion::Tls13, _) => &[&TLS13],
        (_, TlsVersion::Tls12) => &[&TLS12],
        _ => &[&TLS13, &TLS12],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| Error::object(path, format!("tls_server_config: {error}")))?;
    let builder = match &tls.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let file = folder.join(file);
            let invalid = |error: String| Error::object(&file, error);
            let mut roots = RootCertStore::empty();
            for certificate in certificates(&file)? {
                roots.add(certificate).map_err(|error| invalid(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match tls.client_auth_type {
                ClientAuth::VerifyClientCertIfGiven => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier = verifier.build().map_err(|error| invalid(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        Error::object(
            &cert_file,
            format!("cannot use the certificate with the key {}: {error}", Escaped::new(&key_file)),
        )
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Each client would keep a session of some KiB in memory.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    usdt_files::read(path, MAX_SIZE).map_err(|source| Error::open(path, source))
}

/// Reads the certificates of a PEM file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read(path)?;
    let all: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.map_err(|error| Error::object(path, format!("not in PEM: {error}")))?;
    if all.is_empty() {
        return Err(Error::object(path, "no certificate in PEM"));
    }
    Ok(all)
}

/// Fails on a CPU without the instructions that the cryptography uses. Its library panics there.
fn check_cpu() -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    let missing = [
        ("aes", std::arch::is_x86_feature_detected!("aes")),
        ("pclmulqdq", std::arch::is_x86_feature_detected!("pclmulqdq")),
        ("bmi1", std::arch::is_x86_feature_detected!("bmi1")),
        ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
        ("adx", std::arch::is_x86_feature_detected!("adx")),
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
    ];
    #[cfg(target_arch = "aarch64")]
    let missing = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("pmull", std::arch::is_aarch64_feature_detected!("pmull")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
    ];
    let missing: Vec<&str> =
        missing.iter().filter(|(_, is_present)| !is_present).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "tls_server_config: TLS needs a CPU with {}; listen at 127.0.0.1, and run a reverse proxy with TLS on this host",
        missing.join(", ")
    )))
}
