//! What libbpf hands to a callback.
#![allow(unsafe_code)] // it is known by its address to a C library

use std::ptr::NonNull;

/// A value at an address of its own. libbpf holds the address, too, so that no reference to it may be kept.
pub(super) struct Context<T>(NonNull<T>);

impl<T: Default> Default for Context<T> {
    fn default() -> Context<T> {
        Context(NonNull::from(Box::leak(Box::<T>::default())))
    }
}

impl<T> Context<T> {
    pub(super) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Context<T> {
    fn drop(&mut self) {
        // SAFETY: leaked by `default` and freed here alone. Who gave it to libbpf frees the reader first.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
