//! Tests against the running kernel, which must accept every structure and command.

use super::super::uapi::{
    BPF_F_MMAPABLE, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
    BPF_MAP_TYPE_RINGBUF, BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_RAW_TRACEPOINT,
    BPF_TRACE_UPROBE_MULTI,
};
use super::super::{Map, Shape};
use super::*;
use crate::bpf::asm::{Assembler, R0, R1, Width};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::ffi::CString;
use std::os::fd::AsFd;

/// Returns true if this process may use BPF. Panics if it may not although the environment requires
/// it.
#[allow(clippy::disallowed_macros)] // the output of a test
fn may_use_bpf() -> bool {
    let shape = Shape { kind: BPF_MAP_TYPE_ARRAY, key: 4, value: 8, entries: 1, flags: 0 };
    match Map::create(c"usdt_may", shape) {
        Ok(_) => true,
        Err(error) if std::env::var_os("USDT_E2E").is_some_and(|value| value == "require") => {
            panic!("{error}")
        }
        Err(error) => {
            eprintln!("skipped, because this process may not use BPF: {error}");
            false
        }
    }
}

fn returns(value: i32) -> Vec<Insn> {
    let mut asm = Assembler::default();
    asm.mov_imm(R0, value);
    asm.exit();
    asm.finish().unwrap()
}

/// Creates a file of one page that no process executes, and returns its path.
fn file() -> (OwnedFd, CString) {
    let file = memfd_create("usdt-test", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, 4096).unwrap();
    let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    (file, path)
}

#[test]
fn maps_store_values() {
    if !may_use_bpf() {
        return;
    }
    let shape = Shape { kind: BPF_MAP_TYPE_HASH, key: 4, value: 12, entries: 8, flags: 0 };
    let map = Map::create(c"a_name_that_is_longer_than_the_kernel_takes", shape).unwrap();
    let mut values = map.buffer();
    assert_eq!(values.len(), 2);
    assert!(map.keys().unwrap().is_empty());
    for key in 0..5u32 {
        map.update(&key.to_ne_bytes(), &[key as u8; 12]).unwrap();
    }
    let mut keys: Vec<u32> = map
        .keys()
        .unwrap()
        .iter()
        .map(|key| u32::from_ne_bytes(key[..].try_into().unwrap()))
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, [0, 1, 2, 3, 4]);
    assert!(map.lookup(&3u32.to_ne_bytes(), &mut values).unwrap());
    assert_eq!(values[0], u64::from_ne_bytes([3; 8]));
    assert!(!map.lookup(&7u32.to_ne_bytes(), &mut values).unwrap());
}

#[test]
fn maps_reject_keys_and_values_of_other_sizes() {
    if !may_use_bpf() {
        return;
    }
    let map = |kind| {
        Map::create(c"usdt_test", Shape { kind, key: 4, value: 8, entries: 1, flags: 0 }).unwrap()
    };
    let (array, per_cpu) = (map(BPF_MAP_TYPE_ARRAY), map(BPF_MAP_TYPE_PERCPU_ARRAY));
    assert!(array.update(&[0; 4], &[0; 8]).is_ok());
    assert!(array.update(&[0; 4], &[0; 4]).is_err());
    assert!(array.update(&[0; 2], &[0; 8]).is_err());
    assert!(array.lookup(&[0; 4], &mut []).is_err());
    let mut all = per_cpu.buffer();
    assert_eq!(all.len(), crate::bpf::cpus::possible_cpus().unwrap());
    assert!(per_cpu.lookup(&[0; 4], &mut all).unwrap());
    all.pop();
    assert!(per_cpu.lookup(&[0; 4], &mut all).is_err());
    assert!(per_cpu.update(&[0; 4], &[0; 8]).is_err());
}

#[test]
fn creates_maps_with_the_requested_shape() {
    if !may_use_bpf() {
        return;
    }
    let shape =
        Shape { kind: BPF_MAP_TYPE_ARRAY, key: 4, value: 100, entries: 3, flags: BPF_F_MMAPABLE };
    let map = Map::create(c"usdt_test", shape).unwrap();
    let mut info = uapi::MapInfo::default();
    // SAFETY: a structure for maps, without arrays.
    unsafe { object_info(map.as_fd(), &mut info).unwrap() };
    assert_eq!((info.type_, info.key_size, info.value_size), (shape.kind, 4, 100));
    assert_eq!((info.max_entries, info.map_flags), (3, BPF_F_MMAPABLE));
    assert_eq!(&info.name, b"usdt_test\0\0\0\0\0\0\0");
}

#[test]
fn loads_a_program_and_enables_statistics() {
    if !may_use_bpf() {
        return;
    }
    let program =
        prog_load(BPF_PROG_TYPE_KPROBE, c"usdt_test", &returns(0), LoadOptions::default(), &mut [])
            .unwrap();
    let info = prog_info(program.as_fd()).unwrap();
    assert_eq!((info.type_, info.run_cnt), (BPF_PROG_TYPE_KPROBE, 0));
    assert_eq!(&info.name, b"usdt_test\0\0\0\0\0\0\0");
    enable_run_time_stats().unwrap();
}

#[test]
fn returns_the_log_of_the_verifier() {
    if !may_use_bpf() {
        return;
    }
    let mut asm = Assembler::default();
    asm.load(Width::Dw, R1, R0, 0);
    asm.exit();
    let code = asm.finish().unwrap();
    let options = LoadOptions::default();
    let error = prog_load(BPF_PROG_TYPE_KPROBE, c"usdt_test", &code, options, &mut []).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    let mut log = vec![0u8; 4096];
    prog_load(BPF_PROG_TYPE_KPROBE, c"usdt_test", &code, options, &mut log).unwrap_err();
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("R0 !read_ok"), "{log}");
}

