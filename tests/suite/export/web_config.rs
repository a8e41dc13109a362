//! TLS and basic authentication of the endpoint, as curl and Prometheus use them.

use super::prometheus::Prometheus;
use super::*;
use std::path::Path;
use usdt_e2e::{Need, attach, have, text};

const PASSWORD: &str = "open sesame";
/// The bcrypt hash of the password.
const HASH: &str = "$2b$10$ouQHWSLCDOquW/GYTuJ2wuTpmOhMnOn0MtRKB3C93SvYeML7dphlm";

/// Creates a self-signed certificate and its key.
fn create_certificate(folder: &Path, name: &str) {
    let mut openssl = command("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}")]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out"]);
    stdout(openssl.arg("cert.pem").current_dir(folder));
}

/// Requests a URL with curl. Returns the status code, which is 0 if there is no connection.
fn curl(folder: &Path, args: &[&str], url: &str) -> u16 {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10"]);
    let out = curl.args(args).arg(url).current_dir(folder).output().unwrap();
    text(&out.stdout).parse().unwrap()
}

#[test]
fn curl_and_prometheus_use_tls_and_a_password() {
    if !have(&[
        Need::Bpf,
        Need::Program("prometheus"),
        Need::Program("openssl"),
        Need::Program("curl"),
    ]) {
        return;
    }
    let (app, target) = start_pairs();
    let folder = app.folder.path();
    create_certificate(folder, "first");
    let web_config = write(
        folder,
        "web.yml",
        format!(
            "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n\
             basic_auth_users:\n  ann: {HASH}\n\
             http_server_config:\n  headers:\n    X-Frame-Options: deny\n"
        ),
    );
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let pid = target.pid().to_string();
    let exporter = start_exporter(&[
        "--prometheus",
        &address,
        "--web.config.file",
        &web_config,
        "-p",
        &pid,
        "ops:*",
    ]);
    let (metrics, health) =
        (format!("https://{address}/metrics"), format!("https://{address}/healthz"));
    let trust = ["--cacert", "cert.pem"];
    wait_for("the endpoint", || curl(folder, &trust, &health) == 200);
    let (right, wrong) = (format!("ann:{PASSWORD}"), "ann:wrong");
    assert_eq!(curl(folder, &trust, &metrics), 401);
    for version in ["--tls-max", "--tlsv1.3"] {
        let version = if version == "--tls-max" { vec![version, "1.2"] } else { vec![version] };
        let args = [&trust[..], &["-u", &right], &version].concat();
        assert_eq!(curl(folder, &args, &metrics), 200, "{version:?}");
    }
    assert_eq!(curl(folder, &[&trust[..], &["-u", wrong]].concat(), &metrics), 401);
    assert_eq!(curl(folder, &["-u", &right], &metrics), 0, "an unknown certificate");
    assert_eq!(curl(folder, &[], &format!("http://{address}/metrics")), 0, "no TLS");

    target.signal(SIGINT);
    let scrape = format!(
        "scheme: https, tls_config: {{ca_file: '{}'}}, basic_auth: {{username: ann, password: '{PASSWORD}'}}",
        folder.join("cert.pem").display()
    );
    let prometheus = Prometheus::start_with(folder, port, &scrape, &[]);
    wait_for("all operations", || {
        let found = prometheus.query("usdt_ops_begin_total");
        found.first().is_some_and(|(_, n)| *n == STARTED as f64)
    });
    prometheus.stop();

    // A broken file changes nothing, and a new certificate is used at once.
    let valid = std::fs::read_to_string(&web_config).unwrap();
    write(folder, "web.yml", valid.replace("key_file", "key_path"));
    exporter.signal(SIGHUP);
    std::thread::sleep(Duration::from_millis(500));
    let args = [&trust[..], &["-u", &right]].concat();
    assert_eq!(curl(folder, &args, &metrics), 200);
    create_certificate(folder, "second");
    write(folder, "web.yml", valid);
    assert_eq!(curl(folder, &args, &metrics), 0, "the new certificate is not in use yet");
    exporter.signal(SIGHUP);
    wait_for("the new certificate", || curl(folder, &args, &metrics) == 200);
    let (status, _, errors) = exporter.interrupt();
    assert!(status.success(), "{errors}");
    assert!(errors.contains(&format!("metrics at https://{address}/metrics")), "{errors}");
    assert!(errors.contains("web.yml") && errors.contains("key_path"), "{errors}");
    assert!(errors.contains("the previous configuration stays active"), "{errors}");
    assert!(errors.contains("configuration reloaded"), "{errors}");
}

#[test]
fn rejects_invalid_web_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    stdout(command("mkfifo").arg(&fifo));
    write(folder.path(), "cert.pem", "no certificate\n");
    for (content, expected) in [
        ("tls_server_config:\n  cert_file: x\n  key_file: x\n  cipher_suites: []\n", "line 4"),
        ("basic_auth_users:\n  ann: secret\n", "htpasswd -nBC 10"),
        ("tls_server_config:\n  cert_file: missing.pem\n  key_file: x\n", "missing.pem"),
        ("tls_server_config:\n  cert_file: cert.pem\n  key_file: x\n", "no certificate in PEM"),
        ("tls_server_config:\n  cert_file: fifo\n  key_file: x\n", "not a regular file"),
    ] {
        write(folder.path(), "web.yml", content);
        let config = write(
            folder.path(),
            "export.toml",
            "[prometheus]\nlisten = \"9464\"\nweb-config-file = \"web.yml\"\n[[count]]\nprobes = \"a:b\"\n",
        );
        let out = attach(&["agent", "--check", "--config", &config]);
        let errors = text(&out.stderr);
        assert!(matches!(out.status.code(), Some(1..=3)), "{errors}");
        assert!(errors.contains(expected), "{content}: {errors}");
    }
    for file in [fifo.to_str().unwrap(), "/dev/zero"] {
        let out = attach(&["export", "-p", "1", "--prometheus", "9464", "--web.config.file", file]);
        assert!(text(&out.stderr).contains("not a regular file"), "{}", text(&out.stderr));
    }
    let out = attach(&["export", "-p", "1", "--otlp", "http://x:1", "--web.config.file", "x"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("needs an endpoint"), "{}", text(&out.stderr));
}
