//! `install.sh`: what it installs, refuses, says and removes.

use super::{Parts, tree};
use packaging::Architecture;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use usdt_e2e::{Need, Process, free_port, have, root, stdout, text, wait_for, write};

/// A shell that runs the script: the system's, and the one of small images.
const SHELLS: [&[&str]; 2] = [&["sh"], &["busybox", "sh"]];

fn run(shell: &[&str], script: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(script).args(args).env_remove("PREFIX").output().unwrap()
}

/// Runs the script with `sh`, which must fail, and returns its message.
fn refused(script: &Path, args: &[&str]) -> String {
    refusal(&run(SHELLS[0], script, args))
}

fn refusal(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(1), "{}{}", text(&out.stdout), text(&out.stderr));
    let message = text(&out.stderr);
    assert_eq!(message.lines().count(), 1, "{message}");
    message.strip_prefix("install.sh: ").expect(&message).trim().to_owned()
}

/// A `PATH` with the programs that the script uses, but for `missing`.
fn path_without(folder: &Path, missing: &[&str]) -> PathBuf {
    let bin = folder.join(format!("bin-without-{}", missing.join("-")));
    std::fs::create_dir(&bin).unwrap();
    for name in [
        "cat",
        "chmod",
        "cp",
        "curl",
        "dirname",
        "find",
        "grep",
        "gzip",
        "mkdir",
        "mktemp",
        "mv",
        "rm",
        "rmdir",
        "sha256sum",
        "shasum",
        "sort",
        "tar",
        "uname",
        "wget",
    ] {
        let found = Command::new("sh").args(["-c", "command -v \"$1\"", "sh", name]).output();
        let found = text(&found.unwrap().stdout);
        if !missing.contains(&name) && !found.is_empty() {
            std::os::unix::fs::symlink(found.trim(), bin.join(name)).unwrap();
        }
    }
    bin
}

