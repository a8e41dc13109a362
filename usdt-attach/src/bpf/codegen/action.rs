//! Actions: writing a record, or updating a map.

use super::reads::Base;
use super::{BASE, Cond, Emitter, Label, R0, R1, R2, R3, R9, Reg, Width, helper};
use crate::bpf::Counter;
use crate::bpf::asm::R4;
use crate::plan::record_layout::FAULTS;
use crate::plan::{
    Action, Buckets, FIRST_BUCKET, Frame, FrameRegion, Handler, KeyWrite, aligned_unit,
};

pub(super) const BPF_ANY: i32 = 0;
pub(super) const BPF_NOEXIST: i32 = 1;

/// The value to aggregate. It takes the register of the cookie, which is not needed any more.
pub(super) const VALUE: Reg = R9;

impl Emitter<'_> {
    /// Compiles the action of a handler.
    pub(super) fn action(&mut self, handler: &Handler) {
        match &handler.action {
            Action::Record(layout) => self.record(layout),
            Action::Count => {}
            Action::Aggregate { key, value } => {
                self.read_for_action(&handler.frame);
                if let Some(slot) = value {
                    self.load_slot(VALUE, *slot);
                }
                self.fill(key);
                self.aggregate(key);
            }
            Action::Start { key, saved, nesting: None, .. } => {
                self.read_for_action(&handler.frame);
                self.start(key, saved);
            }
            Action::Start { key, saved, nesting: Some(nesting), .. } => {
                self.read_for_action(&handler.frame);
                self.start_nested(key, saved, *nesting);
            }
            Action::End { start, key, kept, nesting: None, .. } => {
                self.read_for_action(&handler.frame);
                self.end(start, key, *kept);
            }
            Action::End { start, key, kept, nesting: Some(nesting), .. } => {
                self.read_for_action(&handler.frame);
                self.end_nested(start, key, *kept, *nesting);
            }
        }
    }

    /// Reads what only hits that passed the filter need. Drops the hit if a required read fails.
    fn read_for_action(&mut self, frame: &Frame) {
        self.read_all(&frame.action_reads, Base::Frame);
        self.jump_if_any_fault(frame.required, self.dropped);
    }

    /// Jumps if a read has failed that sets one of these fault bits.
    pub(super) fn jump_if_any_fault(&mut self, bits: u32, label: Label) {
        if bits == 0 {
            return;
        }
        self.asm.load(Width::W, R1, BASE, FAULTS as i16);
        self.asm.mov_imm64(R2, i64::from(bits));
        self.asm.and(R1, R2);
        self.asm.jump_if(Cond::Ne, R1, 0, label);
    }

    /// Writes the fields of a key or value.
    pub(super) fn fill(&mut self, region: &FrameRegion) {
        for write in &region.writes {
            match *write {
                KeyWrite::Constant { to, value } => {
                    self.asm.mov_imm64(R1, i64::from(value));
                    self.asm.store(Width::Dw, BASE, to as i16, R1);
                }
                KeyWrite::Slot { to, from } => {
                    self.load_slot(R1, from);
                    self.asm.store(Width::Dw, BASE, to as i16, R1);
                }
                KeyWrite::Difference { to, from, subtract } => {
                    self.load_slot(R1, from);
                    self.load_slot(R2, subtract);
                    self.asm.sub(R1, R2);
                    self.asm.store(Width::Dw, BASE, to as i16, R1);
                }
            }
        }
    }

    /// `r1 = map, r2 = key`.
    pub(super) fn map_and_key(&mut self, map: i32, key: &FrameRegion) {
        self.address_of(key.at);
        self.asm.mov(R2, R1);
        self.asm.map(R1, map);
    }

    /// Adds `VALUE` to the histogram of a key, or 1 to its count. Creates the entry if there is
    /// none.
    pub(super) fn aggregate(&mut self, key: &FrameRegion) {
        let Some(table) = &self.plan.table else { return };
        let found = self.asm.label();
        self.map_and_key(self.maps.table, key);
        self.asm.call(helper::MAP_LOOKUP_ELEM);
        if !table.is_array() {
            self.asm.jump_if(Cond::Ne, R0, 0, found);
            self.map_and_key(self.maps.table, key);
            self.asm.map_value(R3, self.maps.zero);
            self.asm.mov_imm(R4, BPF_NOEXIST);
            self.asm.call(helper::MAP_UPDATE_ELEM);
            // The update fails if another CPU has created the entry meanwhile, or if the table is
            // full.
            self.map_and_key(self.maps.table, key);
            self.asm.call(helper::MAP_LOOKUP_ELEM);
        }
        self.asm.jump_if(Cond::Eq, R0, 0, self.dropped);
        self.asm.place(found);
        match table.buckets {
            None => {
                self.asm.mov_imm(R1, 1);
                self.asm.atomic_add(R0, 0, R1);
            }
            Some(buckets) => self.bucket(buckets),
        }
    }

    /// Adds `VALUE` to the histogram at `r0`.
    fn bucket(&mut self, buckets: Buckets) {
        self.asm.atomic_add(R0, 0, VALUE);
        // The highest value and the complement of the lowest. They are not updated atomically: of
        // two hits that preempt each other on one CPU, one may be lost.
        for (offset, complement) in [(8, false), (16, true)] {
            let not_higher = self.asm.label();
            self.asm.mov(R1, VALUE);
            if buckets.signed() {
                self.asm.mov_imm64(R2, i64::MIN);
                self.asm.xor(R1, R2);
            }
            if complement {
                self.asm.xor_imm(R1, -1);
            }
            self.asm.load(Width::Dw, R2, R0, offset);
            self.asm.jump_if_reg(Cond::Le, R1, R2, not_higher);
            self.asm.store(Width::Dw, R0, offset, R1);
            self.asm.place(not_higher);
        }
        match buckets {
            Buckets::Log2 { signed } => {
                self.magnitude(signed);
                self.bit_len();
                self.mirror(signed, buckets.center());
            }
            Buckets::Exponential { unit, signed } => {
                self.magnitude(signed);
                self.exponential_index(unit);
                self.mirror(signed, buckets.center());
            }
            Buckets::Time { unit, signed } => {
                self.magnitude(signed);
                let found = self.asm.label();
                self.search(unit.bounds(), 0, found);
                self.asm.place(found);
                self.mirror(signed, buckets.center());
            }
            Buckets::Linear { low, high, step, signed } => self.linear(low, high, step, signed),
        }
        // Always true; the verifier needs the bound.
        self.asm.jump_if(Cond::Ge, R1, buckets.count() as i32, self.dropped);
        self.asm.shl(R1, 3);
        self.asm.add(R0, R1);
        self.asm.mov_imm(R1, 1);
        self.asm.atomic_add(R0, 8 * FIRST_BUCKET as i16, R1);
    }

    /// `r2 = |VALUE|`.
    fn magnitude(&mut self, signed: bool) {
        let asm = &mut self.asm;
        asm.mov(R2, VALUE);
        if signed {
            let positive = asm.label();
            asm.jump_if(Cond::Sge, R2, 0, positive);
            asm.neg(R2);
            asm.place(positive);
        }
    }

    /// `r1 = ` the number of bits of `r2`, found by halving the range.
    fn bit_len(&mut self) {
        let asm = &mut self.asm;
        asm.mov_imm(R1, 0);
        for half in [32, 16, 8, 4, 2, 1] {
            let small = asm.label();
            asm.mov(R3, R2);
            asm.shr(R3, half);
            asm.jump_if(Cond::Eq, R3, 0, small);
            asm.mov(R2, R3);
            asm.add_imm(R1, half);
            asm.place(small);
        }
        // `r2` is 0 or 1 now.
        asm.add(R1, R2);
    }

    /// `r1 = ` the exponential bucket of `r2`: its number of bits, plus one for a value above the
    /// power of two of the unit with as many bits. To compare with that power, `r2` is shifted
    /// until its highest bit is set.
    fn exponential_index(&mut self, unit: u32) {
        let done = self.asm.label();
        let asm = &mut self.asm;
        asm.mov_imm(R1, 0);
        asm.jump_if(Cond::Eq, R2, 0, done);
        asm.mov_imm(R1, 64);
        for half in [32, 16, 8, 4, 2, 1] {
            let large = asm.label();
            asm.mov(R3, R2);
            asm.shr(R3, 64 - half);
            asm.jump_if(Cond::Ne, R3, 0, large);
            asm.shl(R2, half);
            asm.add_imm(R1, -half);
            asm.place(large);
        }
        asm.mov_imm64(R3, aligned_unit(unit) as i64);
        asm.jump_if_reg(Cond::Le, R2, R3, done);
        asm.add_imm(R1, 1);
        asm.place(done);
    }

    /// `r1 = first + ` the number of bounds below `r2`, by binary search. Goes on at `found`.
    fn search(&mut self, bounds: &[u64], first: i32, found: Label) {
        let middle = bounds.len() / 2;
        let (lower, upper) = bounds.split_at(middle);
        let Some((bound, upper)) = upper.split_first() else {
            self.asm.mov_imm(R1, first);
            self.asm.jump(found);
            return;
        };
        let above = self.asm.label();
        self.asm.mov_imm64(R3, *bound as i64);
        self.asm.jump_if_reg(Cond::Gt, R2, R3, above);
        self.search(lower, first, found);
        self.asm.place(above);
        self.search(upper, first + middle as i32 + 1, found);
    }

    /// Adjusts `r1` for signed values: buckets of negative values precede those of positive ones.
    fn mirror(&mut self, signed: bool, center: usize) {
        if !signed {
            return;
        }
        let (negative, done) = (self.asm.label(), self.asm.label());
        let asm = &mut self.asm;
        asm.jump_if(Cond::Slt, VALUE, 0, negative);
        asm.add_imm(R1, center as i32);
        asm.jump(done);
        asm.place(negative);
        asm.neg(R1);
        asm.add_imm(R1, center as i32);
        asm.place(done);
    }

    /// `r1 = ` the linear bucket of `VALUE`.
    fn linear(&mut self, low: i64, high: i64, step: u32, signed: bool) {
        let buckets = Buckets::Linear { low, high, step, signed };
        let (below, above, done) = (self.asm.label(), self.asm.label(), self.asm.label());
        let (less, more) = if signed { (Cond::Slt, Cond::Sge) } else { (Cond::Lt, Cond::Ge) };
        // No unsigned value is below a negative bound.
        let (from, to) = if signed { (low, high) } else { (low.max(0), high.max(0)) };
        let asm = &mut self.asm;
        asm.mov_imm64(R2, from);
        asm.jump_if_reg(less, VALUE, R2, below);
        asm.mov_imm64(R2, to);
        asm.jump_if_reg(more, VALUE, R2, above);
        asm.mov_imm64(R2, low);
        asm.mov(R1, VALUE);
        asm.sub(R1, R2);
        asm.mov_imm64(R2, i64::from(step));
        asm.div(R1, R2);
        asm.add_imm(R1, 1);
        asm.jump(done);
        asm.place(below);
        asm.mov_imm(R1, 0);
        asm.jump(done);
        asm.place(above);
        asm.mov_imm(R1, buckets.count() as i32 - 1);
        asm.place(done);
    }

    /// Saves the time of a start. It replaces an earlier start with the same key.
    fn start(&mut self, key: &FrameRegion, saved: &FrameRegion) {
        let saved_new = self.asm.label();
        self.fill(key);
        self.fill(saved);
        self.asm.call(helper::KTIME_GET_NS);
        self.asm.store(Width::Dw, BASE, saved.at as i16, R0);
        self.save_start(self.maps.starts, key, saved, BPF_NOEXIST);
        self.asm.jump_if(Cond::Eq, R0, 0, saved_new);
        self.asm.jump_if(Cond::Ne, R0, -libc::EEXIST, self.dropped);
        self.count(Counter::Overwritten);
        self.save_start(self.maps.starts, key, saved, BPF_ANY);
        self.asm.jump_if(Cond::Ne, R0, 0, self.dropped);
        self.asm.place(saved_new);
    }

    /// Writes a start to the map. `r0 = ` 0 or a negative error number, sign-extended because older
    /// kernels return 32 bits.
    pub(super) fn save_start(
        &mut self,
        map: i32,
        key: &FrameRegion,
        saved: &FrameRegion,
        flags: i32,
    ) {
        self.map_and_key(map, key);
        self.asm.mov(R3, BASE);
        self.asm.add_imm(R3, saved.at as i32);
        self.asm.mov_imm(R4, flags);
        self.asm.call(helper::MAP_UPDATE_ELEM);
        self.asm.shl(R0, 32);
        self.asm.sar(R0, 32);
    }

    /// Adds the time since the start to the histogram of a key.
    fn end(&mut self, start: &FrameRegion, key: &FrameRegion, kept: u32) {
        let unmatched = self.asm.label();
        self.fill(start);
        self.fill(key);
        self.asm.call(helper::KTIME_GET_NS);
        self.asm.mov(VALUE, R0);
        self.map_and_key(self.maps.starts, start);
        self.asm.call(helper::MAP_LOOKUP_ELEM);
        self.asm.jump_if(Cond::Eq, R0, 0, unmatched);
        self.load_start(key, kept);
        self.map_and_key(self.maps.starts, start);
        self.asm.call(helper::MAP_DELETE_ELEM);
        // If two ends race for a start, only the one that deletes it counts.
        self.asm.jump_if(Cond::Ne, R0, 0, unmatched);
        self.aggregate(key);
        self.asm.jump(self.done);
        self.asm.place(unmatched);
        self.count(Counter::Unmatched);
    }

    /// Subtracts the time of the start at `r0` from `VALUE`, and appends its labels to a key.
    pub(super) fn load_start(&mut self, key: &FrameRegion, kept: u32) {
        self.asm.load(Width::Dw, R1, R0, 0);
        self.asm.sub(VALUE, R1);
        for at in (0..kept).step_by(8) {
            self.asm.load(Width::Dw, R1, R0, 8 + at as i16);
            self.asm.store(Width::Dw, BASE, (key.at + key.size - kept + at) as i16, R1);
        }
    }
}
