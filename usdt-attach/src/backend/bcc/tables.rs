//! The maps of a custom program: created as the compiler describes them, linked into the program's
//! instructions, and read at the end.

use super::answer::{Function, Table};
use super::values::{decode, sum};
use crate::bpf::asm::{Insn, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};
use crate::bpf::{Map, Shape};
use crate::error::{Error, Result};
use crate::kernel::{RawEntry, create_map, read_entries};
use serde_json::Value;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};

/// The contents of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableContents {
    /// The name of the table in the C source.
    pub name: String,
    /// Keys and values, decoded by their C types. Zero values of arrays are left out.
    pub rows: Vec<(Value, Value)>,
    /// True if the table does not consist of keys and values, such as a queue or a ring buffer.
    /// `rows` is empty then.
    pub omitted: bool,
}

/// The names that bpftool gives to the numbers of `enum bpf_map_type`.
const KINDS: [&str; 31] = [
    "unspec",
    "hash",
    "array",
    "prog_array",
    "perf_event_array",
    "percpu_hash",
    "percpu_array",
    "stack_trace",
    "cgroup_array",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "array_of_maps",
    "hash_of_maps",
    "devmap",
    "sockmap",
    "cpumap",
    "xskmap",
    "sockhash",
    "cgroup_storage",
    "reuseport_sockarray",
    "percpu_cgroup_storage",
    "queue",
    "stack",
    "sk_storage",
    "devmap_hash",
    "struct_ops",
    "ringbuf",
    "inode_storage",
    "task_storage",
    "bloom_filter",
];

/// True for the map types that a uprobe program can use and that sizes, entries and flags describe
/// completely. Maps of maps need an inner map, and local storage needs type information, which the
/// compiler does not pass on.
fn is_supported(kind: u32) -> bool {
    matches!(kind, 1..=11 | 22 | 23 | 27)
}

/// The tables of a program and their maps.
pub(super) struct Tables(Vec<(Table, Map)>);

impl Tables {
    /// Creates a map for each table.
    pub(super) fn create(tables: Vec<Table>) -> Result<Tables> {
        let created = tables.into_iter().map(|table| {
            if !is_supported(table.kind) {
                let kind = KINDS.get(table.kind as usize).copied().unwrap_or("unknown");
                return Err(Error::unsupported(format!(
                    "the table `{}` is a map of type {} ({kind}), which is not supported",
                    table.name, table.kind
                )));
            }
            let shape = Shape {
                kind: table.kind,
                key: table.key_size,
                value: table.value_size,
                entries: table.max_entries,
                flags: table.flags,
            };
            let map = create_map(&map_name(&table.name), shape)?;
            Ok((table, map))
        });
        created.collect::<Result<_>>().map(Tables)
    }

    /// Returns the instructions of a function, with the descriptors of these maps in place. Fails if the
    /// function refers to another map.
    pub(super) fn link(&self, function: Function) -> Result<Vec<Insn>> {
        let mut linked = Vec::with_capacity(function.map_refs.len());
        let mut code = function.code;
        for map_ref in &function.map_refs {
            if let (Some(insn), Some((_, map))) =
                (code.get_mut(map_ref.instruction), self.0.get(map_ref.table))
            {
                insn.imm = map.as_fd().as_raw_fd();
                linked.push(map_ref.instruction);
            }
        }
        linked.sort_unstable();
        let is_linked = |index: usize, _| linked.binary_search(&index).is_ok();
        check_maps(&function.name, &code, is_linked)?;
        Ok(code)
    }

    /// Reads the contents of the tables.
    pub(super) fn contents(&self) -> Result<Vec<TableContents>> {
        self.0.iter().map(|(table, map)| contents(table, map)).collect()
    }
}

/// Checks that `is_allowed` accepts every map reference: index of the instruction and descriptor.
///
/// The compiler is not trusted: another number would refer to whatever file has this descriptor in
/// this process.
pub(super) fn check_maps(
    name: &str,
    code: &[Insn],
    is_allowed: impl Fn(usize, i32) -> bool,
) -> Result<()> {
    let mut slots = code.iter().enumerate();
    while let Some((index, insn)) = slots.next() {
        if !insn.is_wide() {
            continue;
        }
        // The second slot of a wide instruction is not an instruction.
        slots.next();
        if matches!(insn.src, PSEUDO_MAP_FD | PSEUDO_MAP_VALUE) && !is_allowed(index, insn.imm) {
            return Err(Error::unsupported(format!(
                "the compiled function `{name}` refers to a map that it does not declare"
            )));
        }
    }
    Ok(())
}

