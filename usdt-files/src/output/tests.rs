use super::*;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

/// A user other than root and the one that runs the tests.
const OTHER: u32 = 65534;

fn reason(path: &Path) -> String {
    open_output(path).unwrap_err().source.to_string()
}

#[test]
fn creates_and_empties_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events");
    open_output(&file).unwrap().write_all(b"long content").unwrap();
    open_output(&file).unwrap().write_all(b"short").unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"short");
    open_output(Path::new("/dev/null")).unwrap().write_all(b"x").unwrap();
}

#[test]
fn rejects_pipes_and_privileged_files() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(reason(&fifo), "a named pipe, not a regular file");
    let setuid = folder.path().join("setuid");
    fs::write(&setuid, "old").unwrap();
    fs::set_permissions(&setuid, fs::Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(reason(&setuid), "it is setuid or setgid; choose another file");
    assert_eq!(fs::read(&setuid).unwrap(), b"old");
}

#[test]
fn does_not_write_through_links_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("secret"), "old").unwrap();
    fs::create_dir(path("home")).unwrap();
    symlink("../secret", path("home/symbolic")).unwrap();
    std::os::unix::fs::lchown(path("home/symbolic"), Some(OTHER), None).unwrap();
    fs::hard_link(path("secret"), path("home/hard")).unwrap();
    chown(path("home"), Some(OTHER), None).unwrap();
    assert!(reason(&path("home/symbolic")).contains("a symbolic link of user 65534"));
    assert!(reason(&path("home/hard")).contains("it has other names"));
    assert_eq!(fs::read(path("secret")).unwrap(), b"old");
}
