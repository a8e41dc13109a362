//! The tarball in a root file system that has nothing else, and file capabilities.

use super::Parts;
use std::path::Path;
use std::process::{Command, Output};
use usdt_e2e::containment::Mounts;
use usdt_e2e::{Fixture, Mode, Need, events_and_summary, have, json_lines, stdout, text, write};

/// A root file system with busybox, and the shared libraries that debug builds need.
fn fresh_root(folder: &Path, programs: &Path) {
    for name in ["bin", "dev", "proc", "release", "src", "sys", "tmp", "usr/local"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    stdout(Command::new("mknod").arg(folder.join("dev/null")).args(["c", "1", "3"]));
    stdout(Command::new("cp").args(["-L", "/bin/busybox"]).arg(folder.join("bin")));
    let busybox = folder.join("bin/busybox");
    stdout(Command::new(&busybox).arg("--install").arg("-s").arg(folder.join("bin")));
    // The links name busybox by its path outside of the root.
    for entry in std::fs::read_dir(folder.join("bin")).unwrap() {
        let link = entry.unwrap().path();
        if link != busybox {
            std::fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink("busybox", &link).unwrap();
        }
    }
    let libraries = stdout(Command::new("ldd").arg(programs.join("usdt-attach")));
    for word in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        stdout(Command::new("cp").args(["-L", "--parents", word]).arg(folder));
    }
}

#[test]
fn tarball_works_without_anything_else() {
    if !have(&["busybox", "setpriv", "chroot", "ldd"].map(Need::Program)) || !have(&[Need::Bpf]) {
        return;
    }
    let parts = Parts::debug_builds();
    let release = parts.tarballs(parts.folder.path(), "1.2.3");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fresh_root(root, &parts.programs());
    stdout(Command::new("cp").arg("-r").arg(release.join(".")).arg(root.join("release")));
    let app = Fixture::get("hits", Mode::Sealed);
    stdout(Command::new("cp").arg(app).arg(root.join("src/hits")));
    write(root, "src/probes.d", "provider app { probe start(int id); };\n");
    let mut mounts = Mounts::default();
    // A container engine mounts these, too.
    mounts.mount(&["-t", "proc", "proc"], &root.join("proc")).unwrap();
    mounts.mount(&["-t", "sysfs", "-o", "ro", "sysfs"], &root.join("sys")).unwrap();
    // The capabilities that the documentation names, and the one to change the root.
    let set = "-all,+bpf,+perfmon,+sys_ptrace,+sys_chroot";
    let inside = |args: &[&str]| -> Output {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", set, "chroot"]).arg(root);
        command.args(["/bin/env", "-i", "PATH=/bin:/usr/local/bin"]).args(args).output().unwrap()
    };
    let run = |args: &[&str]| {
        let out = inside(args);
        assert!(out.status.success(), "{args:?}: {}{}", text(&out.stdout), text(&out.stderr));
        text(&out.stdout)
    };
    assert!(!inside(&["usdt-gen", "--version"]).status.success(), "nothing is installed yet");
    let said = run(&["sh", "/release/install.sh"]);
    assert!(said.ends_with("in /usr/local/bin\n"), "{said}");

    run(&["usdt-gen", "/src/probes.d", "-o", "/src/probes"]);
    assert!(root.join("src/probes/probes.go").exists());
    let listed = json_lines(&run(&["usdt-attach", "list", "--json", "/src/hits"]));
    assert!(listed.iter().any(|probe| probe["provider"] == "e2e"), "{listed:?}");
    let traced =
        run(&["usdt-attach", "trace", "--json", "e2e:hit", "--", "/src/hits", "-per", "5"]);
    let (events, summary) = events_and_summary(&traced);
    assert_eq!((events.len(), &summary["delivered"]), (5, &5.into()), "{traced}");

    run(&["sh", "/release/install.sh", "--uninstall"]);
    assert_eq!(std::fs::read_dir(root.join("usr/local")).unwrap().count(), 0);
}

/// The line of the documentation lets users trace who have no privileges.
#[test]
fn documented_file_capabilities_let_users_trace() {
    if !have(&["setcap", "setpriv"].map(Need::Program)) || !have(&[Need::Bpf]) {
        return;
    }
    let page = std::fs::read_to_string(usdt_e2e::root().join("docs/install.md")).unwrap();
    let line = page.lines().find(|line| line.contains("setcap cap_")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["$", "sudo", "setcap", capabilities, "/usr/local/bin/usdt-attach"] = words[..] else {
        panic!("{line}");
    };
    let program = usdt_e2e::copy(&usdt_e2e::tools().join("usdt-attach"));
    let app = usdt_e2e::copy(&Fixture::get("hits", Mode::Sealed));
    for folder in [&program.folder, &app.folder] {
        stdout(Command::new("chmod").arg("755").arg(folder.path()));
    }
    let trace = || {
        let mut user = Command::new("setpriv");
        user.args(["--reuid=65534", "--regid=65534", "--clear-groups", program.as_str()]);
        user.args(["trace", "--json", "e2e:hit", "--", app.as_str(), "-per", "5"]);
        user.output().unwrap()
    };
    let out = trace();
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    stdout(Command::new("setcap").args([capabilities, program.as_str()]));
    let out = trace();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert_eq!(events_and_summary(&text(&out.stdout)).1["delivered"], 5);
}
