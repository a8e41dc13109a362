//! Pages of the documentation, typed on a machine that has only what the page says: a fresh root
//! file system of the distribution, in namespaces of its own.
//!
//! `cargo xtask setup` installs the file system once; the tests write to a layer above it. A page
//! finds there the Go toolchain, the files of a release, and nothing of this repository. `sudo` is
//! the real one, so it searches its own path.

use crate::docs::page_script;
use crate::installing::Parts;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use usdt_e2e::{Need, have, stdout, text};

/// The root file system, which `cargo xtask setup` installs, and a program in it.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/fresh-root");
const SUDO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/fresh-root/usr/bin/sudo");

/// Enters a copy of the file system and types a page there. It runs in a mount namespace, whose
/// mounts end with it and do not show elsewhere.
const ENTER: &str = r#"
set -e
# An overlay cannot be the writable layer of another one, as the folder of a container is.
mount -t tmpfs tmpfs "$SYSTEM"
mkdir "$SYSTEM/upper" "$SYSTEM/work" "$SYSTEM/root"
layers="lowerdir=$BASE,upperdir=$SYSTEM/upper,workdir=$SYSTEM/work"
cd "$SYSTEM/root"
mount -t overlay overlay -o "$layers" .
cd "$SYSTEM/root"
mkdir -p usr/local/go root/.cache/go-build release
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount --bind "$GOROOT" usr/local/go
mount --bind "$GOCACHE" root/.cache/go-build
mount --bind "$RELEASE" release
cp "$PAGE" root/page.sh
echo 127.0.0.1 localhost fresh > etc/hosts
hostname fresh
ip link set lo up
# The paths of a login shell, with that of the Go toolchain.
path=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec chroot . env -i HOME=/root PATH=$path bash /root/page.sh
"#;

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

    let page = usdt_e2e::write(folder.path(), "page.sh", script);
    let system = folder.path().join("system");
    std::fs::create_dir(&system).unwrap();

    let mut shell = Command::new("timeout");
    shell.args(["-k", "5", "170", "unshare", "--mount", "--net", "--uts", "--pid"]);
    shell.args(["--fork", "--kill-child", "bash", "-c", ENTER]);
    shell.envs([("BASE", base), ("SYSTEM", system), ("RELEASE", release), ("PAGE", page.into())]);
    shell.envs([("GOROOT", go("GOROOT")), ("GOCACHE", go("GOCACHE"))]);
    let out = shell.stdin(Stdio::null()).output().unwrap();
    let all = format!("{}{}", text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{pages:?}: {}\n{all}", out.status);
    Some(all)
}

fn go(variable: &str) -> PathBuf {
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
