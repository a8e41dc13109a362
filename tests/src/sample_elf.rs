//! ELF files for tests of hostile input: any headers, with any content.

/// A section header.
#[derive(Clone, Copy, Default)]
pub struct Section {
    /// The offset of the name in the content of the string table.
    pub name: u32,
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// The link-time address.
    pub addr: u64,
    /// The file offset in bytes.
    pub offset: u64,
    /// The size in bytes.
    pub size: u64,
    /// `sh_link`.
    pub link: u32,
}

/// A program header.
#[derive(Clone, Copy, Default)]
pub struct Segment {
    /// `p_type`.
    pub kind: u32,
    /// `p_flags`.
    pub flags: u32,
    /// The file offset in bytes.
    pub offset: u64,
    /// The link-time address.
    pub vaddr: u64,
    /// The size in bytes in the file.
    pub filesz: u64,
}

/// `PT_LOAD`.
pub const PT_LOAD: u32 = 1;
/// `PT_NOTE`.
pub const PT_NOTE: u32 = 4;
/// The file offset of the content.
pub const CONTENT: u64 = 64;

/// Returns an executable for amd64: the ELF header, then `content`, then the program headers, then
/// the section headers. The last section has the section names.
pub fn elf(content: &[u8], segments: &[Segment], sections: &[Section]) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    let phoff = CONTENT + content.len() as u64;
    let shoff = phoff + 56 * segments.len() as u64;
    for half in [2u16, 62] {
        out.extend(half.to_le_bytes());
    }
    out.extend(1u32.to_le_bytes());
    for word in [0, if segments.is_empty() { 0 } else { phoff }] {
        out.extend(word.to_le_bytes());
    }
    out.extend(if sections.is_empty() { 0 } else { shoff }.to_le_bytes());
    out.extend(0u32.to_le_bytes());
    let last = sections.len().saturating_sub(1);
    for half in [64, 56, segments.len(), 64, sections.len(), last] {
        out.extend((half as u16).to_le_bytes());
    }
    out.extend(content);
    for segment in segments {
        out.extend(segment.kind.to_le_bytes());
        out.extend(segment.flags.to_le_bytes());
        let Segment { offset, vaddr, filesz, .. } = *segment;
        for word in [offset, vaddr, vaddr, filesz, filesz, 1] {
            out.extend(word.to_le_bytes());
        }
    }
    for section in sections {
        out.extend(section.name.to_le_bytes());
        out.extend(section.kind.to_le_bytes());
        for word in [section.flags, section.addr, section.offset, section.size] {
            out.extend(word.to_le_bytes());
        }
        out.extend(section.link.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend([0; 16]);
    }
    out
}

/// Encodes a stapsdt note with its strings unchanged.
pub fn note(pc: u64, semaphore: u64, strings: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [8, 24 + strings.len() as u32, 3] {
        out.extend(word.to_le_bytes());
    }
    out.extend(b"stapsdt\0");
    [pc, 0, semaphore].iter().for_each(|word| out.extend(word.to_le_bytes()));
    out.extend(strings);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}
