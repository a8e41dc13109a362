//! The starts of one goroutine or thread whose ends have not come.

use std::collections::VecDeque;
use usdt_attach::session::MAX_NESTED_CALLS;

/// Number of starts at each end of the stack that are kept.
const HALF: usize = MAX_NESTED_CALLS as usize / 2;

/// A stack of open calls: an end belongs to the innermost one.
///
/// It has at most [`MAX_NESTED_CALLS`] calls, the outermost and the innermost half of them. Like the
/// histograms of the kernel, it loses those in the middle, so that starts whose ends never come do
/// not keep later calls from being paired.
///
/// ```
/// use usdt_export::call_stack::{CallStack, Popped};
///
/// let mut stack = CallStack::default();
/// stack.push("outer");
/// stack.push("inner");
/// assert_eq!(stack.pop(), Popped::Call("inner"));
/// assert_eq!(stack.pop(), Popped::Call("outer"));
/// assert_eq!(stack.pop(), Popped::Empty);
/// ```
#[derive(Clone, Debug)]
pub struct CallStack<T> {
    outermost: Vec<T>,
    /// The number of calls that were lost between the two halves.
    lost: u64,
    innermost: VecDeque<T>,
}

/// What an end belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popped<T> {
    /// The innermost call.
    Call(T),
    /// A call that was lost, because too many were nested in it.
    TooDeep,
    /// No call is open.
    Empty,
}

impl<T> Default for CallStack<T> {
    fn default() -> Self {
        CallStack { outermost: Vec::new(), lost: 0, innermost: VecDeque::new() }
    }
}

impl<T> CallStack<T> {
    /// Adds a call. Returns the call that is lost because of it, if the stack is full.
    pub fn push(&mut self, call: T) -> Option<T> {
        if self.outermost.len() < HALF && self.lost == 0 && self.innermost.is_empty() {
            self.outermost.push(call);
            return None;
        }
        self.innermost.push_back(call);
        let lost = if self.innermost.len() > HALF { self.innermost.pop_front() } else { None };
        self.lost += u64::from(lost.is_some());
        lost
    }

    /// Removes the innermost call.
    pub fn pop(&mut self) -> Popped<T> {
        if let Some(call) = self.innermost.pop_back() {
            return Popped::Call(call);
        }
        if self.lost > 0 {
            self.lost -= 1;
            return Popped::TooDeep;
        }
        self.outermost.pop().map_or(Popped::Empty, Popped::Call)
    }

    /// Removes the outermost call for which a condition holds, such as the oldest one.
    pub fn remove(&mut self, is_wanted: impl Fn(&T) -> bool) -> Option<T> {
        if let Some(index) = self.outermost.iter().position(&is_wanted) {
            return Some(self.outermost.remove(index));
        }
        let index = self.innermost.iter().position(is_wanted)?;
        self.innermost.remove(index)
    }

    /// The number of calls that are open and not lost.
    pub fn len(&self) -> usize {
        self.outermost.len() + self.innermost.len()
    }

    /// True if no call is left that an end could belong to.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the calls that are left, the outermost first.
    pub fn into_calls(self) -> impl Iterator<Item = T> {
        self.outermost.into_iter().chain(self.innermost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Compares with an unbounded stack.
        #[test]
        fn pairs_as_an_unbounded_stack_does(
            parts in proptest::collection::vec((0usize..60, 0usize..60), 0..12),
        ) {
            let (mut stack, mut model) = (CallStack::default(), Vec::new());
            let mut next = 0u32;
            for (pushes, pops) in parts {
                for _ in 0..pushes {
                    let lost = stack.push(next);
                    let index = model.len().checked_sub(HALF).filter(|index| *index >= HALF);
                    prop_assert_eq!(lost, index.and_then(|index| model[index]));
                    if let Some(index) = index {
                        model[index] = None;
                    }
                    model.push(Some(next));
                    next += 1;
                }
                for _ in 0..pops {
                    let expected = match model.pop() {
                        None => Popped::Empty,
                        Some(None) => Popped::TooDeep,
                        Some(Some(call)) => Popped::Call(call),
                    };
                    prop_assert_eq!(stack.pop(), expected);
                }
                prop_assert_eq!(stack.len(), model.iter().flatten().count());
                prop_assert!(stack.len() <= MAX_NESTED_CALLS as usize);
            }
            let left: Vec<u32> = stack.into_calls().collect();
            let expected: Vec<u32> = model.into_iter().flatten().collect();
            prop_assert_eq!(left, expected);
        }

        #[test]
        fn removing_the_oldest_call_leaves_the_others_in_order(count in 1u32..80, removed in 0u32..80) {
            let mut stack = CallStack::default();
            for call in 0..count {
                stack.push(call);
            }
            let was_open = stack.clone().into_calls().any(|call| call == removed);
            prop_assert_eq!(stack.remove(|call| *call == removed), was_open.then_some(removed));
            let left: Vec<u32> = stack.into_calls().collect();
            prop_assert!(left.is_sorted() && !left.contains(&removed));
        }
    }
}
