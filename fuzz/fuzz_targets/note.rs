//! Notes: what is read and written again reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stapsdt::note::{Format, NoteIter};
use usdt_fuzz::metered;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let format = Format { is64: kind & 1 == 0, big_endian: kind & 2 != 0 };
    metered(|| {
        let mut notes = NoteIter::new(data, format);
        while let Ok(Some(raw)) = notes.next_note() {
            let Ok(note) = raw.decode(format) else { continue };
            let mut bytes = Vec::new();
            note.encode(format, &mut bytes).expect("what was read can be written");
            let again = NoteIter::new(&bytes, format)
                .next_note()
                .expect("it is whole")
                .expect("it is there");
            assert_eq!(again.decode(format), Ok(note));
        }
    });
});
