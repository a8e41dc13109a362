//! Pages of the documentation, typed on a machine that has only what the page says: a fresh root
//! file system of the distribution, in namespaces of its own.
//!
//! `cargo xtask setup` installs the file system once; the tests write to a layer above it. A page
//! finds there the Go toolchain, the files of a release, and nothing of this repository. `sudo` is
//! the real one, so it searches its own path.

use crate::docs::page_script;
use crate::installing::Parts;
use std::path::Path;
use std::process::{Command, Stdio};
use usdt_e2e::containment::Mounts;
use usdt_e2e::{Need, have, stdout, text};

/// The root file system, which `cargo xtask setup` installs, and a program in it.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/fresh-root");
const SUDO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/fresh-root/usr/bin/sudo");
/// The paths of a login shell, with that of the Go toolchain.
const PATH: &str = "/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Types pages one after the other, each in a folder, and returns the output.
fn type_pages(pages: &[(&str, &str)]) -> Option<String> {
    if !have(&[Need::Bpf, Need::Program("go"), Need::Program("unshare"), Need::File(SUDO)]) {
        return None;
    }
    let base = std::fs::canonicalize(ROOT).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let release = Parts::debug_builds().tarballs(folder.path(), "1.2.3");
    let mut script = String::from("set -e\n");
    for (page, folder) in pages {
        script.push_str(&format!("cd {folder}\n"));
        script.push_str(&page_script(page, |_| true));
    }

    let mut mounts = Mounts::default();
    let layer = folder.path().join("layer");
    std::fs::create_dir(&layer).unwrap();
    // An overlay cannot be the writable layer of another one, as the folder of a container is.
    mounts.mount(&["-t", "tmpfs", "tmpfs"], &layer).unwrap();
    let system = mounts.overlay(&base, &layer, "system").unwrap();
    for (from, to) in [
        (Path::new("/dev"), "dev"),
        (Path::new("/sys"), "sys"),
        (&go("GOROOT"), "usr/local/go"),
        (&go("GOCACHE"), "root/.cache/go-build"),
        (&release, "release"),
    ] {
        let place = system.join(to);
        std::fs::create_dir_all(&place).unwrap();
        mounts.mount(&["--rbind", from.to_str().unwrap()], &place).unwrap();
    }
    usdt_e2e::write(&system, "root/page.sh", script);
    usdt_e2e::write(&system, "etc/hosts", "127.0.0.1 localhost fresh\n");

    let enter = "mount -t proc proc \"$0/proc\" && ip link set lo up && hostname fresh && \
                 exec chroot \"$0\" env -i HOME=/root PATH=\"$1\" bash /root/page.sh";
    let mut shell = Command::new("timeout");
    shell.args(["-k", "5", "170", "unshare", "--mount", "--net", "--uts", "--pid"]);
    shell.args(["--fork", "--kill-child", "bash", "-c", enter]).arg(&system).arg(PATH);
    let out = shell.stdin(Stdio::null()).output().unwrap();
    let all = format!("{}{}", text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{pages:?}: {}\n{all}", out.status);
    Some(all)
}

fn go(variable: &str) -> std::path::PathBuf {
    stdout(usdt_e2e::command("go").args(["env", variable])).trim().into()
}

fn assert_contains(out: &str, expected: &[&str]) {
    for text in expected {
        assert!(out.contains(text), "`{text}` is not in\n{out}");
    }
}

#[test]
fn first_pages_work_on_a_fresh_machine() {
    // The files of a release are downloaded to one folder; the module of the quick start is there.
    let pages =
        [("start.md", "/release"), ("packages.md", "/release/shop"), ("tutorial.md", "/root")];
    let Some(out) = type_pages(&pages) else { return };
    assert_contains(
        &out,
        &[
            "installed usdt-gen and usdt-attach 1.2.3 (",
            "shop:request__start(uint64_t id, string method, string path)",
            "thank you",
            "shop:request__end\n",
            "usdthttp",
            "find__end cached=true",
            "usdt_lookup_find_end_latency_seconds_count{service=\"lookup\"} 1",
        ],
    );
}
