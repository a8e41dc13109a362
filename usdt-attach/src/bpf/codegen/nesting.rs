//! Starts and ends of nested calls; `plan::nesting` describes the two maps.
//!
//! A goroutine and a thread run on one CPU at a time, so the number of nested starts needs no
//! atomic operation.

use super::action::{BPF_ANY, BPF_NOEXIST, VALUE};
use super::{BASE, Cond, Emitter, R0, R1, R2, Width, helper};
use crate::bpf::Counter;
use crate::plan::nesting::{INNERMOST, OUTERMOST};
use crate::plan::{FrameRegion, Nesting};

impl Emitter<'_> {
    /// Saves the time of a start. An outermost start takes one map operation.
    ///
    /// A start whose labels cannot be read is saved with the time 0, so that its end does not take
    /// the start of another call.
    pub(super) fn start_nested(
        &mut self,
        key: &FrameRegion,
        saved: &FrameRegion,
        nesting: Nesting,
    ) {
        let (has_time, pushed) = (self.asm.label(), self.asm.label());
        let level = saved.at + saved.size - 8;
        self.fill(key);
        self.fill(saved);
        self.asm.store_imm(Width::Dw, BASE, level as i16, 0);
        if nesting.label_faults == 0 {
            self.asm.call(helper::KTIME_GET_NS);
        } else {
            let no_time = self.asm.label();
            self.asm.mov_imm(R0, 0);
            self.jump_if_any_fault(nesting.label_faults, no_time);
            self.asm.call(helper::KTIME_GET_NS);
            self.asm.place(no_time);
        }
        self.asm.store(Width::Dw, BASE, saved.at as i16, R0);
        self.save_start(self.maps.starts, key, saved, BPF_NOEXIST);
        self.asm.jump_if(Cond::Eq, R0, 0, pushed);
        self.asm.jump_if(Cond::Ne, R0, -libc::EEXIST, self.dropped);
        self.map_and_key(self.maps.starts, key);
        self.asm.call(helper::MAP_LOOKUP_ELEM);
        self.asm.jump_if(Cond::Eq, R0, 0, self.dropped);
        let count = (saved.size - 8) as i16;
        self.asm.load(Width::Dw, R1, R0, count);
        self.asm.add_imm(R1, 1);
        self.asm.store(Width::Dw, R0, count, R1);
        self.asm.store(Width::Dw, BASE, level as i16, R1);
        self.store_slot(key);
        self.save_start(self.maps.nested, key, saved, BPF_ANY);
        self.asm.jump_if(Cond::Ne, R0, 0, self.dropped);
        self.asm.place(pushed);
        if nesting.label_faults != 0 {
            self.asm.load(Width::Dw, R1, BASE, saved.at as i16);
            self.asm.jump_if(Cond::Ne, R1, 0, has_time);
            self.asm.jump(self.dropped);
        }
        self.asm.place(has_time);
    }

    /// Adds the time since the innermost start to the histogram of a key.
    pub(super) fn end_nested(
        &mut self,
        start: &FrameRegion,
        key: &FrameRegion,
        kept: u32,
        nesting: Nesting,
    ) {
        let (outermost, popped) = (self.asm.label(), self.asm.label());
        let (missing, unmatched) = (self.asm.label(), self.asm.label());
        let level = (start.at + start.size + 8) as i16;
        let count = 8 + kept as i16;
        self.fill(start);
        self.fill(key);
        self.asm.call(helper::KTIME_GET_NS);
        self.asm.mov(VALUE, R0);
        self.map_and_key(self.maps.starts, start);
        self.asm.call(helper::MAP_LOOKUP_ELEM);
        self.asm.jump_if(Cond::Eq, R0, 0, unmatched);
        self.asm.load(Width::Dw, R1, R0, count);
        self.asm.jump_if(Cond::Eq, R1, 0, outermost);

        self.asm.store(Width::Dw, BASE, level, R1);
        self.asm.mov(R2, R1);
        self.asm.add_imm(R2, -1);
        self.asm.store(Width::Dw, R0, count, R2);
        self.store_slot(start);
        self.map_and_key(self.maps.nested, start);
        self.asm.call(helper::MAP_LOOKUP_ELEM);
        self.asm.jump_if(Cond::Eq, R0, 0, missing);
        self.asm.load(Width::Dw, R1, R0, count);
        self.asm.load(Width::Dw, R2, BASE, level);
        self.asm.jump_if_reg(Cond::Ne, R1, R2, missing);
        self.keep_time(level, kept);
        self.load_start(key, kept);
        self.map_and_key(self.maps.nested, start);
        self.asm.call(helper::MAP_DELETE_ELEM);
        self.asm.jump_if(Cond::Ne, R0, 0, unmatched);
        self.asm.jump(popped);

        self.asm.place(outermost);
        self.keep_time(level, kept);
        self.load_start(key, kept);
        self.map_and_key(self.maps.starts, start);
        self.asm.call(helper::MAP_DELETE_ELEM);
        // If two ends race for a start, only the one that deletes it counts.
        self.asm.jump_if(Cond::Ne, R0, 0, unmatched);

        self.asm.place(popped);
        if kept > 0 {
            self.asm.load(Width::Dw, R1, BASE, level);
            self.asm.jump_if(Cond::Eq, R1, 0, unmatched);
        }
        self.jump_if_any_fault(nesting.label_faults, self.dropped);
        self.aggregate(key);
        self.asm.jump(self.done);
        self.asm.place(missing);
        self.asm.load(Width::Dw, R1, BASE, level);
        self.asm.jump_if(Cond::Lt, R1, OUTERMOST as i32, unmatched);
        self.count(Counter::TooDeep);
        self.asm.jump(self.done);
        self.asm.place(unmatched);
        self.count(Counter::Unmatched);
    }

    /// Stores the time of the start at `r0` in the frame, if it may be that of a start whose labels
    /// could not be read.
    fn keep_time(&mut self, to: i16, kept: u32) {
        if kept > 0 {
            self.asm.load(Width::Dw, R1, R0, 0);
            self.asm.store(Width::Dw, BASE, to, R1);
        }
    }

    /// Stores the slot of the level in `r1` after the key.
    fn store_slot(&mut self, key: &FrameRegion) {
        let has_slot = self.asm.label();
        self.asm.jump_if(Cond::Lt, R1, OUTERMOST as i32, has_slot);
        self.asm.and_imm(R1, INNERMOST as i32 - 1);
        self.asm.add_imm(R1, OUTERMOST as i32);
        self.asm.place(has_slot);
        self.asm.store(Width::Dw, BASE, (key.at + key.size) as i16, R1);
    }
}
