//! Formats of SystemTap-style static probes (USDT), independent of language and kernel.
//!
//! * [`note`]: stapsdt notes, in both byte orders and both ELF classes.
//! * [`argspec`]: argument specifications of x86-64 and aarch64.
//! * [`blob`]: probe blobs, the form of a probe that Go's toolchain can emit.
//! * [`schema`]: names, types and documentation of a probe's arguments, as JSON.
//! * [`site`]: the machine code of generated probe sites.
//! * [`elf`]: the parts of ELF that the other modules need.
//! * [`escape`]: strings of a target in messages and on terminals.
//! * [`source`]: the bytes of a file, in memory or read on demand.
//!
//! All input is considered hostile: parsing never panics, allocates a bounded amount of memory, and
//! returns errors that say where the input is wrong.
//!
//! # Examples
//!
//! Print the probes of an executable:
//!
//! ```no_run
//! use stapsdt::elf::View;
//! use stapsdt::note::{NoteIter, SECTION};
//!
//! let data = std::fs::read("/usr/bin/app")?;
//! let view = View::parse(&data)?;
//! let section = view.section(SECTION).and_then(|s| view.section_data(s));
//! let mut notes = NoteIter::new(section.unwrap_or_default(), view.format());
//! while let Some(raw) = notes.next_note()? {
//!     let note = raw.decode(view.format())?;
//!     println!("{}:{} at {:#x}: {}", note.provider, note.name, note.pc, note.args);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod argspec;
pub mod blob;
pub mod elf;
pub mod escape;
pub mod note;
pub mod schema;
pub mod site;
pub mod source;

mod bytes;
mod machine;
