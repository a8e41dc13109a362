//! The value of `-p`: processes by id or by name.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::str::FromStr;
use usdt_attach::error::{Error, Escaped, Result};
use usdt_attach::target::process_name::pids_of;

/// A process id, or the name of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProcessArg {
    Pid(u32),
    /// The file name of an executable, or the name of a main thread.
    Name(String),
}

/// As the user can write it again.
impl fmt::Display for ProcessArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessArg::Pid(pid) => pid.fmt(f),
            ProcessArg::Name(name) => Escaped::new(name.as_str()).fmt(f),
        }
    }
}

impl FromStr for ProcessArg {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<ProcessArg, String> {
        if text.is_empty() {
            return Err("there is no such process: the value is empty".to_owned());
        }
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(ProcessArg::Name(text.to_owned()));
        }
        text.parse()
            .map(ProcessArg::Pid)
            .map_err(|_| "the number is too large for a PID".to_owned())
    }
}

/// Returns the ids of processes, each once.
///
/// # Errors
///
/// `NotFound` if no process has one of the names.
pub(crate) fn pids(processes: &[ProcessArg]) -> Result<Vec<u32>> {
    let mut out = Vec::new();
    for process in processes {
        match process {
            ProcessArg::Pid(pid) => out.push(*pid),
            ProcessArg::Name(name) => out.extend(pids_of(name)?),
        }
    }
    let mut seen = std::collections::HashSet::new();
    out.retain(|pid| seen.insert(*pid));
    Ok(out)
}

/// Returns the id of the process for a command that takes one.
///
/// # Errors
///
/// `NotFound` if no process has the name, and `InvalidInput` if several have.
pub(crate) fn single_pid(process: &ProcessArg) -> Result<u32> {
    match (pids(std::slice::from_ref(process))?.as_slice(), process) {
        ([pid], _) => Ok(*pid),
        (pids, ProcessArg::Name(name)) => {
            let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
            Err(Error::usage(format!(
                "{} processes are named `{name}`: {}; pass one of these PIDs",
                pids.len(),
                list.join(", ")
            )))
        }
        (_, ProcessArg::Pid(pid)) => Err(Error::no_process(*pid)),
    }
}

/// Joins the numbers that follow the value of `-p`, so that `-p $(pidof app)` takes all of them:
/// the shell passes `-p 12 34`. No other argument at that place can be a number.
pub(crate) fn join_pids(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut out: Vec<OsString> = Vec::new();
    let mut is_over = false;
    // The index of the argument that ends in the numbers of `-p`.
    let mut open: Option<usize> = None;
    let mut value_is_next = false;
    for arg in args {
        // What follows `--` belongs to a command.
        is_over |= arg == "--";
        let numbers = arg.to_str().and_then(numbers).filter(|_| !is_over);
        let last = open.take();
        match (numbers, last.and_then(|at| out.get_mut(at)), value_is_next) {
            (Some(numbers), Some(pids), _) => {
                pids.push(",");
                pids.push(numbers);
                open = last;
            }
            (Some(numbers), None, true) => {
                open = Some(out.len());
                out.push(numbers.into());
            }
            _ => {
                if let Some((option, value)) = attached_value(&arg).filter(|_| !is_over) {
                    open = Some(out.len());
                    out.push(format!("{option}{value}").into());
                } else {
                    out.push(arg.clone());
                }
            }
        }
        value_is_next = !is_over && (arg == "-p" || arg == "--pid");
    }
    out
}

/// The option and the numbers of `--pid=12`, `-p=12` and `-p12`.
fn attached_value(arg: &OsStr) -> Option<(&'static str, String)> {
    let arg = arg.to_str()?;
    let options = ["--pid=", "-p=", "-p"];
    options.into_iter().find_map(|option| Some((option, numbers(arg.strip_prefix(option)?)?)))
}

/// Joins numbers that are separated by commas or spaces with commas; `None` if there is anything
/// else.
fn numbers(text: &str) -> Option<String> {
    let words: Vec<&str> = text
        .split(|c: char| c == ',' || c.is_ascii_whitespace())
        .filter(|w| !w.is_empty())
        .collect();
    let is_number = |word: &&str| word.bytes().all(|b| b.is_ascii_digit());
    (!words.is_empty() && words.iter().all(is_number)).then(|| words.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(args: &[&str]) -> Vec<String> {
        let args = args.iter().map(OsString::from);
        join_pids(args).into_iter().map(|arg| arg.into_string().unwrap()).collect()
    }

    #[test]
    fn takes_all_numbers_after_the_option() {
        for (args, expected) in [
            (&["trace", "-p", "12", "34", "a:*"][..], &["trace", "-p", "12,34", "a:*"][..]),
            (&["trace", "a:*", "-p", "12", "34", "56"], &["trace", "a:*", "-p", "12,34,56"]),
            (&["trace", "-p", "12 34\n", "a:*"], &["trace", "-p", "12,34", "a:*"]),
            (&["list", "--pid=12", "34", "a:*"], &["list", "--pid=12,34", "a:*"]),
            (&["list", "-p12", "34"], &["list", "-p12,34"]),
            (&["trace", "-p", "app", "34"], &["trace", "-p", "app", "34"]),
            (&["trace", "34", "-p", "12"], &["trace", "34", "-p", "12"]),
            (&["trace", "--events", "5", "6"], &["trace", "--events", "5", "6"]),
            (
                &["trace", "--", "kill", "-p", "12", "34"],
                &["trace", "--", "kill", "-p", "12", "34"],
            ),
            (&["trace", "-p"], &["trace", "-p"]),
            (&["trace", "-p", "12", "--", "34"], &["trace", "-p", "12", "--", "34"]),
        ] {
            assert_eq!(joined(args), expected, "{args:?}");
        }
    }

    #[test]
    fn distinguishes_ids_from_names() {
        assert_eq!("12".parse(), Ok(ProcessArg::Pid(12)));
        assert_eq!("7zip".parse(), Ok(ProcessArg::Name("7zip".to_owned())));
        assert!("".parse::<ProcessArg>().is_err());
        assert!("99999999999".parse::<ProcessArg>().is_err());
    }

    proptest! {
        #[test]
        fn changes_nothing_without_the_option(args in proptest::collection::vec("[a-o0-9:*=, ]{0,6}", 0..8)) {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            prop_assert_eq!(joined(&args), args);
        }

        #[test]
        fn keeps_all_numbers_in_order(pids in proptest::collection::vec(any::<u32>(), 1..6)) {
            let pids_as_strings: Vec<String> = pids.iter().map(ToString::to_string).collect();
            let mut args = vec!["-p"];
            args.extend(pids_as_strings.iter().map(String::as_str));
            prop_assert_eq!(joined(&args), ["-p".to_owned(), pids_as_strings.join(",")]);
        }
    }
}
