//! Publishing records: the programs' side of each transport.

use super::reads::Base;
use super::{BASE, Cond, Emitter, Label, R0, R1, R2, R3, R9, Reg, Width, helper};
use crate::bpf::asm::R4;
use crate::bpf::cpu_ring_format::{self, CpuRings};
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

/// The ring of this CPU. It takes the register of the cookie, too.
const RING: Reg = R9;

impl Emitter<'_> {
    /// Enables preemption and ends the program; the hit counts as dropped.
    fn drop_hit(&mut self) {
        self.enable_preemption();
        self.asm.jump(self.dropped);
    }

    pub(super) fn disable_preemption(&mut self) {
        if let Some(functions) = self.features.preemption {
            self.asm.call_kernel_function(functions.disable);
        }
    }

    pub(super) fn enable_preemption(&mut self) {
        if let Some(functions) = self.features.preemption {
            self.asm.call_kernel_function(functions.enable);
        }
    }

    /// Publishes the record through the ring of this CPU, whose protocol is described in
    /// `docs/cpu-rings.md`. The program is the only writer of that ring: it cannot be preempted, so
    /// plain loads and stores are enough.
    pub(super) fn publish_to_cpu_ring(
        &mut self,
        layout: &Layout,
        rest: &[ReadOp],
        rings: CpuRings,
        published: Label,
    ) {
        use cpu_ring_format::{DATA, HEAD, PENDING, PENDING_UNKNOWN, SESSION, TAIL};
        let capacity = rings.capacity as i32;
        let (no_ring, fits) = (self.asm.label(), self.asm.label());
        let asm = &mut self.asm;
        asm.call(helper::GET_SMP_PROCESSOR_ID);
        // The machine has got another processor since the rings were created.
        asm.jump_if(Cond::Ge, R0, rings.count as i32, no_ring);
        asm.mul_imm(R0, rings.stride as i32);
        asm.map_value(RING, self.maps.events);
        asm.add(RING, R0);
        asm.store_imm(Width::Dw, RING, PENDING, PENDING_UNKNOWN);
        self.store_time();
        self.asm.store(Width::Dw, RING, PENDING, R0);
        self.used_len(layout);
        let asm = &mut self.asm;
        asm.mov(R4, R3);
        asm.add_imm(R4, HEADER.into());
        asm.load(Width::Dw, R0, RING, TAIL);
        asm.load(Width::Dw, R1, RING, HEAD);
        asm.mov(R2, R0);
        asm.sub(R2, R1);
        asm.add(R2, R4);
        asm.jump_if(Cond::Le, R2, capacity, fits);
        asm.store_imm(Width::Dw, RING, PENDING, 0);
        asm.place(no_ring);
        self.drop_hit();
        let asm = &mut self.asm;
        asm.place(fits);
        asm.and_imm(R0, capacity - 8);
        asm.add(R0, RING);
        asm.add_imm(R0, (DATA + HEADER).into());
        // The upper half of the length is zero.
        asm.store(Width::Dw, R0, -HEADER, R3);
        if rings.session != 0 {
            asm.store_imm(Width::W, R0, SESSION - HEADER, rings.session as i32);
        }
        self.copy_to_r0(layout);
        if !rest.is_empty() {
            self.asm.mov(BASE, R0);
            self.read_all(rest, Base::Record);
            self.asm.mov_imm(R4, layout.size as i32 + i32::from(HEADER));
        }
        let asm = &mut self.asm;
        asm.load(Width::Dw, R1, RING, TAIL);
        asm.mov(R0, R1);
        asm.add(R1, R4);
        self.publish(RING, TAIL, R1);
        let asm = &mut self.asm;
        asm.store_imm(Width::Dw, RING, PENDING, 0);
        // Wakes the reader if this record has filled the first half of the ring.
        asm.load(Width::Dw, R1, RING, HEAD);
        asm.sub(R0, R1);
        asm.jump_if(Cond::Ge, R0, capacity / 2, published);
        asm.add(R0, R4);
        asm.jump_if(Cond::Lt, R0, capacity / 2, published);
        self.wake_reader();
    }

    /// Publishes the record through the mapped ring, whose protocol is described in
    /// `docs/mapped-ring.md`.
    pub(super) fn publish_to_mapped_ring(
        &mut self,
        layout: &Layout,
        rest: &[ReadOp],
        published: Label,
    ) {
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
            self.publish(R0, -HEADER, R3);
        } else {
            self.asm.mov(BASE, R0);
            self.read_all(rest, Base::Record);
            self.asm.mov_imm(R3, layout.size as i32);
            self.publish(BASE, -HEADER, R3);
            self.asm.mov(R2, BEFORE);
            self.asm.add_imm(R2, layout.size as i32 + i32::from(HEADER));
        }
        self.notify_reader(published);
    }

    /// Stores a word after everything that was stored before.
    fn publish(&mut self, base: Reg, at: i16, value: Reg) {
        if NATIVE == Arch::X86_64 {
            // Stores become visible in program order.
            self.asm.store(Width::Dw, base, at, value);
        } else {
            // An exchange has release semantics. BPF has no store-release before Linux 6.15.
            self.asm.exchange(base, at, value);
        }
    }

    /// Wakes the reader if this record has filled the first half of the ring; `r2` is the new value
    /// of `reserved`. Otherwise the reader polls.
    fn notify_reader(&mut self, published: Label) {
        let half = (self.plan.buffer / 2) as i32;
        let asm = &mut self.asm;
        asm.jump_if(Cond::Ge, BEFORE, half, published);
        asm.jump_if(Cond::Lt, R2, half, published);
        self.wake_reader();
    }

    /// Writes to the wakeup ring.
    fn wake_reader(&mut self) {
        let asm = &mut self.asm;
        asm.map(R1, self.maps.wakeup);
        asm.mov(R2, BASE);
        asm.mov_imm(R3, 8);
        asm.mov_imm(R4, helper::RB_FORCE_WAKEUP);
        asm.call(helper::RINGBUF_OUTPUT);
    }

    /// Publishes the record through the kernel's ring buffer.
    pub(super) fn publish_to_ring_buffer(&mut self, layout: &Layout, rest: &[ReadOp]) {
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
