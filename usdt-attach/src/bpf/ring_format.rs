//! The mapped ring as programs and the reader share it: see `kernel::transport::mapped_ring` for the protocol.

/// Offset of the number of bytes taken.
pub(crate) const TAKEN: i16 = 0;
/// Offset of the end.
pub(crate) const END: i16 = 8;
/// Offset of the first record.
pub(crate) const DATA: i16 = 64;
/// Bytes in front of a record.
pub(crate) const HEADER: i16 = 8;
