//! The type names that a definition can use without declaring them: those of C's and the system's
//! headers, of this language, and of Go.
//!
//! Widths are those of glibc on amd64, where `long` and pointers have 8 bytes. Where systems
//! disagree, Linux counts: `daddr_t` has 4 bytes, and `id_t` is unsigned. A definition that declares
//! a name itself overrides the name here.

use crate::model::Type;
use std::collections::HashMap;
use std::sync::LazyLock;

const fn int(size: u8, signed: bool) -> Type {
    Type::Int { size, signed }
}

/// Names by type, separated by spaces. Each row has the names of the language and of the C standard first, then those
/// of POSIX and glibc, of illumos, and of FreeBSD and Apple.
const BY_TYPE: &[(Type, &str)] = &[
    (int(1, true), "int8_t int_least8_t int_fast8_t"),
    (
        int(1, false),
        "uint8_t uint_least8_t uint_fast8_t char8_t u_int8_t u_char cc_t uchar_t use_t \
            lock_t",
    ),
    (int(2, true), "int16_t int_least16_t cnt_t index_t pri_t sysid_t o_dev_t o_pid_t"),
    (
        int(2, false),
        "uint16_t uint_least16_t char16_t u_int16_t u_short ushort sa_family_t in_port_t \
            ushort_t o_mode_t o_uid_t o_gid_t o_ino_t",
    ),
    (
        int(4, true),
        "int32_t int_least32_t wchar_t sig_atomic_t pid_t key_t clockid_t daddr_t \
            pthread_once_t boolean_t zoneid_t projid_t taskid_t poolid_t ctid_t processorid_t \
            psetid_t lgrp_id_t kid_t lwpid_t cpusetid_t kern_return_t integer_t",
    ),
    (
        int(4, false),
        "uint32_t uint_least32_t char32_t wint_t u_int32_t u_int uint uid_t gid_t id_t \
            mode_t useconds_t socklen_t in_addr_t pthread_key_t speed_t tcflag_t uint_t \
            major_t minor_t ipaddr_t datalink_id_t thread_t model_t fixpt_t natural_t \
            mach_port_t",
    ),
    (
        int(8, true),
        "int64_t int_least64_t int_fast16_t int_fast32_t int_fast64_t intptr_t intmax_t \
            ptrdiff_t ssize_t off_t off64_t loff_t time_t clock_t suseconds_t blksize_t \
            blkcnt_t blkcnt64_t quad_t register_t longlong_t offset_t hrtime_t spgcnt_t ts_t \
            segsz_t critical_t sbintime_t vm_ooffset_t user_ssize_t user_off_t",
    ),
    (
        int(8, false),
        "uint64_t uint_least64_t uint_fast16_t uint_fast32_t uint_fast64_t uintmax_t size_t \
            dev_t ino_t ino64_t nlink_t rlim_t nfds_t fsblkcnt_t fsblkcnt64_t fsfilcnt_t \
            fsfilcnt64_t pthread_t u_int64_t u_long ulong u_quad_t ulong_t u_longlong_t \
            u_offset_t len_t diskaddr_t pgcnt_t pfn_t paddr_t rctl_qty_t u_register_t \
            vm_offset_t vm_size_t vm_paddr_t vm_pindex_t user_addr_t user_size_t \
            mach_vm_address_t mach_vm_size_t",
    ),
    (Type::Uintptr, "uintptr_t"),
    // C declares `caddr_t` as `char *`, but it is an address and not a string.
    (Type::Pointer, "timer_t caddr_t qaddr_t"),
    (Type::String, "string"),
    (Type::Bytes, "bytes"),
    (Type::Bool, "bool _Bool"),
    (Type::Error, "error"),
];

/// A spelling that Go has and C does not.
pub(super) struct GoSpelling {
    /// The type in Go.
    pub(super) go: &'static str,
    /// The type of the definition language that means the same.
    pub(super) c: &'static str,
    pub(super) ty: Type,
}

const fn go(go: &'static str, c: &'static str, ty: Type) -> GoSpelling {
    GoSpelling { go, c, ty }
}

