//! A compiled module of libbcc: its functions and its tables.
#![allow(unsafe_code)] // libbcc's C interface; every pointer it gives belongs to the module and lives as long

use super::one_at_a_time;
use crate::bpf::Map;
use crate::bpf::asm::Insn;
use crate::error::{Error, Result};
use bcc_sys::bccapi as api;
use std::ffi::{CStr, CString, c_char, c_void};
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

/// See the module.
pub(super) struct Module(NonNull<c_void>);

/// A map that the program declares.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    /// Owned by the module.
    fd: i32,
    /// The types, as libbcc's JSON describes them.
    pub(super) key_type: String,
    pub(super) value_type: String,
}

impl Module {
    /// Compiles a program. The compiler explains mistakes on standard error itself.
    pub(super) fn compile(text: &str) -> Result<Module> {
        let _one = one_at_a_time();
        let text = CString::new(text).map_err(|_| Error::Backend("the program holds a NUL".into()))?;
        // SAFETY: the text outlives the call; no flags, no device.
        let module = unsafe {
            api::bpf_module_create_c_from_string(
                text.as_ptr(),
                0,
                std::ptr::null_mut(),
                0,
                true,
                std::ptr::null(),
            )
        };
        let failed = || Error::Backend("libbcc cannot compile the program; the reasons stand above".into());
        NonNull::new(module).map(Module).ok_or_else(failed)
    }

    /// Instructions of a function.
    pub(super) fn function(&self, name: &str) -> Option<Vec<Insn>> {
        let name = CString::new(name).ok()?;
        // SAFETY: the module is alive; the name outlives the calls.
        let (start, size) = unsafe {
            (
                api::bpf_function_start(self.0.as_ptr(), name.as_ptr()),
                api::bpf_function_size(self.0.as_ptr(), name.as_ptr()),
            )
        };
        if start.is_null() {
            return None;
        }
        // SAFETY: libbcc says that so many bytes are there, for as long as the module is.
        let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), size) };
        Some(bytes.as_chunks::<8>().0.iter().map(|raw| Insn::from_bytes(*raw)).collect())
    }

    /// Every table of the program.
    pub(super) fn tables(&self) -> Vec<Table> {
        let module = self.0.as_ptr();
        // SAFETY: the module is alive; texts are its own, copied before it goes.
        unsafe {
            let text = |raw: *const c_char| {
                if raw.is_null() { String::new() } else { CStr::from_ptr(raw).to_string_lossy().into_owned() }
            };
            (0..api::bpf_num_tables(module))
                .map(|id| Table {
                    name: text(api::bpf_table_name(module, id)),
                    fd: api::bpf_table_fd_id(module, id),
                    key_type: text(api::bpf_table_key_desc_id(module, id)),
                    value_type: text(api::bpf_table_leaf_desc_id(module, id)),
                })
                .collect()
        }
    }
}

impl Module {
    /// The map of one of its tables.
    pub(super) fn map(&self, table: &Table) -> Result<Map> {
        // SAFETY: the module, which is alive, keeps its tables' descriptors open.
        let fd = unsafe { BorrowedFd::borrow_raw(table.fd) };
        let map = fd.try_clone_to_owned().and_then(Map::from_fd);
        map.map_err(Error::refused("cannot read a BPF map"))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let _one = one_at_a_time();
        // SAFETY: created by `compile`, destroyed once.
        unsafe { api::bpf_module_destroy(self.0.as_ptr()) };
    }
}
