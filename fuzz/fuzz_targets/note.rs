//! Notes: a decoded note can be encoded, and decodes to the same note.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stapsdt::note::{Format, NoteIter};
use usdt_fuzz::with_memory_limit;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let format = Format { is64: kind & 1 == 0, big_endian: kind & 2 != 0 };
    with_memory_limit(|| {
        let mut notes = NoteIter::new(data, format);
        while let Ok(Some(raw)) = notes.next_note() {
            let Ok(note) = raw.decode(format) else { continue };
            let mut bytes = Vec::new();
            note.encode(format, &mut bytes).expect("a decoded note can be encoded");
            let encoded = NoteIter::new(&bytes, format)
                .next_note()
                .expect("a complete note")
                .expect("one note");
            assert_eq!(encoded.decode(format), Ok(note));
        }
    });
});