/// Spellings of Go. `int`, `uint`, `string`, `bool` and `error` are not among them: `int` and `uint`
/// have 4 bytes as in C, and the others are names of this language.
const GO_SPELLINGS: &[GoSpelling] = &[
    go("int8", "int8_t", int(1, true)),
    go("int16", "int16_t", int(2, true)),
    go("int32", "int32_t", int(4, true)),
    go("int64", "int64_t", int(8, true)),
    go("uint8", "uint8_t", int(1, false)),
    go("uint16", "uint16_t", int(2, false)),
    go("uint32", "uint32_t", int(4, false)),
    go("uint64", "uint64_t", int(8, false)),
    go("uintptr", "uintptr_t", Type::Uintptr),
    go("byte", "uint8_t", int(1, false)),
    go("rune", "int32_t", int(4, true)),
    go("float32", "float", Type::Float { size: 4 }),
    go("float64", "double", Type::Float { size: 8 }),
    go("[]byte", "bytes", Type::Bytes),
    go("[]uint8", "bytes", Type::Bytes),
    go("time.Duration", "int64_t", Type::Duration),
    go("unsafe.Pointer", "void *", Type::Pointer),
];

/// Names of integers and floating-point numbers in other languages and in the Linux kernel, with
/// the names that C has for them. They are not accepted, but a message suggests the right one.
const FOREIGN_NAMES: &[(&[&str], &str)] = &[
    (&["u8", "__u8", "uint_8", "UINT8"], "uint8_t"),
    (&["u16", "__u16", "uint_16", "UINT16"], "uint16_t"),
    (&["u32", "__u32", "uint_32", "UINT32"], "uint32_t"),
    (&["u64", "__u64", "uint_64", "UINT64"], "uint64_t"),
    (&["i8", "s8", "__s8", "INT8"], "int8_t"),
    (&["i16", "s16", "__s16", "INT16"], "int16_t"),
    (&["i32", "s32", "__s32", "INT32"], "int32_t"),
    (&["i64", "s64", "__s64", "INT64"], "int64_t"),
    (&["usize"], "size_t"),
    (&["isize"], "ssize_t"),
    (&["f32"], "float"),
    (&["f64"], "double"),
    (&["str"], "string"),
    (&["boolean"], "bool"),
    (&["Duration", "duration"], "time.Duration"),
];

/// Returns the type of a name that needs no declaration.
pub(super) fn built_in(name: &str) -> Option<Type> {
    standard(name).or_else(|| go_spelling(name).map(|spelling| spelling.ty))
}

/// Returns the type of a name that needs no declaration and is not a spelling of Go.
pub(super) fn standard(name: &str) -> Option<Type> {
    static BY_NAME: LazyLock<HashMap<&str, Type>> = LazyLock::new(|| {
        BY_TYPE.iter().flat_map(|(ty, names)| names.split(' ').map(|name| (name, *ty))).collect()
    });
    BY_NAME.get(name).copied()
}

/// Returns the spelling of Go with this name.
pub(super) fn go_spelling(name: &str) -> Option<&'static GoSpelling> {
    GO_SPELLINGS.iter().find(|spelling| spelling.go == name)
}

/// Returns the name that the language has for a type of another language.
pub(super) fn known_equivalent(name: &str) -> Option<&'static str> {
    FOREIGN_NAMES.iter().find(|(names, _)| names.contains(&name)).map(|(_, known)| *known)
}

/// Returns all names that need no declaration.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    let spellings = GO_SPELLINGS.iter().map(|spelling| spelling.go);
    BY_TYPE.iter().flat_map(|(_, names)| names.split(' ')).chain(spellings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_name_has_two_types() {
        let mut seen = HashSet::new();
        for name in all() {
            assert!(seen.insert(name), "{name}");
        }
        assert!(seen.len() > 150, "{}", seen.len());
    }

    #[test]
    fn a_go_spelling_and_its_c_spelling_are_the_same_type() {
        for spelling in GO_SPELLINGS {
            let known = standard(spelling.c).is_some_and(|ty| ty == spelling.ty);
            let differs = ["float", "double", "void *"].contains(&spelling.c)
                || spelling.ty == Type::Duration;
            assert!(known || differs, "{}", spelling.go);
        }
    }

    #[test]
    fn suggests_only_names_that_exist() {
        for (names, known) in FOREIGN_NAMES {
            assert!(built_in(known).is_some() || ["float", "double"].contains(known), "{known}");
            for name in *names {
                assert!(built_in(name).is_none(), "{name}");
            }
        }
    }
}
