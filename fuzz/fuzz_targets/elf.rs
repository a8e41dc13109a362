//! ELF files whose sections and segments overlap, repeat and lie: scanning them neither panics nor
//! takes more than its share of memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;
use usdt_attach::discover::{add_function_entries, scan_file};
use usdt_fuzz::elf_mutation::mutate;
use usdt_fuzz::with_memory_limit;
use usdt_gen::seal::{Options, sample_elf, seal};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = PathBuf::from(format!("/dev/shm/usdt-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder in memory");
    folder
});

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let mut file = sample_elf::corrupted(&[]);
    if kind % 2 == 0 {
        let sealed = seal(&file, &Options::default()).expect("a valid file can be sealed");
        file = sealed.patches.expect("it has a probe").to_vec(&file);
    }
    mutate(&mut file, &[], data);
    let path = FOLDER.join("file");
    std::fs::write(&path, &file).expect("space in memory");
    with_memory_limit(|| {
        if let Ok(object) = scan_file(&path) {
            let globs = ["go:*", "func:*", "func:*%return"].map(str::to_owned);
            add_function_entries(&mut [object], &globs);
        }
        usdt_attach::fuzzing::linker(&path);
    });
});
