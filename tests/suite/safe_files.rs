//! Files of other users: what is written keeps owner and privileges, nothing is written through
//! foreign links, and no input makes a command wait or take what it cannot afford.

use crate::sealing::Mount;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use usdt_e2e::{
    Fixture, Mode, Need, command, copy, have, list_probes, stdout, text, tools, usdt_gen, write,
};

/// Users who are not root.
const OWNER: u32 = 65534;
const OTHER: u32 = 65533;

/// `struct vfs_cap_data` of version 2: `cap_net_raw`, permitted and effective.
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn make_fifo(path: &Path) {
    stdout(command("mkfifo").arg(path));
}

fn permissions(path: &Path) -> (u32, u32, u32) {
    let status = fs::symlink_metadata(path).unwrap();
    (status.uid(), status.gid(), status.mode() & 0o7777)
}

/// Makes a file belong to [`OWNER`], with setuid and setgid.
fn make_privileged(path: &Path) {
    chown(path, Some(OWNER), Some(OWNER)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o6755)).unwrap();
}

/// Runs a tool that must end by itself within ten seconds.
fn run_in_time(tool: &str, args: &[&str]) -> Output {
    let mut limited = command("timeout");
    limited.args(["--signal=KILL", "10"]).arg(tools().join(tool)).args(args);
    let out = limited.stdin(Stdio::null()).output().unwrap();
    assert_ne!(out.status.code(), Some(137), "{tool} {args:?} waits");
    assert_eq!(out.status.signal(), None, "{tool} {args:?} waits");
    out
}

fn temporary_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".usdt"))
        .collect()
}

/// The value of `system.posix_acl_access` with one more user: version 2, then tag, permissions and
/// ID of each entry.
fn acl() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 7, u32::MAX),
        (0x02, 5, OTHER),
        (0x04, 5, u32::MAX),
        (0x10, 5, u32::MAX),
        (0x20, 0, u32::MAX),
    ];
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).is_ok()
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1024];
    let size = rustix::fs::getxattr(path, name, value.as_mut_slice()).ok()?;
    value.truncate(size);
    Some(value)
}

#[test]
fn sealing_as_root_keeps_owner_privileges_and_attributes() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let memory = tempfile::tempdir().unwrap();
    let mount = Mount::tmpfs(memory.path(), "1g");
    for folder in [folder.path(), &mount.path] {
        let app = folder.join("app");
        stdout(command("cp").arg(Fixture::get("hits", Mode::Plain)).arg(&app));
        make_privileged(&app);
        let acl = acl();
        let attributes: [(&str, &[u8]); 4] = [
            ("security.capability", &NET_RAW),
            ("system.posix_acl_access", &acl),
            ("trusted.note", b"kept"),
            ("user.note", b"kept"),
        ];
        for (name, value) in attributes {
            // Old kernels do not know `user` attributes on tmpfs.
            if !set_attribute(&app, name, value) {
                assert_eq!((name, &folder), ("user.note", &mount.path.as_path()));
            }
        }
        let names = attributes.map(|(name, _)| name);
        let state = || (permissions(&app), names.map(|name| attribute(&app, name)));
        let before = state();
        let out = usdt_gen(&["seal", app.to_str().unwrap()]);
        assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
        assert_eq!(state(), before, "{}", folder.display());
        assert!(list_probes(&app).iter().all(|probe| probe["source"] == "note"));
    }
}

/// The state of the file is watched all the time: a user that runs it must never find a file of root
/// that is setuid.
#[test]
fn sealing_never_shows_a_setuid_file_of_root() {
    if !is_root() {
        return;
    }
    let plain = Fixture::get("hits", Mode::Plain);
    let app = copy(&plain);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                // The file and, for a moment, its temporary name.
                for entry in fs::read_dir(app.folder.path()).unwrap().flatten() {
                    let Ok(status) = fs::symlink_metadata(entry.path()) else { continue };
                    assert!(status.uid() != 0 || status.mode() & 0o6000 == 0, "{entry:?}");
                    seen += 1;
                }
            }
            seen
        });
        for _ in 0..20 {
            fs::remove_file(&app.path).unwrap();
            stdout(command("cp").arg(&plain).arg(&app.path));
            make_privileged(&app.path);
            let out = usdt_gen(&["seal", app.as_str()]);
            assert!(out.status.success(), "{}", text(&out.stderr));
            assert_eq!(permissions(&app.path), (OWNER, OWNER, 0o6755));
        }
        done.store(true, Ordering::Relaxed);
        assert!(watcher.join().unwrap() > 100);
    });
}

