//! `usdt-attach/src/bpf/uapi.rs`: the structures and numbers of bpf(2) and perf_event_open(2),
//! generated from the kernel's headers, so that building the tools needs neither the headers nor a
//! C compiler.

mod header;

use crate::command::{Explain, Failure, Outcome, execute, root};
use crate::kernels::debian::{Release, cache};
use header::{Header, Layout};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// The Debian release whose `linux-libc-dev` has the headers, and their kernel version.
const RELEASE: &str = "trixie";
const LINUX: &str = "6.12";

/// The generated file.
const FILE: &str = "usdt-attach/src/bpf/uapi.rs";

/// A Rust structure and its place in the headers.
struct Struct {
    name: &'static str,
    about: &'static str,
    place: Place,
    /// Members to use of each union; the first one where no choice is named.
    choices: &'static [&'static str],
}

/// Identifies a structure by its tag, or as a member of `union bpf_attr` or of another union. Anonymous members are
/// identified by their comment.
enum Place {
    Tag(&'static str),
    UnionMember(&'static str, &'static str),
    Member(&'static str),
    Comment(&'static str),
}

const STRUCTS: &[Struct] = &[
    Struct {
        name: "MapCreate",
        about: "`BPF_MAP_CREATE`",
        place: Place::Comment("anonymous struct used by BPF_MAP_CREATE command"),
        choices: &[],
    },
    Struct {
        name: "MapElem",
        about: "`BPF_MAP_LOOKUP_ELEM`, `BPF_MAP_UPDATE_ELEM` and `BPF_MAP_GET_NEXT_KEY`, whose \
                next key is the `value`",
        place: Place::Comment("anonymous struct used by BPF_MAP_*_ELEM"),
        choices: &[],
    },
    Struct {
        name: "ProgLoad",
        about: "`BPF_PROG_LOAD`",
        place: Place::Comment("anonymous struct used by BPF_PROG_LOAD command"),
        choices: &[],
    },
    Struct {
        name: "ProgTestRun",
        about: "`BPF_PROG_TEST_RUN`",
        place: Place::Comment("anonymous struct used by BPF_PROG_TEST_RUN command"),
        choices: &[],
    },
    Struct {
        name: "ObjGetInfo",
        about: "`BPF_OBJ_GET_INFO_BY_FD`",
        place: Place::Member("info"),
        choices: &[],
    },
    Struct {
        name: "RawTracepointOpen",
        about: "`BPF_RAW_TRACEPOINT_OPEN`",
        place: Place::Member("raw_tracepoint"),
        choices: &[],
    },
    Struct {
        name: "LinkCreatePerfEvent",
        about: "`BPF_LINK_CREATE` for `BPF_PERF_EVENT`",
        place: Place::Member("link_create"),
        choices: &["perf_event"],
    },
    Struct {
        name: "LinkCreateUprobeMulti",
        about: "`BPF_LINK_CREATE` for `BPF_TRACE_UPROBE_MULTI`",
        place: Place::Member("link_create"),
        choices: &["uprobe_multi"],
    },
    Struct {
        name: "LinkCreateIter",
        about: "`BPF_LINK_CREATE` for `BPF_TRACE_ITER`",
        place: Place::Member("link_create"),
        choices: &["iter_info"],
    },
    Struct {
        name: "IterTasks",
        about: "The tasks that an iterator of `BPF_LINK_CREATE` visits",
        place: Place::UnionMember("bpf_iter_link_info", "task"),
        choices: &[],
    },
    Struct {
        name: "IterCreate",
        about: "`BPF_ITER_CREATE`",
        place: Place::Member("iter_create"),
        choices: &[],
    },
    Struct {
        name: "EnableStats",
        about: "`BPF_ENABLE_STATS`",
        place: Place::Member("enable_stats"),
        choices: &[],
    },
    Struct {
        name: "MapInfo",
        about: "What `BPF_OBJ_GET_INFO_BY_FD` says about a map",
        place: Place::Tag("bpf_map_info"),
        choices: &[],
    },
    Struct {
        name: "ProgInfo",
        about: "What `BPF_OBJ_GET_INFO_BY_FD` says about a program",
        place: Place::Tag("bpf_prog_info"),
        choices: &[],
    },
    Struct {
        name: "PerfEventAttr",
        about: "`perf_event_open` for a uprobe",
        place: Place::Tag("perf_event_attr"),
        choices: &["uprobe_path", "probe_offset"],
    },
];

/// Constants to generate, by their names in the headers.
const CONSTANTS: &[&str] = &[
    "BPF_MAP_CREATE",
    "BPF_MAP_LOOKUP_ELEM",
    "BPF_MAP_UPDATE_ELEM",
    "BPF_MAP_DELETE_ELEM",
    "BPF_MAP_GET_NEXT_KEY",
    "BPF_PROG_LOAD",
    "BPF_PROG_TEST_RUN",
    "BPF_OBJ_GET_INFO_BY_FD",
    "BPF_RAW_TRACEPOINT_OPEN",
    "BPF_LINK_CREATE",
    "BPF_ENABLE_STATS",
    "BPF_ITER_CREATE",
    "BPF_MAP_TYPE_HASH",
    "BPF_MAP_TYPE_ARRAY",
    "BPF_MAP_TYPE_PERCPU_HASH",
    "BPF_MAP_TYPE_PERCPU_ARRAY",
    "BPF_MAP_TYPE_CGROUP_ARRAY",
    "BPF_MAP_TYPE_LRU_HASH",
    "BPF_MAP_TYPE_LRU_PERCPU_HASH",
    "BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE",
    "BPF_MAP_TYPE_RINGBUF",
    "BPF_F_NO_PREALLOC",
    "BPF_F_MMAPABLE",
    "BPF_PROG_TYPE_KPROBE",
    "BPF_PROG_TYPE_RAW_TRACEPOINT",
    "BPF_PROG_TYPE_TRACING",
    "BPF_TRACE_ITER",
    "BPF_PERF_EVENT",
    "BPF_TRACE_UPROBE_MULTI",
    "BPF_STATS_RUN_TIME",
    "BPF_RINGBUF_BUSY_BIT",
    "BPF_RINGBUF_DISCARD_BIT",
    "BPF_RINGBUF_HDR_SZ",
    "PERF_FLAG_FD_CLOEXEC",
];

/// Regenerates the file. The headers are downloaded from Debian once, or read from a folder that
/// contains `linux/bpf.h`.
pub(crate) fn run(args: &[String]) -> Outcome {
    let folder = match args {
        [] => fetch()?,
        [folder] => PathBuf::from(folder),
        _ => return Err(Failure("usage: uapi [FOLDER]".to_owned())),
    };
    let read = |name: &str| {
        let path = folder.join("linux").join(name);
        std::fs::read_to_string(&path).explain(&format!("cannot read {}", path.display()))
    };
    let header = Header::parse(&(read("bpf.h")? + &read("perf_event.h")?));
    let file = root().join(FILE);
    std::fs::write(&file, generate(&header)?).explain(&format!("cannot write {FILE}"))?;
    execute(
        Command::new("rustfmt").args(["--edition", "2024", "--config-path"]).arg(root()).arg(&file),
    )
}

/// Returns the folder of Debian's headers, and downloads it first if necessary.
fn fetch() -> Outcome<PathBuf> {
    let folder = cache()?.join(format!("headers-{RELEASE}"));
    Release::new(RELEASE, "amd64")?.unpack(&["linux-libc-dev"], &folder)?;
    // Newer packages share the headers between architectures.
    let places = ["usr/include", "usr/lib/linux/uapi/x86"].map(|place| folder.join(place));
    let found = places.into_iter().find(|place| place.join("linux/bpf.h").exists());
    found.ok_or_else(|| Failure(format!("{} contains no linux/bpf.h", folder.display())))
}

fn generate(header: &Header) -> Outcome<String> {
    let mut out = format!(
        "//! Structures and numbers of bpf(2) and perf_event_open(2).\n//!\n\
         //! Generated by `cargo xtask uapi` from `include/uapi/linux/{{bpf,perf_event}}.h` of Linux\n\
         //! {LINUX}; do not edit.\n//!\n\
         //! An older kernel accepts a structure that is longer than its own if the rest is zero. A newer\n\
         //! kernel treats missing fields as zero.\n\
         #![allow(dead_code)] // fields that only the kernel reads or writes\n\n\
         use std::mem::offset_of;\n\n"
    );
    for name in CONSTANTS {
        let value = header
            .constant(name)
            .ok_or_else(|| Failure(format!("the headers do not define {name}")))?;
        let _ = writeln!(out, "pub(crate) const {name}: u32 = {value};");
    }
    let attr = header.tagged("union", "bpf_attr")?;
    for structure in STRUCTS {
        let (members, origin) = match structure.place {
            Place::Tag(tag) => (header.tagged("struct", tag)?, tag),
            Place::UnionMember(tag, name) => {
                (header.member(&header.tagged("union", tag)?, name)?, name)
            }
            Place::Member(name) => (header.member(&attr, name)?, name),
            Place::Comment(comment) => (header.commented(comment)?, comment),
        };
        let layout = Layout::new(&members, structure.choices)
            .map_err(|problem| Failure(format!("{} ({origin}): {problem}", structure.name)))?;
        render(&mut out, structure, &layout);
    }
    Ok(out)
}

/// Renders a structure without implicit padding, with assertions that its layout equals C's.
fn render(out: &mut String, structure: &Struct, layout: &Layout) {
    let Struct { name, about, .. } = structure;
    let _ = write!(
        out,
        "\n/// {about}.\n#[repr(C)]\n#[derive(Clone, Copy, Debug, Default)]\npub(crate) struct {name} {{\n"
    );
    for field in &layout.fields {
        let _ = writeln!(out, "    pub(crate) {}: {},", field.name, field.ty);
    }
    let _ = write!(
        out,
        "}}\n\nconst _: () = {{\n    assert!(size_of::<{name}>() == {});\n",
        layout.size
    );
    for field in &layout.fields {
        let _ =
            writeln!(out, "    assert!(offset_of!({name}, {}) == {});", field.name, field.offset);
    }
    out.push_str("};\n");
}

#[cfg(test)]
mod tests;
