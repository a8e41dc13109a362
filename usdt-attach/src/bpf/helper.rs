//! Numbers of BPF helpers (`include/uapi/linux/bpf.h`, `__BPF_FUNC_MAPPER`).

pub(crate) const MAP_LOOKUP_ELEM: u32 = 1;
pub(crate) const MAP_UPDATE_ELEM: u32 = 2;
pub(crate) const MAP_DELETE_ELEM: u32 = 3;
pub(crate) const KTIME_GET_NS: u32 = 5;
pub(crate) const GET_PRANDOM_U32: u32 = 7;
pub(crate) const GET_SMP_PROCESSOR_ID: u32 = 8;
pub(crate) const TAIL_CALL: u32 = 12;
pub(crate) const GET_CURRENT_PID_TGID: u32 = 14;
pub(crate) const GET_CURRENT_COMM: u32 = 16;
pub(crate) const GET_CURRENT_TASK: u32 = 35;
pub(crate) const CURRENT_TASK_UNDER_CGROUP: u32 = 37;
pub(crate) const GET_STACK: u32 = 67;
pub(crate) const SEND_SIGNAL: u32 = 109;
pub(crate) const PROBE_READ_USER: u32 = 112;
pub(crate) const PROBE_READ_KERNEL: u32 = 113;
pub(crate) const PROBE_READ_USER_STR: u32 = 114;
pub(crate) const GET_NS_CURRENT_PID_TGID: u32 = 120;
pub(crate) const SEQ_WRITE: u32 = 127;
pub(crate) const RINGBUF_OUTPUT: u32 = 130;
pub(crate) const RINGBUF_RESERVE: u32 = 131;
pub(crate) const RINGBUF_SUBMIT: u32 = 132;
pub(crate) const RINGBUF_QUERY: u32 = 134;
pub(crate) const COPY_FROM_USER: u32 = 148;
pub(crate) const GET_CURRENT_TASK_BTF: u32 = 158;
pub(crate) const GET_ATTACH_COOKIE: u32 = 174;

/// Flag of the ring buffer helpers: does not wake the reader (`BPF_RB_NO_WAKEUP`).
pub(crate) const RB_NO_WAKEUP: i32 = 1;
/// Flag of the ring buffer helpers: always wakes the reader (`BPF_RB_FORCE_WAKEUP`).
pub(crate) const RB_FORCE_WAKEUP: i32 = 2;
