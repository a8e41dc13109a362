//! Records: assembling them on the stack.

use super::reads::Base;
use super::{BASE, COOKIE, Emitter, R0, R1, R10, Width, helper};
use crate::bpf::Transport;
use crate::plan::record_layout::{self, Layout};

impl Emitter<'_> {
    /// Assembles a record and publishes it.
    ///
    /// The record is assembled on the stack and then copied to the event buffer. Reading user
    /// memory into the stack costs half as much as reading it into the buffer. The buffer is
    /// `vmalloc` memory, whose owner hardened usercopy looks up. Strings for which the stack has no
    /// space are read into the buffer directly.
    ///
    /// Preemption is disabled from the reservation until the record is published, if the kernel
    /// allows that: a preempted writer would hold back the records of all others until the scheduler
    /// runs it again, which can take seconds for a thread of low priority.
    pub(super) fn record(&mut self, layout: &Layout) {
        let prefix = layout.stack_prefix_len();
        self.asm.mov(BASE, R10);
        self.asm.add_imm(BASE, -(prefix as i32));
        // Stores the cookie in 4 bytes and no faults in the next 4.
        self.asm.store(Width::Dw, BASE, record_layout::COOKIE as i16, COOKIE);
        let sorts_by_time = matches!(self.features.transport, Transport::CpuRings(_));
        if !sorts_by_time {
            self.store_time();
        }
        if !layout.goid {
            self.asm.store_imm(Width::Dw, BASE, record_layout::GOID as i16, 0);
        }
        self.store_thread();
        for at in layout.unwritten_words() {
            self.asm.store_imm(Width::Dw, BASE, at as i16, 0);
        }
        let (first, rest) = layout.split_reads();
        self.read_all(first, Base::Frame);
        self.fault_in_strings(rest);
        let published = self.asm.label();
        self.disable_preemption();
        match self.features.transport {
            Transport::CpuRings(rings) => self.publish_to_cpu_ring(layout, rest, rings, published),
            Transport::MappedRing => self.publish_to_mapped_ring(layout, rest, published),
            Transport::RingBuf => self.publish_to_ring_buffer(layout, rest),
        }
        self.asm.place(published);
        self.enable_preemption();
    }

    /// Stores the time in `r0` and in the record.
    pub(super) fn store_time(&mut self) {
        self.asm.call(helper::KTIME_GET_NS);
        self.asm.store(Width::Dw, BASE, record_layout::TIME as i16, R0);
    }

    /// Stores the process id, the thread id and the thread name.
    fn store_thread(&mut self) {
        let at = record_layout::PID_TGID as i16;
        let task = self.features.task.filter(|_| self.features.pid_namespace.is_none());
        let Some(task) = task else {
            self.ids();
            self.asm.store(Width::Dw, BASE, at, R0);
            self.comm(record_layout::COMM);
            return;
        };
        self.comm(record_layout::COMM);
        for (from, to) in [(task.pid, at), (task.tgid, at + 4)] {
            self.asm.load(Width::W, R1, R0, from);
            self.asm.store(Width::W, BASE, to, R1);
        }
    }
}
