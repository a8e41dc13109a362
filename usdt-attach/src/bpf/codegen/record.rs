//! Records: assembling them, and publishing them to the reader.

use super::reads::Base;
use super::{BASE, COOKIE, Cond, Emitter, Label, R0, R1, R2, R3, R9, R10, Reg, Width, helper};
use crate::bpf::Transport;
use crate::bpf::asm::R4;
use crate::bpf::ring_format::{DATA, HEADER, RESERVED, TAIL};
use crate::plan::ReadOp;
use crate::plan::record_layout::{self, Layout, NATIVE};
use stapsdt::argspec::Arch;

const RB_AVAIL_DATA: i32 = 0;

/// A record reads the fill level of the ring buffer if its time has none of these bits: one record
/// in 64.
const FILL_LEVEL_MASK: i32 = 63;

/// The value of `reserved` before this record. It takes the register of the cookie, which is in the
/// record already.
const BEFORE: Reg = R9;

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
        let asm = &mut self.asm;
        // Stores the cookie in 4 bytes and no faults in the next 4.
        asm.store(Width::Dw, BASE, record_layout::COOKIE as i16, COOKIE);
        asm.call(helper::KTIME_GET_NS);
        asm.store(Width::Dw, BASE, record_layout::TIME as i16, R0);
        if !layout.goid {
            asm.store_imm(Width::Dw, BASE, record_layout::GOID as i16, 0);
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
            Transport::MappedRing => self.publish_to_mapped_ring(layout, rest, published),
            Transport::RingBuf => self.publish_to_ring_buffer(layout, rest),
        }
        self.asm.place(published);
        self.enable_preemption();
    }

    /// Enables preemption and ends the program; the hit counts as dropped.
    fn drop_hit(&mut self) {
        self.enable_preemption();
        self.asm.jump(self.dropped);
    }

    fn disable_preemption(&mut self) {
        if let Some(functions) = self.features.preemption {
            self.asm.call_kernel_function(functions.disable);
        }
    }

    fn enable_preemption(&mut self) {
        if let Some(functions) = self.features.preemption {
            self.asm.call_kernel_function(functions.enable);
        }
    }

    /// Publishes the record through the mapped ring, whose protocol is described in
    /// `docs/mapped-ring.md`.
    fn publish_to_mapped_ring(&mut self, layout: &Layout, rest: &[ReadOp], published: Label) {
        let capacity = self.plan.buffer as i32;
        self.used_len(layout);
        let reserved = self.asm.label();
        let asm = &mut self.asm;
        asm.map_value(R0, self.maps.events);
        asm.mov(R4, R3);
        asm.add_imm(R4, HEADER.into());
        asm.mov(BEFORE, R4);
        asm.atomic_fetch_add(R0, RESERVED, BEFORE);
        asm.mov(R2, BEFORE);
        asm.add(R2, R4);
        asm.jump_if(Cond::Le, R2, capacity, reserved);
        // The ring is full: roll back.
        asm.neg(R4);
        asm.atomic_add(R0, RESERVED, R4);
        self.drop_hit();
        let asm = &mut self.asm;
        asm.place(reserved);
        asm.atomic_fetch_add(R0, TAIL, R4);
        asm.and_imm(R4, capacity - 8);
        asm.add(R0, R4);
        asm.add_imm(R0, (DATA + HEADER).into());
        self.copy_to_r0(layout);
        if rest.is_empty() {
            self.publish(R0, R3);
        } else {
            self.asm.mov(BASE, R0);
            self.read_all(rest, Base::Record);
            self.asm.mov_imm(R3, layout.size as i32);
            self.publish(BASE, R3);
            self.asm.mov(R2, BEFORE);
            self.asm.add_imm(R2, layout.size as i32 + i32::from(HEADER));
        }
        self.notify_reader(published);
    }

    /// Publishes a record by storing its length, after all of its content.
    fn publish(&mut self, record: Reg, length: Reg) {
        if NATIVE == Arch::X86_64 {
            // Stores become visible in program order.
            self.asm.store(Width::Dw, record, -HEADER, length);
        } else {
            // An exchange has release semantics. BPF has no store-release before Linux 6.15.
            self.asm.exchange(record, -HEADER, length);
        }
    }

    /// Wakes the reader if this record has filled the first half of the ring; `r2` is the new value
    /// of `reserved`. Otherwise the reader polls.
    fn notify_reader(&mut self, published: Label) {
        let half = (self.plan.buffer / 2) as i32;
        let asm = &mut self.asm;
        asm.jump_if(Cond::Ge, BEFORE, half, published);
        asm.jump_if(Cond::Lt, R2, half, published);
        asm.map(R1, self.maps.wakeup);
        asm.mov(R2, BASE);
        asm.mov_imm(R3, 8);
        asm.mov_imm(R4, helper::RB_FORCE_WAKEUP);
        asm.call(helper::RINGBUF_OUTPUT);
    }

    /// Publishes the record through the kernel's ring buffer.
    fn publish_to_ring_buffer(&mut self, layout: &Layout, rest: &[ReadOp]) {
        if rest.is_empty() {
            self.submit_flags();
            self.asm.mov(R4, R2);
            self.used_len(layout);
            self.asm.map(R1, self.maps.events);
            self.asm.mov(R2, BASE);
            self.asm.call(helper::RINGBUF_OUTPUT);
            let submitted = self.asm.label();
            self.asm.jump_if(Cond::Eq, R0, 0, submitted);
            self.drop_hit();
            self.asm.place(submitted);
            return;
        }
        self.asm.map(R1, self.maps.events);
        self.asm.mov_imm(R2, layout.size as i32);
        self.asm.mov_imm(R3, 0);
        self.asm.call(helper::RINGBUF_RESERVE);
        let reserved = self.asm.label();
        self.asm.jump_if(Cond::Ne, R0, 0, reserved);
        self.drop_hit();
        self.asm.place(reserved);
        self.copy_to_r0(layout);
        self.asm.mov(BASE, R0);
        self.read_all(rest, Base::Record);
        self.submit_flags();
        self.asm.mov(R1, BASE);
        self.asm.call(helper::RINGBUF_SUBMIT);
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

    /// `r3 = ` the length of the record without the unused bytes of a trailing string. The verifier
    /// must see that it does not exceed the size of the layout.
    fn used_len(&mut self, layout: &Layout) {
        let asm = &mut self.asm;
        let Some(to) = layout.trailing_string() else {
            asm.mov_imm(R3, layout.size as i32);
            return;
        };
        let max = (layout.size - to - 8) as i32;
        let short = asm.label();
        asm.load(Width::W, R3, BASE, to as i16);
        asm.add_imm(R3, 7);
        asm.and_imm(R3, -8);
        asm.jump_if(Cond::Le, R3, max, short);
        // The string fills its space, or the length is the helper's negative error number.
        asm.mov_imm(R3, max);
        asm.place(short);
        asm.add_imm(R3, to as i32 + 8);
    }

    /// Copies the part on the stack to `r0`. If the record ends with a string, `r3` bytes are
    /// copied.
    fn copy_to_r0(&mut self, layout: &Layout) {
        let copied = self.asm.label();
        for at in (0..layout.stack_prefix_len()).step_by(8) {
            if at >= layout.min_record_len() {
                self.asm.jump_if(Cond::Le, R3, at as i32, copied);
            }
            self.asm.load(Width::Dw, R1, BASE, at as i16);
            self.asm.store(Width::Dw, R0, at as i16, R1);
        }
        self.asm.place(copied);
    }

    /// `r2 = ` the flags for submitting a record to the ring buffer.
    ///
    /// Records do not wake the reader, which polls. One record in 64, selected by the low bits of
    /// the time, reads the fill level. It wakes the reader if the buffer is at least half full.
    /// That read costs more than the rest of submitting, because the consumer position is on the
    /// cache line of another CPU.
    fn submit_flags(&mut self) {
        let half = (self.plan.buffer / 2) as i32;
        let asm = &mut self.asm;
        let quiet = asm.label();
        asm.load(Width::Dw, R1, BASE, record_layout::TIME as i16);
        asm.mov_imm(R2, helper::RB_NO_WAKEUP);
        asm.and_imm(R1, FILL_LEVEL_MASK);
        asm.jump_if(Cond::Gt, R1, 0, quiet);
        asm.map(R1, self.maps.events);
        asm.mov_imm(R2, RB_AVAIL_DATA);
        asm.call(helper::RINGBUF_QUERY);
        asm.mov_imm(R2, helper::RB_NO_WAKEUP);
        asm.jump_if(Cond::Le, R0, half, quiet);
        asm.mov_imm(R2, helper::RB_FORCE_WAKEUP);
        asm.place(quiet);
    }
}
