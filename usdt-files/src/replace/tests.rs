use super::*;
use rustix::fs::XattrFlags;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

/// A user other than root and the one that runs the tests.
const OTHER: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn edit(path: &Path, content: &[u8]) -> Result<Vec<String>, WriteError> {
    write_if_changed(path, content, Origin::Edited)
}

#[test]
fn keeps_mode_and_symbolic_link() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("app"), folder.path().join("link"));
    fs::write(&file, "old").unwrap();
    set_mode(&file, 0o751);
    symlink("app", &link).unwrap();
    assert_eq!(write_atomic(&link, b"new").unwrap(), [""; 0]);
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert_eq!(mode(&file), 0o751);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn creates_a_file_under_the_umask_through_a_dangling_link() {
    let folder = tempfile::tempdir().unwrap();
    symlink("sub/new", folder.path().join("link")).unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    write_atomic(&folder.path().join("link"), b"new").unwrap();
    let expected = folder.path().join("expected");
    fs::write(&expected, "").unwrap();
    assert_eq!(mode(&folder.path().join("sub/new")), mode(&expected));
}

#[test]
fn deletes_an_unfinished_replacement() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app");
    fs::write(&file, "old").unwrap();
    let mut new = Replacement::new(&file, Origin::Edited, 0o666).unwrap();
    new.file().write_all(b"half").unwrap();
    drop(new);
    assert_eq!(fs::read(&file).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn reports_the_path_of_a_failed_write() {
    let error = write_atomic(Path::new("/proc/nothing/here"), b"x").unwrap_err();
    assert!(error.to_string().starts_with("cannot write /proc/nothing/here: "));
}

#[test]
fn keeps_owner_and_privileges_of_an_edited_file() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app");
    fs::write(&file, "old").unwrap();
    chown(&file, Some(OTHER), Some(OTHER - 1)).unwrap();
    set_mode(&file, 0o6755);
    assert_eq!(edit(&file, b"new").unwrap(), [""; 0]);
    let status = fs::metadata(&file).unwrap();
    assert_eq!((status.uid(), status.gid(), mode(&file)), (OTHER, OTHER - 1, 0o6755));
}

#[test]
fn new_content_gets_no_privileges() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app");
    fs::write(&file, "old").unwrap();
    set_mode(&file, 0o4755);
    let warnings = write_atomic(&file, b"new").unwrap();
    assert_eq!(
        warnings,
        [format!("{}: it is no longer setuid", stapsdt::escape::Escaped::new(&file))]
    );
    assert_eq!(mode(&file), 0o755);
}

#[test]
#[allow(clippy::disallowed_macros)] // A test that is skipped says why.
fn keeps_attributes_acl_and_capabilities() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app");
    fs::write(&file, "old").unwrap();
    chown(&file, Some(OTHER), Some(OTHER)).unwrap();
    // struct posix_acl_xattr: version 2, then tag, permissions and ID of each entry. User 7 may
    // read and write.
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (0x01u16, 6u16, u32::MAX),
        (0x02, 6, 7),
        (0x04, 0, u32::MAX),
        (0x10, 6, u32::MAX),
        (0x20, 0, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    // struct vfs_cap_data of version 2: cap_net_raw, permitted and effective.
    let mut capabilities = vec![0; 20];
    capabilities[..8].copy_from_slice(&[1, 0, 0, 2, 0, 0x20, 0, 0]);
    let attributes: [(&str, &[u8]); 4] = [
        ("user.note", b"kept"),
        ("trusted.note", b"kept"),
        ("system.posix_acl_access", &acl),
        ("security.capability", &capabilities),
    ];
    for (name, value) in attributes {
        if let Err(error) = rustix::fs::setxattr(&file, name, value, XattrFlags::empty()) {
            eprintln!("skipped: the file system has no {name}: {error}");
            return;
        }
    }
    let value = |name: &str| {
        let mut buffer = vec![0; 256];
        let size = rustix::fs::getxattr(&file, name, buffer.as_mut_slice()).unwrap_or(0);
        buffer.truncate(size);
        buffer
    };
    let before = mode(&file);
    assert_eq!(edit(&file, b"new").unwrap(), [""; 0]);
    assert_eq!(mode(&file), before);
    for (name, expected) in attributes {
        assert_eq!(value(name), expected, "{name}");
    }
    // New content keeps the ACL but not the capabilities.
    let warnings = write_atomic(&file, b"newer").unwrap();
    assert!(warnings.len() == 1 && warnings[0].ends_with("no longer has capabilities"));
    assert_eq!((value("security.capability").len(), value("system.posix_acl_access")), (0, acl));
}

#[test]
fn ignores_the_default_acl_of_the_directory_for_an_existing_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app");
    fs::write(&file, "old").unwrap();
    set_mode(&file, 0o644);
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (0x01u16, 7u16, u32::MAX),
        (0x02, 7, 7),
        (0x04, 7, u32::MAX),
        (0x10, 7, u32::MAX),
        (0x20, 7, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    if rustix::fs::setxattr(folder.path(), "system.posix_acl_default", &acl, XattrFlags::empty())
        .is_err()
    {
        return;
    }
    edit(&file, b"new").unwrap();
    let mut buffer = [0; 256];
    let acl = rustix::fs::getxattr(&file, "system.posix_acl_access", buffer.as_mut_slice());
    assert!(acl.is_err() && mode(&file) == 0o644);
}