#[test]
fn installs_again_and_removes_only_its_own_files() {
    if !have(&[Need::Program("busybox")]) {
        return;
    }
    let parts = Parts::scripts();
    for (number, shell) in SHELLS.into_iter().enumerate() {
        let folder = parts.folder.path().join(format!("shell {number}"));
        let release = parts.tarballs(&folder, "1.2.3");
        let script = release.join("install.sh");
        let prefix = folder.join("my prefix");
        let arg = prefix.to_str().unwrap();
        let install = |script: &Path| {
            let out = run(shell, script, &["--prefix", arg]);
            assert!(out.status.success(), "{}", text(&out.stderr));
            text(&out.stdout)
        };
        let said = install(&script);
        let host = Architecture::HOST;
        for expected in [
            format!("the checksum of usdt-go-1.2.3-linux-{host}.tar.gz is correct\n"),
            format!("installed usdt-gen and usdt-attach 1.2.3 ({host}) in {arg}/bin\n"),
            format!("note: {arg}/bin is not on your PATH\n"),
            format!("note: sudo may not search {arg}/bin; run: sudo {arg}/bin/usdt-attach\n"),
        ] {
            assert!(said.contains(&expected), "`{expected}` is not in\n{said}");
        }
        let first = tree(&prefix);
        for file in [
            "bin/usdt-attach",
            "share/bash-completion/completions/usdt-gen",
            "share/doc/usdt-go/LICENSE-MIT",
            "share/doc/usdt-go/THIRD-PARTY-LICENSES",
            "share/fish/vendor_completions.d/usdt-attach.fish",
            "share/man/man1/usdt-attach.1",
            "share/zsh/site-functions/_usdt-gen",
        ] {
            assert!(first.iter().any(|path| path == file), "{file} is not in {first:?}");
        }
        assert_eq!(stdout(Command::new(prefix.join("bin/usdt-gen")).arg("fmt")), "usdt-gen fmt\n");
        // What a later release lacks is removed; what others have installed stays.
        write(&prefix, "share/man/man1/other.1", "");
        let old = write(&prefix, "share/man/man1/usdt-old.1", "");
        let list = prefix.join("share/usdt-go/installed");
        let listed = std::fs::read_to_string(&list).unwrap();
        std::fs::write(&list, format!("{listed}file share/man/man1/usdt-old.1\n")).unwrap();
        install(&parts.tarballs(&folder.join("later"), "1.3.0").join("install.sh"));
        assert!(!Path::new(&old).exists());
        let mut both = first.clone();
        both.push("share/man/man1/other.1".to_owned());
        both.sort();
        assert_eq!(tree(&prefix), both);
        let out = run(shell, &script, &["--uninstall", "--prefix", arg]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        assert_eq!(
            tree(&prefix),
            ["share", "share/man", "share/man/man1", "share/man/man1/other.1"]
        );
        let message = refusal(&run(shell, &script, &["--uninstall", "--prefix", arg]));
        assert!(message.starts_with("no installation of this script in"), "{message}");
    }
}

#[test]
fn refuses_a_tarball_with_another_checksum() {
    let parts = Parts::scripts();
    let folder = parts.folder.path();
    let release = parts.tarballs(folder, "1.2.3");
    let name = format!("usdt-go-1.2.3-linux-{}.tar.gz", Architecture::HOST);
    let mut bytes = std::fs::read(release.join(&name)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(release.join(&name), bytes).unwrap();
    let prefix = folder.join("prefix");
    let args = ["--prefix", prefix.to_str().unwrap()];
    let message = refused(&release.join("install.sh"), &args);
    assert!(message.starts_with(&format!("the checksum of {name} is ")), "{message}");
    assert!(message.ends_with("; nothing was installed"), "{message}");
    assert!(!prefix.exists());
    std::fs::remove_file(release.join(&name)).unwrap();
    let message = refused(&release.join("install.sh"), &args);
    assert!(message.starts_with(&format!("no file `{name}` in ")), "{message}");
}

#[test]
fn names_what_is_missing_or_unknown() {
    let parts = Parts::scripts();
    let folder = parts.folder.path();
    let release = parts.tarballs(folder, "1.2.3");
    let script = release.join("install.sh");
    let prefix = folder.join("prefix");
    let prefix = prefix.to_str().unwrap();
    for (args, expected) in [
        (&["--arch", "riscv64"][..], "no release for the architecture `riscv64`"),
        (&["--version", "9.9"], "lists no tarball of version 9.9 for "),
        (&["--from", "http://example.com/x"], "the source is a folder or an https URL"),
        (&["--from", "/nonexistent"], "no folder `/nonexistent`"),
        (&["--prefix", "/proc/usdt"], "cannot write to /proc/usdt; run the script with sudo"),
        (&["--version"], "no value follows `--version`"),
        (&["--verbose"], "unknown option `--verbose`; --help lists the options"),
    ] {
        let message = refused(&script, &[&["--prefix", prefix], args].concat());
        assert!(message.contains(expected), "{args:?}: {message}");
    }
    let alone = folder.join("install.sh");
    std::fs::copy(&script, &alone).unwrap();
    let message = refused(&alone, &[]);
    assert!(message.starts_with("no files of a release next to this script"), "{message}");

    let with_path = |path: &Path| {
        let mut command = Command::new("/bin/sh");
        let out = command.arg(&script).args(["--prefix", prefix]).env("PATH", path).output();
        refusal(&out.unwrap())
    };
    for (missing, expected) in [
        (&["tar"][..], "`tar` is not installed, and the installation needs it"),
        (&["gzip"], "`gzip` is not installed, and the installation needs it"),
        (&["uname"], "`uname` is not installed, and finding the architecture needs it"),
        (&["sha256sum", "shasum"], "neither `sha256sum` nor `shasum` is installed"),
    ] {
        let message = with_path(&path_without(folder, missing));
        assert!(message.starts_with(expected), "{message}");
    }
    for (system, machine, expected) in [
        ("Linux", "s390x", "no release for the architecture `s390x`; build from source"),
        ("Darwin", "arm64", "releases are for Linux, and this is Darwin"),
    ] {
        let bin = path_without(folder, &["uname", system]);
        let uname = format!("#!/bin/sh\n[ \"$1\" = -s ] && echo {system} || echo {machine}\n");
        let uname = write(&bin, "uname", uname);
        stdout(Command::new("chmod").args(["755", &uname]));
        let message = with_path(&bin);
        assert!(message.starts_with(expected), "{message}");
    }
    assert!(!Path::new(prefix).exists());
}

/// A list of installed files that was changed does not make the script remove files elsewhere.
#[test]
fn removes_nothing_outside_of_the_prefix() {
    let parts = Parts::scripts();
    let folder = parts.folder.path();
    let script = parts.tarballs(folder, "1.2.3").join("install.sh");
    let prefix = folder.join("prefix");
    let victim = write(folder, "victim", "");
    for path in ["../victim", "share/../../victim", &victim] {
        write(&prefix, "share/usdt-go/installed", format!("file {path}\n"));
        write(&prefix, "bin/usdt-gen", "");
        let message = refused(&script, &["--uninstall", "--prefix", prefix.to_str().unwrap()]);
        assert!(message.contains("which is not below the prefix"), "{message}");
    }
    assert!(Path::new(&victim).exists());
}

/// A download that ends early leaves a beginning of the script. It must do nothing.
#[test]
fn beginning_of_the_script_changes_nothing() {
    let parts = Parts::scripts();
    let folder = parts.folder.path();
    let release = parts.tarballs(folder, "1.2.3");
    let script = std::fs::read_to_string(release.join("install.sh")).unwrap();
    let prefix = folder.join("prefix");
    let part = release.join("part.sh");
    let mut count = 0;
    let complete = script.trim_end().len();
    for (end, _) in script.match_indices('\n').filter(|(end, _)| *end < complete) {
        std::fs::write(&part, &script[..=end]).unwrap();
        run(SHELLS[0], &part, &["--prefix", prefix.to_str().unwrap()]);
        assert!(!prefix.exists(), "{}", &script[..=end]);
        count += 1;
    }
    assert!(count > 200, "{count}");
    std::fs::write(&part, &script).unwrap();
    run(SHELLS[0], &part, &["--prefix", prefix.to_str().unwrap()]);
    assert!(prefix.exists());
}

#[test]
fn downloads_over_https_only() {
    if !have(&["openssl", "curl"].map(Need::Program)) {
        return;
    }
    let parts = Parts::scripts();
    let folder = parts.folder.path();
    let release = parts.tarballs(folder, "1.2.3");
    let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout"]);
    stdout(openssl.arg(&key).arg("-out").arg(&certificate));
    let port = free_port();
    let mut server = Command::new("openssl");
    server.args(["s_server", "-quiet", "-WWW", "-accept", &port.to_string(), "-key"]);
    let server = server.arg(&key).arg("-cert").arg(&certificate).current_dir(&release);
    let _server = Process::start(server);
    wait_for("the server", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let script = folder.join("install.sh");
    std::fs::copy(release.join("install.sh"), &script).unwrap();
    let prefix = folder.join("prefix");
    let install = |trusted: &Path| {
        let mut shell = Command::new("sh");
        shell.arg(&script).args(["--from", &format!("https://localhost:{port}"), "--prefix"]);
        shell.arg(&prefix).env("CURL_CA_BUNDLE", trusted).env("NO_PROXY", "localhost");
        shell.output().unwrap()
    };
    let out = install(Path::new("/dev/null"));
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stdout));
    let errors = text(&out.stderr);
    assert!(errors.contains("install.sh: cannot download https://localhost"), "{errors}");
    assert!(!prefix.exists());
    let out = install(&certificate);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let said = text(&out.stdout);
    assert!(said.starts_with("downloading https://localhost"), "{said}");
    assert!(prefix.join("bin/usdt-attach").exists());
}

#[test]
fn released_script_knows_its_repository() {
    let parts = Parts::scripts();
    let release = parts.release(parts.folder.path(), "1.2.3");
    let url = "https://localhost:1/nowhere";
    let script = packaging::write_installer(&release, Some(url)).unwrap();
    for (args, folder) in
        [(&[][..], "releases/latest/download"), (&["--version", "v1.0"], "releases/download/v1.0")]
    {
        let out = run(SHELLS[0], &script, args);
        let said = text(&out.stdout);
        assert_eq!(said, format!("downloading {url}/{folder}/SHA256SUMS\n"));
        assert_eq!(out.status.code(), Some(1));
    }
    let help = text(&run(SHELLS[0], &script, &["--help"]).stdout);
    assert!(help.contains(&format!("else {url}]")), "{help}");
}

#[test]
fn shellcheck_accepts_the_scripts() {
    if !have(&[Need::Program("shellcheck")]) {
        return;
    }
    let scripts = ["packaging/install.sh", "usdt-gen/src/cli/usdt-gen.sh"];
    stdout(Command::new("shellcheck").args(scripts).current_dir(root()));
}
