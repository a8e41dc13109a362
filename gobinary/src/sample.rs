//! Sample ELF files for unit tests.

/// The size of an ELF header and two program headers.
pub(crate) const HEADERS: usize = 64 + 2 * 56;

/// Returns a position-independent file without section headers, whose data segment starts with
/// `data`. The segment is loaded where it is in the file.
pub(crate) fn file(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    out.resize(16, 0);
    out.extend([3u16, 62].iter().flat_map(|half| half.to_le_bytes()));
    out.extend(1u32.to_le_bytes());
    out.extend([0u64, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
    out.extend(0u32.to_le_bytes());
    out.extend([64u16, 56, 2, 64, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    let size = (HEADERS + data.len()) as u64;
    for (flags, start, size) in [(5u32, 0, HEADERS as u64), (6, HEADERS as u64, size - 176)] {
        out.extend([1, flags].iter().flat_map(|word| word.to_le_bytes()));
        let words = [start, start, start, size, size, 8];
        out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }
    out.extend(data);
    out
}