/// A map name that the kernel accepts: at most 15 letters, digits, underscores and dots.
fn map_name(table: &str) -> CString {
    let is_allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
    CString::new(table.bytes().filter(is_allowed).take(15).collect::<Vec<u8>>()).unwrap_or_default()
}

fn contents(table: &Table, map: &Map) -> Result<TableContents> {
    let Some(entries) = read_entries(map)? else {
        return Ok(TableContents { name: table.name.clone(), rows: Vec::new(), omitted: true });
    };
    let rows = entries.into_iter().map(|RawEntry { key, values }| {
        let mut values: Vec<Value> = values.iter().map(|v| decode(&table.value_type, v)).collect();
        let value = if values.len() == 1 { values.remove(0) } else { sum(values) };
        (decode(&table.key_type, &key), value)
    });
    Ok(TableContents { name: table.name.clone(), rows: rows.collect(), omitted: false })
}

#[cfg(test)]
mod tests {
    use super::super::answer::MapRef;
    use super::*;
    use std::fs::File;

    fn table(name: &str, kind: u32) -> Table {
        Table {
            name: name.to_owned(),
            kind,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
            flags: 0,
            key_type: Value::Null,
            value_type: Value::Null,
        }
    }

    fn slot(code: u8, src: u8, imm: i32) -> Insn {
        Insn { code, dst: 1, src, off: 0, imm }
    }

    /// Tables whose maps are arbitrary descriptors.
    fn tables(count: usize) -> Tables {
        let map =
            || Map::with_shape(File::open("/dev/null").unwrap().into(), Shape::default()).unwrap();
        Tables((0..count).map(|n| (table(&format!("t{n}"), 1), map())).collect())
    }

    #[test]
    fn links_instructions_to_the_maps_of_their_tables() {
        let tables = tables(2);
        let fd = |n: usize| tables.0[n].1.as_fd().as_raw_fd();
        let code = vec![
            slot(0x18, 1, 0),
            slot(0, 0, 0),
            slot(0x18, 0, 5),
            slot(0x18, 1, 5), // the second slot of a wide instruction, which looks like a first one
            slot(0x18, 1, 0),
            slot(0, 0, 0),
            slot(0x95, 0, 0),
        ];
        let function = |map_refs: &[(usize, usize)]| Function {
            name: "f".to_owned(),
            code: code.clone(),
            map_refs: map_refs.iter().copied().map(MapRef::from).collect(),
        };
        let linked = tables.link(function(&[(4, 0), (0, 1)])).unwrap();
        let mut expected = code.clone();
        (expected[0].imm, expected[4].imm) = (fd(1), fd(0));
        assert_eq!(linked, expected);
        let error = tables.link(function(&[(0, 1)])).unwrap_err().to_string();
        assert_eq!(error, "the compiled function `f` refers to a map that it does not declare");
    }

    #[test]
    fn rejects_maps_of_other_descriptors() {
        let code = [slot(0x18, 1, 3), slot(0, 0, 0), slot(0x18, 2, 4), slot(0, 0, 0)];
        assert!(check_maps("f", &code, |_, fd| fd == 3 || fd == 4).is_ok());
        assert!(check_maps("f", &code, |_, fd| fd == 3).is_err());
        assert!(
            check_maps("f", &code[..3], |_, fd| fd == 3 || fd == 4).is_ok(),
            "a wide instruction without its second slot is left to the verifier"
        );
    }

    #[test]
    fn names_unsupported_map_types() {
        let error = |kind| Tables::create(vec![table("inner", kind)]).err().unwrap().to_string();
        assert_eq!(
            error(13),
            "the table `inner` is a map of type 13 (hash_of_maps), which is not supported"
        );
        assert_eq!(
            error(u32::MAX),
            "the table `inner` is a map of type 4294967295 (unknown), which is not supported"
        );
    }

    #[test]
    fn shortens_names_to_what_the_kernel_accepts() {
        assert_eq!(map_name("a_table_of_twenty_characters").to_bytes(), b"a_table_of_twen");
        assert_eq!(map_name("\u{e9}\0 x").to_bytes(), b"x");
    }
}