#[test]
fn attaches_to_a_raw_tracepoint() {
    if !may_use_bpf() {
        return;
    }
    let program = prog_load(
        BPF_PROG_TYPE_RAW_TRACEPOINT,
        c"usdt_test",
        &returns(0),
        LoadOptions::default(),
        &mut [],
    )
    .unwrap();
    raw_tracepoint_open(c"sched_process_exec", program.as_fd()).unwrap();
    let error = raw_tracepoint_open(c"no such tracepoint", program.as_fd()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn attaches_to_perf_events() {
    let Ok(kind) = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type") else {
        return;
    };
    if !may_use_bpf() {
        return;
    }
    let (_file, path) = file();
    let program =
        prog_load(BPF_PROG_TYPE_KPROBE, c"usdt_test", &returns(0), LoadOptions::default(), &mut [])
            .unwrap();
    let event = || {
        perf_event_uprobe(kind.trim().parse().unwrap(), &path, 0, 0, std::process::id()).unwrap()
    };
    perf_event_run(event().as_fd(), program.as_fd()).unwrap();
    let event = event();
    match link_perf_event(program.as_fd(), event.as_fd(), 7) {
        Ok(_) => {}
        // Kernels before 5.15 have no cookies.
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EINVAL)),
    }
}

#[test]
fn attaches_to_many_sites_at_once() {
    if !may_use_bpf() {
        return;
    }
    // Kernels before 6.6 do not know the attach type.
    let Ok(program) = prog_load(
        BPF_PROG_TYPE_KPROBE,
        c"usdt_test",
        &returns(0),
        LoadOptions { attach_type: BPF_TRACE_UPROBE_MULTI, ..LoadOptions::default() },
        &mut [],
    ) else {
        return;
    };
    let (_file, path) = file();
    let sites = [0, 8, 16].map(|offset| UprobeSite { offset, semaphore: 0, cookie: offset });
    link_uprobe_multi(program.as_fd(), &path, &sites, 0).unwrap();
    let error = link_uprobe_multi(program.as_fd(), c"/", &sites, 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
}

/// A structure with more fields than any kernel knows; the kernel rejects it unless they are zero.
#[repr(C)]
#[derive(Clone, Copy)]
struct Longer<T> {
    known: T,
    unknown: [u8; 512],
}

/// Calls bpf(2) with a structure that is followed by 512 bytes: zeros, then `last`.
fn call<T: Copy>(command: u32, known: T, last: u8) -> io::Result<c_long> {
    let mut unknown = [0; 512];
    unknown[511] = last;
    // SAFETY: the structures that the tests pass have no pointers that the kernel follows.
    unsafe { bpf(command, &mut Longer { known, unknown }) }
}

#[test]
fn rejects_unknown_fields_unless_zero() {
    if !may_use_bpf() {
        return;
    }
    let ring = uapi::MapCreate {
        map_type: BPF_MAP_TYPE_RINGBUF,
        max_entries: rustix::param::page_size() as u32,
        ..uapi::MapCreate::default()
    };
    let fd = call(uapi::BPF_MAP_CREATE, ring, 0).unwrap();
    // SAFETY: the descriptor is new and has no other owner.
    drop(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
    let code = |result: io::Result<c_long>| result.unwrap_err().raw_os_error();
    assert_eq!(code(call(uapi::BPF_MAP_CREATE, ring, 1)), Some(libc::E2BIG));
    for last in [0, 1] {
        let expected = Some(if last == 0 { libc::EBADF } else { libc::E2BIG });
        let invalid_fd = u32::MAX;
        let element = uapi::MapElem { map_fd: invalid_fd, ..uapi::MapElem::default() };
        for command in
            [uapi::BPF_MAP_LOOKUP_ELEM, uapi::BPF_MAP_UPDATE_ELEM, uapi::BPF_MAP_GET_NEXT_KEY]
        {
            assert_eq!(code(call(command, element, last)), expected, "command {command}");
        }
        let info = uapi::ObjGetInfo { bpf_fd: invalid_fd, ..uapi::ObjGetInfo::default() };
        let expected_of_info =
            expected.map(|code| if code == libc::EBADF { libc::EBADFD } else { code });
        assert_eq!(code(call(uapi::BPF_OBJ_GET_INFO_BY_FD, info, last)), expected_of_info);
        let open =
            uapi::RawTracepointOpen { prog_fd: invalid_fd, ..uapi::RawTracepointOpen::default() };
        assert_eq!(code(call(uapi::BPF_RAW_TRACEPOINT_OPEN, open, last)), expected);
        let link = LinkCreatePerfEvent { prog_fd: invalid_fd, ..LinkCreatePerfEvent::default() };
        assert_eq!(code(call(uapi::BPF_LINK_CREATE, link, last)), expected);
        let links =
            LinkCreateUprobeMulti { prog_fd: invalid_fd, ..LinkCreateUprobeMulti::default() };
        assert_eq!(code(call(uapi::BPF_LINK_CREATE, links, last)), expected);
    }
    let unknown = uapi::EnableStats { type_: 99 };
    assert_eq!(code(call(uapi::BPF_ENABLE_STATS, unknown, 0)), Some(libc::EINVAL));
    assert_eq!(code(call(uapi::BPF_ENABLE_STATS, unknown, 1)), Some(libc::E2BIG));
    let empty = ProgLoad::default();
    assert_eq!(code(call(uapi::BPF_PROG_LOAD, empty, 1)), Some(libc::E2BIG));
}
