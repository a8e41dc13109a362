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

/// An address size and a byte order, with the machine number.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// `e_machine`.
    pub machine: u16,
    /// True for 64-bit addresses.
    pub is64: bool,
    /// True if the most significant byte comes first.
    pub big_endian: bool,
}

/// The address of the site in [`with_note`].
pub const SITE: u64 = 0x1_0100;

/// Returns a file for any machine with one probe, `prov:name`.
pub fn with_note(target: Target, args: &str) -> Vec<u8> {
    use stapsdt::note::{Format, Note};
    /// File offset of the text. The segment begins at the start of the file.
    const TEXT: u64 = 0x100;
    let Target { machine, is64, big_endian } = target;
    let bytes = |value: u64, size: usize| -> Vec<u8> {
        let all = value.to_be_bytes();
        let mut bytes = all[8 - size..].to_vec();
        if !big_endian {
            bytes.reverse();
        }
        bytes
    };
    let word = if is64 { 8 } else { 4 };
    let fields = |fields: &[(u64, usize)]| -> Vec<u8> {
        fields.iter().flat_map(|(value, size)| bytes(*value, *size)).collect()
    };
    let note = Note {
        pc: SITE,
        base: 0,
        semaphore: 0,
        provider: "prov".into(),
        name: "name".into(),
        args: args.into(),
    };
    let mut notes = Vec::new();
    note.encode(Format { is64, big_endian }, &mut notes).unwrap();
    let names = b"\0.text\0.note.stapsdt\0.shstrtab\0";
    let notes_at = TEXT + 16;
    let names_at = notes_at + notes.len() as u64;
    let sections_at = (names_at + names.len() as u64).next_multiple_of(8);
    let (header, program_header, section_header) = if is64 { (64, 56, 64) } else { (52, 32, 40) };
    let mut out = b"\x7fELF".to_vec();
    out.extend([if is64 { 2 } else { 1 }, if big_endian { 2 } else { 1 }, 1]);
    out.resize(16, 0);
    out.extend(fields(&[(3, 2), (machine.into(), 2), (1, 4), (SITE, word), (header, word)]));
    out.extend(fields(&[(sections_at, word), (0, 4), (header, 2), (program_header, 2), (1, 2)]));
    out.extend(fields(&[(section_header, 2), (4, 2), (3, 2)]));
    let (vaddr, size) = (SITE - TEXT, TEXT + 16);
    out.extend(if is64 {
        fields(&[(1, 4), (5, 4), (0, 8), (vaddr, 8), (vaddr, 8), (size, 8), (size, 8), (4096, 8)])
    } else {
        fields(&[(1, 4), (0, 4), (vaddr, 4), (vaddr, 4), (size, 4), (size, 4), (5, 4), (4096, 4)])
    });
    out.resize(TEXT as usize + 16, 0);
    out.extend(&notes);
    out.extend(names);
    out.resize(sections_at as usize, 0);
    let mut section = |name: u64, kind: u64, flags: u64, addr: u64, offset: u64, size: u64| {
        out.extend(fields(&[(name, 4), (kind, 4), (flags, word), (addr, word), (offset, word)]));
        out.extend(fields(&[(size, word), (0, 4), (0, 4), (4, word), (0, word)]));
    };
    section(0, 0, 0, 0, 0, 0);
    section(1, 1, 6, SITE, TEXT, 16);
    section(7, 7, 0, 0, notes_at, notes.len() as u64);
    section(21, 3, 0, 0, names_at, names.len() as u64);
    out
}
