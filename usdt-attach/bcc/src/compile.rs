//! libbcc: source to instructions and tables.
#![allow(unsafe_code)] // libbcc's C interface; every pointer it returns belongs to the module and lives as long

use crate::protocol::{Answer, Failure, Function, Table};
use bcc_sys::bccapi as api;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt::Write as _;
use std::ptr::NonNull;

/// Operation of an instruction of two slots that loads 64 bits.
const LD_IMM64: u8 = 0x18;
/// Source register of one that loads a map by its file descriptor.
const PSEUDO_MAP_FD: u8 = 1;

/// Compiles a program that declares no tables, and returns the functions named.
pub(crate) fn functions(source: &str, names: &[String]) -> Result<Answer, Failure> {
    let module = bcc::BPF::new(source).map_err(|_| Failure::Compile)?;
    let function = |name: &String| {
        let code = CString::new(name.as_str()).ok().and_then(|name| module.dump_func(name).ok());
        let code = code.ok_or_else(|| Failure::Function { name: name.clone() })?;
        Ok(Function { name: name.clone(), code: hex(&code), maps: Vec::new() })
    };
    let functions = names.iter().map(function).collect::<Result<_, Failure>>()?;
    Ok(Answer { functions, ..Answer::default() })
}

/// Compiles a program and returns all it has.
pub(crate) fn everything(source: &str) -> Result<Answer, Failure> {
    let module = Module::compile(source)?;
    let (tables, descriptors): (Vec<Table>, Vec<i32>) = module.tables().into_iter().unzip();
    let tables_by_descriptor = descriptors.into_iter().zip(0..).collect();
    let functions = module.functions().into_iter().map(|(name, mut code)| {
        let maps = take_descriptors(&mut code, &tables_by_descriptor);
        Function { name, code: hex(&code), maps }
    });
    Ok(Answer { functions: functions.collect(), tables, ..Answer::default() })
}

/// Replaces the descriptors of tables by 0. Returns the instructions that had one, and the tables.
fn take_descriptors(code: &mut [u8], tables: &HashMap<i32, usize>) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut second_slot = false;
    for (index, slot) in code.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let [operation, registers, _, _, immediate @ ..] = slot;
        if std::mem::take(&mut second_slot) || *operation != LD_IMM64 {
            continue;
        }
        second_slot = true;
        if *registers >> 4 == PSEUDO_MAP_FD
            && let Some(table) = tables.get(&i32::from_ne_bytes(*immediate))
        {
            *immediate = [0; 4];
            out.push((index, *table));
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A compiled module of libbcc. The safe crate has no list of its functions, and none of its tables.
struct Module(NonNull<c_void>);

impl Module {
    /// The compiler explains errors on standard error.
    fn compile(source: &str) -> Result<Module, Failure> {
        let unusable = |_| Failure::Source { problem: "contains a NUL".into() };
        let source = CString::new(source).map_err(unusable)?;
        // SAFETY: the source outlives the call; no compiler flags, no device.
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

    /// Names and instructions.
    fn functions(&self) -> Vec<(String, Vec<u8>)> {
        let module = self.0.as_ptr();
        // SAFETY: the module is alive, and has functions with these numbers; names and instructions are copied.
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

    /// Tables, and the file descriptors of their maps, which belong to the module.
    fn tables(&self) -> Vec<(Table, i32)> {
        let module = self.0.as_ptr();
        let described = |json: String| serde_json::from_str(&json).unwrap_or_default();
        // SAFETY: the module is alive, and has tables with these numbers; strings are copied.
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
                        key_type: described(string(api::bpf_table_key_desc_id(module, id))),
                        value_type: described(string(api::bpf_table_leaf_desc_id(module, id))),
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

/// # Safety
///
/// `raw` is null or ends with a NUL.
unsafe fn string(raw: *const c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: as the caller says.
    unsafe { CStr::from_ptr(raw) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_name_tables_instead_of_descriptors() {
        let load =
            |register: u8, value: u8| [[0x18, register, 0, 0, value, 0, 0, 0], [0; 8]].concat();
        // The second slot of the last one looks like a first one.
        let plain = [[0x18, 0x01, 0, 0, 7, 0, 0, 0], [0x18, 0x11, 0, 0, 7, 0, 0, 0]].concat();
        let mut code = [load(0x11, 7), load(0x12, 9), load(0x11, 8), plain.clone()].concat();
        let maps = take_descriptors(&mut code, &HashMap::from([(7, 1), (9, 0)]));
        assert_eq!(maps, [(0, 1), (2, 0)]);
        assert_eq!(code, [load(0x11, 0), load(0x12, 0), load(0x11, 8), plain].concat());
    }
}
