//! The code of a process in memory, compared with its file: what tracers leave there.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The executable mapping of a file in a process.
#[derive(Debug)]
pub struct Code {
    pid: u32,
    file: PathBuf,
    start: u64,
    bytes: Vec<u8>,
}

impl Code {
    /// Waits until a process has mapped the code of a file.
    ///
    /// # Errors
    ///
    /// Fails if it does not within five seconds, or if the file cannot be read.
    pub fn of(pid: u32, file: &Path) -> Result<Code, String> {
        // The program is mapped some time after it is known as what the process executes.
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            match find(pid, file) {
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                code => return code,
            }
        }
    }

    /// Returns the first address at which memory differs from the file, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if the memory cannot be read: the process has ended.
    pub fn first_difference(&self) -> Result<Option<u64>, String> {
        let mut memory = vec![0; self.bytes.len()];
        let file = File::open(format!("/proc/{}/mem", self.pid)).map_err(|e| e.to_string())?;
        file.read_exact_at(&mut memory, self.start).map_err(|e| e.to_string())?;
        let differs = memory.iter().zip(&self.bytes).position(|(a, b)| a != b);
        Ok(differs.map(|at| self.start + at as u64))
    }

    /// Waits until memory is as the file is: the kernel may need a moment after a tracer has ended.
    ///
    /// # Errors
    ///
    /// Fails if it still differs after five seconds.
    pub fn wait_until_restored(&self) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs(5);
        while let Some(at) = self.first_difference()? {
            if Instant::now() > end {
                return Err(format!("code at {at:#x} of {} is not restored", self.file.display()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn find(pid: u32, file: &Path) -> Result<Code, String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).map_err(|e| e.to_string())?;
    let name = file.display().to_string();
    let is_code = |line: &&str| line.ends_with(&name) && line.contains(" r-xp ");
    let line = maps.lines().find(is_code).ok_or("the program maps no code")?;
    let mut fields = line.split_whitespace();
    let hexadecimal = |text: Option<&str>| {
        text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or("an unreadable mapping")
    };
    let (start, end) = fields.next().and_then(|range| range.split_once('-')).unwrap_or_default();
    let (start, end) = (hexadecimal(Some(start))?, hexadecimal(Some(end))?);
    let offset = hexadecimal(fields.nth(1))?;
    let mut bytes = vec![0; (end - start) as usize];
    let source = File::open(file).map_err(|e| e.to_string())?;
    // The rest of the last page is not in the file.
    let len = source.read_at(&mut bytes, offset).map_err(|e| e.to_string())?;
    bytes.truncate(len);
    Ok(Code { pid, file: file.to_owned(), start, bytes })
}