#[test]
fn reports_hard_links_that_keep_the_old_content() {
    let folder = tempfile::tempdir().unwrap();
    let (file, other) = (folder.path().join("app"), folder.path().join("other"));
    fs::write(&file, "old").unwrap();
    fs::hard_link(&file, &other).unwrap();
    let warnings = edit(&file, b"new").unwrap();
    assert!(warnings[0].ends_with("the other names of the file (1) keep the old content"));
    assert_eq!(fs::read(&other).unwrap(), b"old");
}

#[test]
fn writes_to_devices_and_rejects_pipes_sockets_and_directories() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, reason) in [
        (fifo.as_path(), "a named pipe, not a regular file"),
        (&socket, "a socket, not a regular file"),
        (folder.path(), "a directory, not a regular file"),
        (&folder.path().join("new/"), "a directory, not a regular file"),
    ] {
        let error = write_atomic(path, b"x").unwrap_err();
        assert_eq!(error.source.to_string(), reason, "{}", stapsdt::escape::Escaped::new(path));
    }
    assert_eq!(write_atomic(Path::new("/dev/null"), b"x").unwrap(), [""; 0]);
    let null = fs::metadata("/dev/null").unwrap();
    assert_eq!(FileType::from_raw_mode(null.mode()), FileType::CharacterDevice);
    symlink("/dev/null", folder.path().join("null")).unwrap();
    write_atomic(&folder.path().join("null"), b"x").unwrap();
}

#[test]
fn writes_to_a_pipe_that_is_an_open_descriptor() {
    use std::os::fd::AsRawFd;
    let folder = tempfile::tempdir().unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    let path = format!("/dev/fd/{}", writer.as_raw_fd());
    symlink(&path, folder.path().join("link")).unwrap();
    write_atomic(Path::new(&path), b"one ").unwrap();
    write_atomic(&folder.path().join("link"), b"two").unwrap();
    drop(writer);
    let mut content = String::new();
    reader.read_to_string(&mut content).unwrap();
    assert_eq!(content, "one two");
}

#[test]
fn follows_links_of_another_user_only_to_their_own_files() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["root", "home", "home/bin"] {
        fs::create_dir(path(name)).unwrap();
    }
    for name in ["root/file", "home/bin/app", "home/of-root"] {
        fs::write(path(name), "old").unwrap();
    }
    for (target, link) in [
        ("bin", "home/own-directory"),
        ("../root", "home/directory"),
        ("../root/file", "home/file"),
        ("../root/new", "home/new"),
        ("of-root", "home/hard"),
    ] {
        symlink(target, path(link)).unwrap();
        std::os::unix::fs::lchown(path(link), Some(OTHER), Some(OTHER)).unwrap();
    }
    for name in ["home", "home/bin", "home/bin/app"] {
        chown(path(name), Some(OTHER), Some(OTHER)).unwrap();
    }
    edit(&path("home/own-directory/app"), b"new").unwrap();
    for name in ["home/directory/file", "home/directory/new", "home/file", "home/new", "home/hard"]
    {
        let error = edit(&path(name), b"new").unwrap_err().source.to_string();
        assert!(error.contains("a symbolic link of user 65534"), "{name}: {error}");
    }
    let error = crate::create_directories(&path("home/directory/sub")).unwrap_err().to_string();
    assert!(error.contains("a symbolic link of user 65534"), "{error}");
    assert_eq!(fs::read(path("root/file")).unwrap(), b"old");
    assert_eq!(fs::read_dir(path("root")).unwrap().count(), 1);
    // A link of root is followed.
    symlink("../root/file", path("home/of-admin")).unwrap();
    edit(&path("home/of-admin"), b"new").unwrap();
    assert_eq!(fs::read(path("root/file")).unwrap(), b"new");
}

#[test]
fn rejects_what_another_user_has_placed_in_a_sticky_directory() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    set_mode(folder.path(), 0o1777);
    let (file, link) = (folder.path().join("out"), folder.path().join("link"));
    fs::write(&file, "old").unwrap();
    chown(&file, Some(OTHER), Some(OTHER)).unwrap();
    symlink("out", &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(OTHER), Some(OTHER)).unwrap();
    let error = write_atomic(&file, b"new").unwrap_err().source.to_string();
    assert!(error.contains("it belongs to user 65534"), "{error}");
    let error = edit(&link, b"new").unwrap_err().source.to_string();
    assert!(error.contains("a symbolic link of user 65534"), "{error}");
    // The file itself can be edited: it stays theirs.
    edit(&file, b"new").unwrap();
    assert_eq!(fs::metadata(&file).unwrap().uid(), OTHER);
}

#[test]
fn notices_a_file_that_changes_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app");
    fs::write(&file, "old").unwrap();
    let open = File::open(&file).unwrap();
    let new = Replacement::new(&file, Origin::Edited, 0o666).unwrap();
    new.check_unchanged(&open).unwrap();
    fs::write(&file, "other").unwrap();
    assert!(new.check_unchanged(&open).is_err());
}

#[test]
fn creates_directories_and_accepts_existing_ones() {
    let folder = tempfile::tempdir().unwrap();
    symlink("a", folder.path().join("link")).unwrap();
    crate::create_directories(&folder.path().join("a/b")).unwrap();
    crate::create_directories(&folder.path().join("link/./b/../c")).unwrap();
    assert!(folder.path().join("a/c").is_dir());
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(crate::create_directories(&folder.path().join("file/x")).is_err());
}