#[test]
fn what_cannot_be_kept_is_dropped_and_reported() {
    if !is_root() || !have(&[Need::Program("setpriv")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Plain));
    let tool = app.folder.path().join("usdt-gen");
    stdout(command("cp").arg(tools().join("usdt-gen")).arg(&tool));
    fs::set_permissions(app.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    make_privileged(&app.path);
    assert!(set_attribute(&app.path, "security.capability", &NET_RAW));
    // Another user may replace the file, because they can write to the directory.
    let ids = format!("--reuid={OTHER} --regid={OTHER}");
    let mut seal = command("setpriv");
    seal.args(ids.split(' ')).arg("--clear-groups").arg(&tool).args(["seal", app.as_str()]);
    let out = seal.output().unwrap();
    let errors = text(&out.stderr);
    assert!(out.status.success(), "{errors}");
    assert_eq!(permissions(&app.path), (OTHER, OTHER, 0o755));
    assert_eq!(attribute(&app.path, "security.capability"), None);
    for lost in [
        "it belongs to user 65533 instead of 65534",
        "it has group 65533 instead of 65534",
        "it no longer has capabilities",
        "it is no longer setuid",
        "it is no longer setgid",
    ] {
        assert!(errors.contains(&format!("warning: {}: {lost}\n", app.as_str())), "{errors}");
    }
}

#[test]
fn an_output_file_keeps_its_owner_and_gets_no_privileges() {
    if !is_root() {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Plain));
    make_privileged(&app.path);
    let out = app.folder.path().join("out");
    let seal = || usdt_gen(&["seal", app.as_str(), "-o", out.to_str().unwrap()]);
    assert!(seal().status.success());
    assert_eq!(permissions(&out), (0, 0, 0o755), "a new file is not setuid");
    make_privileged(&out);
    let result = seal();
    assert!(text(&result.stderr).contains("it is no longer setuid"), "{}", text(&result.stderr));
    assert_eq!(permissions(&out), (OWNER, OWNER, 0o755));
    // The other names of a file are reported.
    fs::hard_link(&out, app.folder.path().join("other")).unwrap();
    assert!(text(&seal().stderr).contains("the other names of the file (1) keep the old content"));
}

#[test]
fn rejects_an_immutable_file() {
    if !is_root() || !have(&[Need::Program("chattr")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Plain));
    if !command("chattr").arg("+i").arg(&app.path).status().unwrap().success() {
        return;
    }
    let out = usdt_gen(&["seal", app.as_str()]);
    stdout(command("chattr").arg("-i").arg(&app.path));
    assert_eq!(out.status.code(), Some(3));
    assert!(text(&out.stderr).contains("it is immutable"), "{}", text(&out.stderr));
}

