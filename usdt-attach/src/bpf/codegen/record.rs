//! Records: assembled, and passed to the reader.

use super::reads::Base;
use super::{BASE, COOKIE, Cond, Emitter, R0, R1, R2, R3, R9, R10, Reg, Width, helper};
use crate::bpf::Transport;
use crate::bpf::asm::R4;
use crate::bpf::ring_format::{DATA, HEADER, RESERVED, TAIL};
use crate::plan::ReadOp;
use crate::plan::record_layout::{self, Layout, NATIVE};
use stapsdt::argspec::Arch;

const RB_AVAIL_DATA: i32 = 0;

/// Records whose time has none of these bits read the ring buffer's fill level.
const FILL_LEVEL_MASK: i32 = 63;

/// Bytes of a mapped ring that were reserved before this record; the cookie is in the record by then.
const BEFORE: Reg = R9;

impl Emitter<'_> {
    /// Assembles the record on the stack, to which the kernel copies user memory at half the cost of the buffer: its
    /// hardened copy looks up what a destination in `vmalloc` memory belongs to. Then the record is copied to the
    /// buffer. Strings that the stack has no space for are read into the buffer directly.
    pub(super) fn record(&mut self, layout: &Layout) {
        let staged = layout.stack_prefix_len();
        self.asm.mov(BASE, R10);
        self.asm.add_imm(BASE, -(staged as i32));
        let asm = &mut self.asm;
        // The cookie, and no faults yet.
        asm.store(Width::Dw, BASE, record_layout::COOKIE as i16, COOKIE);
        asm.call(helper::KTIME_GET_NS);
        asm.store(Width::Dw, BASE, record_layout::TIME as i16, R0);
        if !layout.goid {
            asm.store_imm(Width::Dw, BASE, record_layout::GOID as i16, 0);
        }
        self.who();
        for at in layout.unwritten_words() {
            self.asm.store_imm(Width::Dw, BASE, at as i16, 0);
        }
        let (first, rest) = layout.split_reads();
        self.steps(first, Base::Frame);
        match self.features.transport {
            Transport::MappedRing => self.by_mapped_ring(layout, rest),
            Transport::RingBuf => self.by_ring_buffer(layout, rest),
        }
    }

    /// By the mapped ring (`docs/mapped-ring.md`): in line, where the ring buffer's helper calls half a dozen
    /// functions.
    fn by_mapped_ring(&mut self, layout: &Layout, rest: &[ReadOp]) {
        let capacity = self.plan.buffer as i32;
        self.used(layout);
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
        // Roll back.
        asm.neg(R4);
        asm.atomic_add(R0, RESERVED, R4);
        asm.jump(self.dropped);
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
            self.steps(rest, Base::Record);
            self.asm.mov_imm(R3, layout.size as i32);
            self.publish(BASE, R3);
            self.asm.mov(R2, BEFORE);
            self.asm.add_imm(R2, layout.size as i32 + i32::from(HEADER));
        }
        self.notify_reader();
    }

    /// Publishes a record: its length comes last.
    fn publish(&mut self, record: Reg, length: Reg) {
        if NATIVE == Arch::X86_64 {
            // Stores are seen in order.
            self.asm.store(Width::Dw, record, -HEADER, length);
        } else {
            self.asm.exchange(record, -HEADER, length);
        }
    }

    /// Wakes the reader, which polls anyway, where this record has filled the ring's first half: `r2` bytes are
    /// reserved now.
    fn notify_reader(&mut self) {
        let half = (self.plan.buffer / 2) as i32;
        let asm = &mut self.asm;
        asm.jump_if(Cond::Ge, BEFORE, half, self.done);
        asm.jump_if(Cond::Lt, R2, half, self.done);
        asm.map(R1, self.maps.wakeup);
        asm.mov(R2, BASE);
        asm.mov_imm(R3, 8);
        asm.mov_imm(R4, helper::RB_FORCE_WAKEUP);
        asm.call(helper::RINGBUF_OUTPUT);
    }

    fn by_ring_buffer(&mut self, layout: &Layout, rest: &[ReadOp]) {
        if rest.is_empty() {
            self.wake_up();
            self.asm.mov(R4, R2);
            self.used(layout);
            self.asm.map(R1, self.maps.events);
            self.asm.mov(R2, BASE);
            self.asm.call(helper::RINGBUF_OUTPUT);
            self.asm.jump_if(Cond::Ne, R0, 0, self.dropped);
            return;
        }
        self.asm.map(R1, self.maps.events);
        self.asm.mov_imm(R2, layout.size as i32);
        self.asm.mov_imm(R3, 0);
        self.asm.call(helper::RINGBUF_RESERVE);
        self.asm.jump_if(Cond::Eq, R0, 0, self.dropped);
        self.copy_to_r0(layout);
        self.asm.mov(BASE, R0);
        self.steps(rest, Base::Record);
        self.wake_up();
        self.asm.mov(R1, BASE);
        self.asm.call(helper::RINGBUF_SUBMIT);
    }

    /// Process, thread and its name.
    fn who(&mut self) {
        let at = record_layout::PID_TGID as i16;
        let Some(task) = self.features.task else {
            self.asm.call(helper::GET_CURRENT_PID_TGID);
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

    /// `r3 = ` the length of the record that is used. The verifier must see that it is never more than the whole.
    fn used(&mut self, layout: &Layout) {
        let asm = &mut self.asm;
        let Some(to) = layout.trailing_string() else {
            asm.mov_imm(R3, layout.size as i32);
            return;
        };
        let most = (layout.size - to - 8) as i32;
        let short = asm.label();
        asm.load(Width::W, R3, BASE, to as i16);
        asm.add_imm(R3, 7);
        asm.and_imm(R3, -8);
        asm.jump_if(Cond::Le, R3, most, short);
        // All of it, or the helper's error.
        asm.mov_imm(R3, most);
        asm.place(short);
        asm.add_imm(R3, to as i32 + 8);
    }

    /// Copies what is on the stack to where `r0` points to; where it ends with a string, `r3` bytes of it.
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

    /// `r2 = ` the flags for submitting: do not wake the reader, which polls. One record in 64, picked by the clock's
    /// low bits, reads the fill level and wakes the reader from half full on. That read costs more than the rest of
    /// submitting, because the reader's position is on another CPU's cache line.
    fn wake_up(&mut self) {
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
