//! The file of `--web.config.file`: TLS, basic authentication and headers, in the format that the
//! exporters of Prometheus share.

use super::auth::{PasswordHash, Users};
use super::tls;
use hyper::header::{HeaderName, HeaderValue};
use rustls::ServerConfig;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use usdt_attach::error::{Error, Result};

/// The maximum size of the file in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// The content of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WebConfig {
    tls_server_config: Option<TlsConfig>,
    /// Hashes of passwords by user name.
    basic_auth_users: HashMap<String, PasswordHash>,
    http_server_config: HttpConfig,
}

/// The keys that choose what rustls chooses itself, such as `cipher_suites`, are rejected.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsConfig {
    /// The certificate chain in PEM; relative to the folder of the file.
    pub(super) cert_file: PathBuf,
    /// The private key in PEM; relative to the folder of the file.
    pub(super) key_file: PathBuf,
    #[serde(default)]
    pub(super) client_auth_type: ClientAuth,
    /// The certificates of the authorities that sign certificates of clients.
    pub(super) client_ca_file: Option<PathBuf>,
    #[serde(default = "tls12")]
    pub(super) min_version: TlsVersion,
    #[serde(default = "tls13")]
    pub(super) max_version: TlsVersion,
}

/// The names are those of Go's `crypto/tls`. Its types that request a certificate and do not verify
/// it are rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum ClientAuth {
    #[default]
    #[serde(alias = "")]
    NoClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Deserialize)]
pub(super) enum TlsVersion {
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

fn tls12() -> TlsVersion {
    TlsVersion::Tls12
}

fn tls13() -> TlsVersion {
    TlsVersion::Tls13
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpConfig {
    /// Accepted because the documented examples have it. The endpoint always speaks HTTP/1.1.
    #[serde(rename = "http2")]
    _http2: bool,
    headers: BTreeMap<Header, String>,
}

/// The headers that the format defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "PascalCase")]
enum Header {
    #[serde(rename = "Content-Security-Policy")]
    ContentSecurityPolicy,
    #[serde(rename = "Strict-Transport-Security")]
    StrictTransportSecurity,
    #[serde(rename = "X-Content-Type-Options")]
    ContentTypeOptions,
    #[serde(rename = "X-Frame-Options")]
    FrameOptions,
    #[serde(rename = "X-XSS-Protection")]
    XssProtection,
}

impl Header {
    fn name(self) -> HeaderName {
        match self {
            Header::ContentSecurityPolicy => hyper::header::CONTENT_SECURITY_POLICY,
            Header::StrictTransportSecurity => hyper::header::STRICT_TRANSPORT_SECURITY,
            Header::ContentTypeOptions => hyper::header::X_CONTENT_TYPE_OPTIONS,
            Header::FrameOptions => hyper::header::X_FRAME_OPTIONS,
            Header::XssProtection => hyper::header::X_XSS_PROTECTION,
        }
    }
}

/// How clients reach the endpoint: with TLS or without, and with which credentials.
#[derive(Debug, Default)]
pub(crate) struct Security {
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) users: Option<Users>,
    /// Headers of each answer.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Security {
    /// Reads a file, and the certificates that it names.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read, is too large or invalid, or if this CPU cannot do TLS. The
    /// message names the line of an unknown key or value.
    pub(crate) fn read(path: &Path) -> Result<Security> {
        let text =
            usdt_files::read_text(path, MAX_SIZE).map_err(|source| Error::open(path, source))?;
        let config = parse(&text).map_err(|problem| Error::object(path, problem))?;
        let headers = config.http_server_config.headers.into_iter().map(|(header, value)| {
            let invalid =
                |_| Error::object(path, format!("`{}` has an invalid value", header.name()));
            Ok((header.name(), HeaderValue::from_str(&value).map_err(invalid)?))
        });
        let headers = headers.collect::<Result<_>>()?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let tls = config.tls_server_config.map(|tls| tls::server_config(path, folder, &tls));
        Ok(Security {
            tls: tls.transpose()?.map(Arc::new),
            users: Users::new(config.basic_auth_users),
            headers,
        })
    }

    /// Whether the endpoint has neither TLS nor authentication.
    pub(crate) fn is_open(&self) -> bool {
        self.tls.is_none() && self.users.is_none()
    }
}

/// Parses the file. An empty file has neither TLS nor users. The parser limits nesting and the
/// expansion of aliases.
fn parse(text: &str) -> std::result::Result<WebConfig, String> {
    let config: Option<WebConfig> =
        serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
    let config = config.unwrap_or_default();
    if let Some(tls) = &config.tls_server_config {
        if tls.min_version > tls.max_version {
            return Err("tls_server_config: `min_version` is above `max_version`".to_owned());
        }
        if (tls.client_auth_type == ClientAuth::NoClientCert) != tls.client_ca_file.is_none() {
            return Err(
                "tls_server_config: set `client_ca_file`, and `client_auth_type` to `RequireAndVerifyClientCert` or `VerifyClientCertIfGiven`, or neither of them"
                    .to_owned(),
            );
        }
    }
    Ok(config)
}

/// Whether a text is a valid file. For the fuzz target.
#[cfg(fuzzing)]
pub(crate) fn is_valid(text: &str) -> bool {
    parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_format_of_the_exporters() {
        let config = parse(
            "tls_server_config:\n  cert_file: a.pem\n  key_file: a.key\n  \
             client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  min_version: TLS13\n\
             http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\n\
             basic_auth_users:\n  ann: $2y$04$L6Bc/AlTQHyd9liGgGEZyOFLPHNgyxeEPfgYfBCVxJ7JIlwxyVU3u\n",
        )
        .unwrap();
        let tls = config.tls_server_config.unwrap();
        assert_eq!(tls.client_auth_type, ClientAuth::RequireAndVerifyClientCert);
        assert_eq!((tls.min_version, tls.max_version), (TlsVersion::Tls13, TlsVersion::Tls13));
        assert!(config.basic_auth_users.contains_key("ann"));
        assert_eq!(config.http_server_config.headers.len(), 1);
        for empty in ["", "# nothing\n", "{}", "basic_auth_users:\n"] {
            assert!(parse(empty).is_ok(), "{empty}");
        }
    }

    #[test]
    fn names_the_line_of_a_mistake() {
        for (text, expected) in [
            ("tls_config: {}\n", "unknown field `tls_config`"),
            (
                "\ntls_server_config:\n  cert_file: a\n  key_file: b\n  cipher_suites: []\n",
                "line 5",
            ),
            ("tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS10\n", "line 4"),
            (
                "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_auth_type: RequireAnyClientCert\n",
                "line 4",
            ),
            ("basic_auth_users:\n  ann: secret\n", "not a bcrypt hash"),
            ("http_server_config:\n  headers:\n    Server: x\n", "line 3"),
            ("tls_server_config:\n  cert_file: a\n", "missing field `key_file`"),
            (
                "tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS13\n  max_version: TLS12\n",
                "`min_version` is above",
            ),
            (
                "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_ca_file: c\n",
                "set `client_ca_file`, and `client_auth_type`",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn aliases_and_nesting_do_not_multiply() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..30 {
            let previous = format!("*a{}", n - 1);
            bomb += &format!("a{n}: &a{n} [{}]\n", [previous.as_str(); 10].join(", "));
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&format!("basic_auth_users: {}", "[".repeat(30_000))).is_err());
    }
}
