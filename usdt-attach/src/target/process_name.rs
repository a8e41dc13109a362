//! Processes by name.

use crate::discover;
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The number of similar names in a message.
const MAX_SUGGESTIONS: usize = 5;
/// The length in bytes to which the kernel truncates the name of a thread.
const MAX_COMM: usize = 15;

/// The names by which a process is found.
#[derive(Debug)]
struct Names {
    /// The name of the main thread, which most programs leave as the file name of the executable,
    /// truncated to 15 bytes.
    comm: Vec<u8>,
    /// The file name of the executable; `None` for a kernel thread, and if it cannot be read.
    executable: Option<Vec<u8>>,
}

impl Names {
    /// Reads the names; `None` if the process has ended.
    fn read(pid: u32) -> Option<Names> {
        let mut comm = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
        if comm.last() == Some(&b'\n') {
            comm.pop();
        }
        Some(Names { comm, executable: executable_name(pid).map(OsString::into_vec) })
    }

    fn is(&self, name: &[u8]) -> bool {
        self.comm == name || self.executable.as_deref() == Some(name)
    }

    /// The name to suggest if a similar one is wanted: the executable's, unless only the thread's
    /// name is similar.
    fn similar(&self, wanted: &str) -> Option<String> {
        let names = [self.executable.as_deref(), Some(self.comm.as_slice())];
        let names = names.into_iter().flatten().map(String::from_utf8_lossy);
        names.map(std::borrow::Cow::into_owned).find(|name| is_similar(name, wanted))
    }
}

/// Returns the file name of the executable of a process, also if the file has been deleted; `None`
/// if the process has ended or may not be read, and for a kernel thread.
pub fn executable_name(pid: u32) -> Option<OsString> {
    let link = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = link.as_os_str().as_bytes();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    let name = Path::new(std::ffi::OsStr::from_bytes(path)).file_name()?;
    Some(name.to_owned())
}

/// Returns the ids of the processes with this name, in ascending order: the file name of their
/// executable, or the name of their main thread. This process is left out.
///
/// # Errors
///
/// `NotFound` if there is none; the message has the names that are similar.
pub fn pids_of(name: &str) -> Result<Vec<u32>> {
    let own = std::process::id();
    let mut found = Vec::new();
    let mut similar: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for pid in discover::pids()?.into_iter().filter(|pid| *pid != own) {
        let Some(names) = Names::read(pid) else { continue };
        if names.is(name.as_bytes()) && discover::is_process_alive(pid) {
            found.push(pid);
        } else if let Some(other) = names.similar(name) {
            similar.entry(other).or_default().push(pid);
        }
    }
    if found.is_empty() { Err(no_such_name(name, &similar)) } else { Ok(found) }
}

fn no_such_name(name: &str, similar: &BTreeMap<String, Vec<u32>>) -> Error {
    let mut message = format!("no process is named `{name}`");
    if !similar.is_empty() {
        let listed: Vec<String> = similar
            .iter()
            .take(MAX_SUGGESTIONS)
            .map(|(name, pids)| match pids.as_slice() {
                [pid] => format!("`{name}` (process {pid})"),
                pids => format!("`{name}` ({} processes)", pids.len()),
            })
            .collect();
        let more = match similar.len().saturating_sub(MAX_SUGGESTIONS) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        message = format!("{message}; similar names are {}{more}", listed.join(", "));
    }
    Error::new(ErrorKind::NotFound, message)
}

/// Returns true if the user may have meant `name`: one of the names contains the other, or they
/// differ in a few letters. The case of letters does not matter.
fn is_similar(name: &str, wanted: &str) -> bool {
    /// A shorter string is part of too many names.
    const MIN_PART: usize = 3;
    let (name, wanted) = (name.to_lowercase(), wanted.to_lowercase());
    if name == wanted {
        return true;
    }
    let contains = |a: &str, b: &str| b.len() >= MIN_PART && a.contains(b);
    if contains(&name, &wanted) || contains(&wanted, &name) {
        return true;
    }
    // The kernel's name of the thread is truncated.
    if wanted.len() > MAX_COMM && name.len() == MAX_COMM && wanted.starts_with(&name) {
        return true;
    }
    let most = if wanted.chars().count() < 5 { 1 } else { 2 };
    name.len().abs_diff(wanted.len()) <= 2 * most && distance(&name, &wanted) <= most
}

/// Returns the number of characters to insert, delete or replace to get one name from the other
/// (Levenshtein distance).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (above, to) in row.windows(2).zip(&b) {
            let [diagonal, above] = *above else { continue };
            left = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn finds_processes_by_executable_and_by_thread_name() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("a-program-with-a-long-name");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let mut child = Command::new(&program).arg("60").spawn().unwrap();
        // The name changes when the child executes the program.
        while executable_name(child.id()).is_none_or(|name| name != "a-program-with-a-long-name") {
            std::thread::yield_now();
        }
        let found = [pids_of("a-program-with-a-long-name"), pids_of("a-program-with-")];
        let missing = pids_of("a-program-with-a-long-nane").unwrap_err();
        child.kill().unwrap();
        child.wait().unwrap();
        for pids in found {
            assert_eq!(pids.unwrap(), [child.id()]);
        }
        let expected = format!(
            "no process is named `a-program-with-a-long-nane`; similar names are `a-program-with-a-long-name` (process {})",
            child.id()
        );
        assert_eq!(missing.to_string(), expected);
    }

    #[test]
    fn suggests_what_a_user_may_have_meant() {
        for (name, wanted) in
            [("postgres", "postgresql"), ("nginx", "ngnix"), ("MyApp", "myapp"), ("app", "apps")]
        {
            assert!(is_similar(name, wanted), "{name} {wanted}");
        }
        for (name, wanted) in [("systemd", "app"), ("bash", "cat"), ("a", "app")] {
            assert!(!is_similar(name, wanted), "{name} {wanted}");
        }
    }

    proptest! {
        #[test]
        fn distances_are_symmetric_and_at_most_the_longer_name(a in ".{0,8}", b in ".{0,8}") {
            let longest = a.chars().count().max(b.chars().count());
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert!(distance(&a, &b) <= longest);
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
        }
    }
}