#[test]
fn writes_to_devices_and_descriptors_but_not_to_pipes() {
    let app = copy(&Fixture::get("hits", Mode::Plain));
    let path = |name: &str| app.folder.path().join(name);
    let expected = path("expected");
    assert!(usdt_gen(&["seal", app.as_str(), "-o", expected.to_str().unwrap()]).status.success());
    let expected = fs::read(expected).unwrap();
    let out = run_in_time("usdt-gen", &["seal", app.as_str(), "-o", "/dev/null"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    // Pipes and files that the shell has opened, also through a link to them.
    symlink("/dev/stdout", path("link")).unwrap();
    for target in ["/dev/stdout", "/dev/fd/1", path("link").to_str().unwrap()] {
        let out = run_in_time("usdt-gen", &["seal", app.as_str(), "-o", target]);
        assert!(out.status.success() && out.stdout == expected, "{target} as a pipe");
        let script = format!("exec usdt-gen seal {} -o {target} > {0}.sh", app.as_str());
        stdout(command("bash").args(["-c", &script]));
        let sealed = app.folder.path().join(format!("{}.sh", app.as_str()));
        assert!(fs::read(sealed).unwrap() == expected, "{target} as a file");
    }
    let script = format!("usdt-gen seal {} -o /dev/fd/7 7> {0}.fd", app.as_str());
    stdout(command("bash").args(["-c", &script]));
    assert!(fs::read(format!("{}.fd", app.as_str())).unwrap() == expected);
    assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
    // Named pipes, with and without a reader.
    make_fifo(&path("fifo"));
    let reader = rustix::fs::open(
        path("fifo"),
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    for _ in 0..2 {
        let out =
            run_in_time("usdt-gen", &["seal", app.as_str(), "-o", path("fifo").to_str().unwrap()]);
        assert_eq!(out.status.code(), Some(3));
        assert!(text(&out.stderr).contains("a named pipe, not a regular file"));
    }
    drop(reader);
    assert!(!fs::symlink_metadata(path("fifo")).unwrap().is_file());
    assert_eq!(temporary_files(app.folder.path()), [""; 0].map(PathBuf::from));
}

#[test]
fn writes_nothing_through_links_of_another_user() {
    if !is_root() {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Plain));
    let path = |name: &str| app.folder.path().join(name);
    let secret = path("secret");
    fs::write(&secret, "old").unwrap();
    fs::create_dir(path("home")).unwrap();
    fs::create_dir(path("tmp")).unwrap();
    fs::set_permissions(path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    for link in ["home/link", "home/probes.go", "tmp/link"] {
        symlink(&secret, path(link)).unwrap();
        lchown(path(link), Some(OWNER), Some(OWNER)).unwrap();
    }
    fs::hard_link(&secret, path("home/hard")).unwrap();
    chown(path("home"), Some(OWNER), Some(OWNER)).unwrap();
    write(&path("home"), "probes.d", "provider app { probe a(int id); };\n");
    let link = |name: &str| path(name).to_str().unwrap().to_owned();
    for args in [
        vec!["seal", app.as_str(), "-o", &link("home/link")],
        vec!["seal", app.as_str(), "-o", &link("tmp/link")],
        vec![&link("home/probes.d")],
    ] {
        let out = run_in_time("usdt-gen", &args);
        let errors = text(&out.stderr);
        assert_eq!(out.status.code(), Some(3), "{args:?}: {errors}");
        assert!(errors.contains("a symbolic link of user 65534"), "{errors}");
    }
    if have(&[Need::Bpf]) {
        for name in ["home/link", "tmp/link", "home/hard"] {
            let record = ["record", "-o", &link(name), "*:*", "--", app.as_str()];
            let out = run_in_time("usdt-attach", &record);
            assert!(!out.status.success(), "{name}");
            assert!(
                text(&out.stderr).contains("choose another")
                    || text(&out.stderr).contains("symbolic link of user"),
                "{}",
                text(&out.stderr)
            );
        }
        let record = ["record", "-o", "/dev/null", "*:*", "--", app.as_str()];
        assert!(run_in_time("usdt-attach", &record).status.success());
    }
    assert_eq!(fs::read(&secret).unwrap(), b"old");
}

#[test]
fn no_command_waits_for_a_named_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    make_fifo(&folder.path().join("fifo"));
    make_fifo(&folder.path().join("probes.go"));
    write(folder.path(), "include.d", "#include \"fifo\"\nprovider app { probe a(int id); };\n");
    let definition = write(folder.path(), "probes.d", "provider app { probe a(int id); };\n");
    let (fifo, include) = (path("fifo"), path("include.d"));
    let hits = Fixture::get("hits", Mode::Plain);
    let hits = hits.to_str().unwrap();
    for args in [
        vec!["seal", &fifo],
        vec!["verify", &fifo],
        vec!["schema", &fifo],
        vec!["doc", &fifo],
        vec!["bpftrace", &fifo],
        vec!["diff", &fifo, &definition],
        vec!["diff", &definition, &fifo],
        vec!["fmt", &fifo],
        vec!["fmt", "--check", &fifo],
        vec![&fifo],
        vec![&include],
        vec!["--check", &definition],
        vec![&definition],
        vec!["verify", "/dev/zero"],
        vec!["schema", "/dev/zero"],
    ] {
        let out = run_in_time("usdt-gen", &args);
        let errors = text(&out.stderr);
        assert!([2, 3].contains(&out.status.code().unwrap()), "{args:?}: {errors}");
        assert!(errors.contains("not a regular file"), "{args:?}: {errors}");
    }
    for args in [
        vec!["list", &fifo],
        vec!["list", hits, "--schema", &fifo],
        vec!["trace", "--schema", &fifo, "--exe", hits],
        vec!["export", "--config", &fifo, "--exe", hits],
        vec!["agent", "--config", &fifo],
    ] {
        let out = run_in_time("usdt-attach", &args);
        let errors = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {errors}");
        assert!(errors.contains("not a regular file"), "{args:?}: {errors}");
    }
}

#[test]
fn reads_pipes_that_the_shell_has_opened_up_to_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let definition = write(folder.path(), "probes.d", "provider app { probe a(int id); };\n");
    let expected = stdout(command("usdt-gen").args(["schema", &definition]));
    for script in [
        format!("usdt-gen schema <(cat {definition})"),
        format!("cat {definition} | usdt-gen schema /dev/stdin"),
        format!("usdt-gen schema /dev/stdin < {definition}"),
    ] {
        assert_eq!(stdout(command("bash").args(["-c", &script])), expected, "{script}");
    }
    let large = folder.path().join("large");
    fs::File::create(&large).unwrap().set_len(5 << 30).unwrap();
    let large = large.display();
    for script in [
        "usdt-gen schema <(cat /dev/zero)".to_owned(),
        format!("usdt-gen schema {large}"),
        format!("usdt-gen fmt - < {large}"),
        format!(
            "usdt-attach list --schema <(cat /dev/zero) {}",
            Fixture::get("hits", Mode::Plain).display()
        ),
        format!(
            "usdt-attach trace --schema {large} --exe {}",
            Fixture::get("hits", Mode::Plain).display()
        ),
        "usdt-attach export --config <(cat /dev/zero)".to_owned(),
        format!("usdt-attach export --config {large}"),
    ] {
        let limited = format!("ulimit -v 1000000; {script}");
        let out = command("bash").args(["-c", &limited]).output().unwrap();
        let errors = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{script}: {errors}");
        assert!(errors.contains("larger than 16 MiB"), "{script}: {errors}");
    }
}

/// The temporary copy is truncated again and again, as a file system that a program serves can do.
#[test]
fn truncating_the_copy_that_is_sealed_costs_an_error() {
    let original = Fixture::get("hits", Mode::Plain);
    let mut truncated = 0;
    for _ in 0..20 {
        let app = copy(&original);
        let mut seal = command(tools().join("usdt-gen"));
        seal.args(["seal", app.as_str()]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut seal = seal.spawn().unwrap();
        let descriptors = format!("/proc/{}/fd", seal.id());
        while seal.try_wait().unwrap().is_none() {
            // The copy has no name: its link in /proc leads to it all the same.
            for entry in fs::read_dir(&descriptors).into_iter().flatten().flatten() {
                let is_copy = fs::read_link(entry.path())
                    .is_ok_and(|file| file.starts_with(app.folder.path()) && file != app.path);
                let open = || fs::OpenOptions::new().write(true).open(entry.path()).ok();
                let copy = if is_copy { open() } else { None };
                if copy.is_some_and(|copy| copy.set_len(4096).is_ok()) {
                    truncated += 1;
                }
            }
        }
        let out = seal.wait_with_output().unwrap();
        assert_eq!(out.status.signal(), None, "{}", text(&out.stderr));
        assert!(!text(&out.stderr).contains("panicked"), "{}", text(&out.stderr));
    }
    assert!(truncated > 0, "no copy was found");
}

#[test]
fn a_sparse_file_stays_sparse() {
    let app = copy(&Fixture::get("hits", Mode::Plain));
    let original = fs::metadata(&app.path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&app.path).unwrap();
    file.set_len(5 << 30).unwrap();
    drop(file);
    let started = Instant::now();
    let copied = app.folder.path().join("copied");
    for args in [
        vec!["seal", app.as_str(), "-o", copied.to_str().unwrap()],
        vec!["seal", app.as_str()],
        vec!["seal", app.as_str()],
    ] {
        let out = run_in_time("usdt-gen", &args);
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    for sealed in [&app.path, &copied] {
        let status = fs::metadata(sealed).unwrap();
        assert!(status.len() > 5 << 30);
        assert!(status.blocks() < original.blocks() + 2048, "{} blocks", status.blocks());
    }
    assert_eq!(list_probes(&app.path).len(), 7);
    // A file that no program can be, and one without probes.
    let large = app.folder.path().join("large");
    fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    for command in ["seal", "verify"] {
        let out = run_in_time("usdt-gen", &[command, large.to_str().unwrap()]);
        assert_eq!(out.status.code(), Some(2));
        assert!(text(&out.stderr).contains("larger than 16 GiB"), "{}", text(&out.stderr));
    }
}

/// At most, a kill at the moment in which the complete file replaces the old one leaves its temporary
/// name. The next writer removes it.
#[test]
fn a_killed_sealer_leaves_no_part_of_a_file() {
    let plain = Fixture::get("hits", Mode::Plain);
    let app = copy(&plain);
    let original = fs::read(&plain).unwrap();
    let sealed_path = app.folder.path().join("sealed");
    assert!(
        usdt_gen(&["seal", app.as_str(), "-o", sealed_path.to_str().unwrap()]).status.success()
    );
    let sealed = fs::read(&sealed_path).unwrap();
    let mut killed = 0;
    for delay in 0..60 {
        stdout(command("cp").arg(&plain).arg(&app.path));
        let mut child =
            command(tools().join("usdt-gen")).args(["seal", app.as_str()]).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(500 * delay));
        let _ = child.kill();
        killed += usize::from(child.wait().unwrap().signal() == Some(9));
        let now = fs::read(&app.path).unwrap();
        assert!(now == original || now == sealed, "a part of the file after {delay}");
        for temporary in temporary_files(app.folder.path()) {
            assert_eq!(fs::read(&temporary).unwrap(), sealed, "a part of the file after {delay}");
        }
    }
    assert!(killed > 5, "only {killed} were killed");
    stdout(command("cp").arg(&plain).arg(&app.path));
    assert!(usdt_gen(&["seal", app.as_str()]).status.success());
    assert_eq!(temporary_files(app.folder.path()), [""; 0].map(PathBuf::from));
}

#[test]
fn the_next_writer_removes_what_a_killed_one_left() {
    let app = copy(&Fixture::get("hits", Mode::Plain));
    let stale = app.folder.path().join(".usdt-gen-0123456789abcdef");
    fs::write(&stale, "half").unwrap();
    let locked = app.folder.path().join(".usdt-gen-fedcba9876543210");
    let lock = fs::File::create(&locked).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(usdt_gen(&["seal", app.as_str()]).status.success());
    assert!(!stale.exists() && locked.exists());
}

/// The owner of a file truncates and rewrites it while root seals and verifies it.
#[test]
fn a_file_that_changes_while_it_is_read_costs_an_error_at_most() {
    let plain = fs::read(Fixture::get("hits", Mode::Plain)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("app");
    fs::write(&app, &plain).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fs::write(&app, &plain[..plain.len() / 3]).unwrap();
                fs::write(&app, &plain).unwrap();
            }
        });
        for round in 0..100 {
            let command = ["seal", "verify", "schema"][round % 3];
            let out = usdt_gen(&[command, app.to_str().unwrap()]);
            let errors = text(&out.stderr);
            if out.status.code().is_none_or(|code| code > 3) || errors.contains("panicked") {
                done.store(true, Ordering::Relaxed);
                panic!("{command}: {:?} {errors}", out.status);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(temporary_files(folder.path()), [""; 0].map(PathBuf::from));
}

/// A program without permission to write the directory can still say that nothing is to be done.
#[test]
fn a_sealed_file_need_not_be_writable() {
    if !is_root() {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    let memory = app.folder.path().join("mount");
    fs::create_dir(&memory).unwrap();
    let mount = Mount::tmpfs(&memory, "1g");
    let (sealed, plain) = (memory.join("sealed"), memory.join("plain"));
    stdout(command("cp").arg(&app.path).arg(&sealed));
    stdout(command("cp").arg(Fixture::get("hits", Mode::Plain)).arg(&plain));
    mount.read_only();
    assert_eq!(usdt_gen(&["seal", sealed.to_str().unwrap()]).status.code(), Some(0));
    assert_eq!(usdt_gen(&["seal", plain.to_str().unwrap()]).status.code(), Some(3));
}
