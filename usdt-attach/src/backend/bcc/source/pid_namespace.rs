//! The ids of the running thread and process in a PID namespace other than the initial one.

use crate::bpf::PidNamespace;
use crate::bpf::helper::GET_NS_CURRENT_PID_TGID;
use std::fmt::Write as _;

/// The function `usdt_pid_tgid`, which returns the thread id and, in the upper half, the process id;
/// 0 for a process outside the namespace. It takes the same steps as
/// [`store_ids`](crate::bpf::codegen::pid_namespace::store_ids).
pub(super) fn pid_tgid_function(namespace: &PidNamespace) -> String {
    let mut out = format!(
        "static long (*usdt_ns_ids)(u64, u64, void *, u32) = (void *){GET_NS_CURRENT_PID_TGID};\n\
         static __always_inline u64 usdt_pid_tgid(void) {{\n  u64 ids = 0;\n\
         \x20 if (!usdt_ns_ids({}, {}, &ids, 8)) return ids;\n",
        namespace.device, namespace.inode
    );
    if let Some(nested) = namespace.nested {
        // A `struct upid` is an id in 4 bytes, 4 unused bytes, and a pointer to the namespace.
        let _ = write!(
            out,
            "  u64 task = bpf_get_current_task(), pid = 0, upid[2] = {{}}, tid;\n  u32 word = 0;\n\
             \x20 bpf_probe_read_kernel(&pid, 8, (void *)(task + {thread_pid}));\n\
             \x20 bpf_probe_read_kernel(&word, 4, (void *)(pid + {pid_level}));\n\
             \x20 if (word < {level}) return 0;\n\
             \x20 bpf_probe_read_kernel(upid, 16, (void *)(pid + {upid}));\n\
             \x20 tid = (u32)upid[0];\n\
             \x20 bpf_probe_read_kernel(&word, 4, (void *)(upid[1] + {inode}));\n\
             \x20 if (word != {own}u) return 0;\n\
             \x20 bpf_probe_read_kernel(&pid, 8, (void *)(task + {group_leader}));\n\
             \x20 bpf_probe_read_kernel(&pid, 8, (void *)(pid + {thread_pid}));\n\
             \x20 bpf_probe_read_kernel(upid, 16, (void *)(pid + {upid}));\n\
             \x20 return upid[0] << 32 | tid;\n}}\n",
            thread_pid = nested.thread_pid,
            pid_level = nested.pid_level,
            level = nested.level,
            upid = nested.upid,
            inode = nested.inode,
            own = namespace.inode,
            group_leader = nested.group_leader,
        );
    } else {
        out.push_str("  return 0;\n}\n");
    }
    out
}
