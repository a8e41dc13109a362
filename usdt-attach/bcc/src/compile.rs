//! Compiles C with libbcc.
#![allow(unsafe_code)] // libbcc's C interface; what its pointers refer to belongs to the module

use crate::protocol::{Answer, Failure, Function, MapRef, Table};
use bcc_sys::bccapi as api;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt::Write as _;
use std::ptr::NonNull;

/// The opcode of the wide instruction, of two slots, that loads a 64-bit immediate.
const LD_IMM64: u8 = 0x18;
/// The source register of a wide instruction whose immediate is the file descriptor of a map.
const PSEUDO_MAP_FD: u8 = 1;

/// Compiles a source that declares no tables, and returns the functions with these names.
pub(crate) fn compile_functions(source: &str, names: &[String]) -> Result<Answer, Failure> {
    let module = bcc::BPF::new(source).map_err(|_| Failure::Compile)?;
    let function = |name: &String| {
        let code = CString::new(name.as_str()).ok().and_then(|name| module.dump_func(name).ok());
        let code = code.ok_or_else(|| Failure::Function { name: name.clone() })?;
        Ok(Function { name: name.clone(), code: hex(&code), maps: Vec::new() })
    };
    let functions = names.iter().map(function).collect::<Result<_, Failure>>()?;
    Ok(Answer { functions, ..Answer::default() })
}

/// Compiles a source, and returns all of its functions and tables.
pub(crate) fn compile_all(source: &str) -> Result<Answer, Failure> {
    let module = Module::compile(source)?;
    let (tables, descriptors): (Vec<Table>, Vec<i32>) = module.tables().into_iter().unzip();
    let table_indices = descriptors.into_iter().zip(0..).collect();
    let functions = module.functions().into_iter().map(|(name, mut code)| {
        let maps = take_map_refs(&mut code, &table_indices);
        Function { name, code: hex(&code), maps }
    });
    Ok(Answer { functions: functions.collect(), tables, ..Answer::default() })
}

/// Replaces the descriptors of tables in the instructions by 0, and returns where they were.
/// `table_indices` are the indices of the tables by their descriptors.
fn take_map_refs(code: &mut [u8], table_indices: &HashMap<i32, usize>) -> Vec<MapRef> {
    let mut map_refs = Vec::new();
    let mut is_second_slot = false;
    for (instruction, slot) in code.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let [opcode, registers, _, _, immediate @ ..] = slot;
        if std::mem::take(&mut is_second_slot) || *opcode != LD_IMM64 {
            continue;
        }
        is_second_slot = true;
        if *registers >> 4 == PSEUDO_MAP_FD
            && let Some(table) = table_indices.get(&i32::from_ne_bytes(*immediate))
        {
            *immediate = [0; 4];
            map_refs.push(MapRef { instruction, table: *table });
        }
    }
    map_refs
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A compiled module of libbcc. The safe bindings cannot list its functions and tables.
struct Module(NonNull<c_void>);

impl Module {
    /// Compiles a source. The compiler prints its messages to standard error.
    fn compile(source: &str) -> Result<Module, Failure> {
        let source = CString::new(source)
            .map_err(|_| Failure::Source { problem: "contains a NUL".into() })?;
        // SAFETY: the source outlives the call. There are no compiler flags and no device.
        let module = unsafe {
            api::bpf_module_create_c_from_string(
                source.as_ptr(),
                0,
                std::ptr::null_mut(),
                0,
                true,
                std::ptr::null(),
            )
        };
        NonNull::new(module).map(Module).ok_or(Failure::Compile)
    }

    /// The names and instructions of the functions.
    fn functions(&self) -> Vec<(String, Vec<u8>)> {
        let module = self.0.as_ptr();
        // SAFETY: the module is alive and has functions with these ids. Names and instructions are
        // copied.
        unsafe {
            (0..api::bpf_num_functions(module))
                .filter_map(|id| {
                    let start = api::bpf_function_start_id(module, id).cast::<u8>().cast_const();
                    let size = api::bpf_function_size_id(module, id);
                    let code = (!start.is_null())
                        .then(|| std::slice::from_raw_parts(start, size).to_vec());
                    Some((string(api::bpf_function_name(module, id)), code?))
                })
                .collect()
        }
    }

    /// The tables, and the file descriptors of their maps. The module owns the descriptors.
    fn tables(&self) -> Vec<(Table, i32)> {
        let module = self.0.as_ptr();
        let parse_type = |json: String| serde_json::from_str(&json).unwrap_or_default();
        // SAFETY: the module is alive and has tables with these ids. Strings are copied.
        unsafe {
            (0..api::bpf_num_tables(module))
                .map(|id| {
                    let table = Table {
                        name: string(api::bpf_table_name(module, id)),
                        kind: api::bpf_table_type_id(module, id) as u32,
                        key_size: api::bpf_table_key_size_id(module, id),
                        value_size: api::bpf_table_leaf_size_id(module, id),
                        max_entries: api::bpf_table_max_entries_id(module, id),
                        flags: api::bpf_table_flags_id(module, id) as u32,
                        key_type: parse_type(string(api::bpf_table_key_desc_id(module, id))),
                        value_type: parse_type(string(api::bpf_table_leaf_desc_id(module, id))),
                    };
                    (table, api::bpf_table_fd_id(module, id))
                })
                .collect()
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: created by `compile`, destroyed once.
        unsafe { api::bpf_module_destroy(self.0.as_ptr()) };
    }
}

/// Copies a C string; a null pointer becomes an empty string.
///
/// # Safety
///
/// `raw` must be null or point to a NUL-terminated string.
unsafe fn string(raw: *const c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: the caller guarantees it.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_descriptors_by_map_refs() {
        let load =
            |registers: u8, value: u8| [[0x18, registers, 0, 0, value, 0, 0, 0], [0; 8]].concat();
        // The second slot of the last instruction looks like a first one.
        let plain = [[0x18, 0x01, 0, 0, 7, 0, 0, 0], [0x18, 0x11, 0, 0, 7, 0, 0, 0]].concat();
        let mut code = [load(0x11, 7), load(0x12, 9), load(0x11, 8), plain.clone()].concat();
        let map_refs = take_map_refs(&mut code, &HashMap::from([(7, 1), (9, 0)]));
        let map_ref = |instruction, table| MapRef { instruction, table };
        assert_eq!(map_refs, [map_ref(0, 1), map_ref(2, 0)]);
        assert_eq!(code, [load(0x11, 0), load(0x12, 0), load(0x11, 8), plain].concat());
    }
}
