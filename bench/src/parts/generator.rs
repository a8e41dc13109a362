//! What generating, sealing and building with probes take.

use crate::harness::{self, SEAL, done, ours, timed, with_path, write};
use crate::results::{Column, Plot, Row, Table};
use crate::rounds::{Benchmark, rounds};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let small = module(1)?;
    done(Command::new("go").args(["build", "-o", "plain", "."]).current_dir(&small))?;
    let (small, large) = (small.join("plain"), large()?.with_file_name("plain"));
    Ok(vec![generate()?, seal("2 MiB", &small)?, seal("102 MiB", &large)?, size()?, build()?])
}

/// A definition of so many probes with four arguments each.
fn definition(probes: usize) -> String {
    let mut text = "provider many {\n".to_owned();
    for probe in 0..probes {
        let _ = writeln!(text, "    probe p{probe}(int64_t a, uint32_t b, string c, double d);");
    }
    text + "};\n"
}

/// A module with such a package and a program that fires each probe once.
fn module(probes: usize) -> Result<PathBuf, String> {
    let folder = harness::folder().join(format!("probes-{probes}"));
    write(&folder.join("go.mod"), "module example.com/many\n\ngo 1.21\n")?;
    let mut program = "package main\n\n".to_owned();
    if probes > 0 {
        write(&folder.join("probes/probes.d"), definition(probes))?;
        done(Command::new(ours("usdt-gen")).arg(folder.join("probes/probes.d")))?;
        program.push_str("import \"example.com/many/probes\"\n\n");
    }
    program.push_str("func main() {\n");
    for probe in 0..probes {
        let _ = writeln!(program, "\tprobes.P{probe}(1, 2, \"three\", 4)");
    }
    write(&folder.join("main.go"), program + "}\n")?;
    Ok(folder)
}

fn generate() -> Result<Table, String> {
    let mut benchmarks = Vec::new();
    for probes in [1, 10, 100, 1_000] {
        let file = harness::folder().join(format!("{probes}.d"));
        write(&file, definition(probes))?;
        let out = harness::folder().join(format!("generated-{probes}"));
        let run = move || {
            let _ = std::fs::remove_dir_all(&out);
            timed(Command::new(ours("usdt-gen")).arg(&file).arg("-o").arg(&out)).map(|ms| vec![ms])
        };
        benchmarks.push(Benchmark::new(format!("usdt-gen, {probes} probes"), run).of_size(probes));
    }
    Ok(Table {
        title: "Generating, by probes".to_owned(),
        how:
            "A package of so many probes with four arguments each; the whole process, files flushed to disk."
                .to_owned(),
        columns: vec![Column::new("whole process", "ms")],
        rows: rounds(15, benchmarks)?,
        base: None,
        plot: Plot::Lines("probes".to_owned()),
    })
}

/// A program of a hundred mebibytes, unsealed.
pub(crate) fn large() -> Result<PathBuf, String> {
    let folder = module(1)?.with_file_name("large");
    write(&folder.join("go.mod"), "module example.com/many\n\ngo 1.21\n")?;
    write(&folder.join("probes/probes.d"), definition(1))?;
    done(Command::new(ours("usdt-gen")).arg(folder.join("probes/probes.d")))?;
    write(&folder.join("data"), vec![b'x'; 100 << 20])?;
    let program = "package main\n\nimport (\n\t_ \"embed\"\n\n\t\"example.com/many/probes\"\n)\n\n//go:embed data\nvar data string\n\nfunc main() { probes.P0(int64(len(data)), 2, \"three\", 4) }\n";
    write(&folder.join("main.go"), program)?;
    done(Command::new("go").args(["build", "-o", "plain", "."]).current_dir(&folder))?;
    // Listing is about probes that are there.
    let sealed = folder.join("sealed");
    let _ = std::fs::remove_file(&sealed);
    done(
        Command::new(ours("usdt-gen")).arg("seal").arg("-o").arg(&sealed).arg(folder.join("plain")),
    )?;
    Ok(sealed)
}

fn seal(size: &str, plain: &Path) -> Result<Table, String> {
    let note = harness::folder().join("note");
    write(&note, [0; 256])?;
    let (note, fresh) = (&note, &|name: &str| {
        let out = harness::folder().join(name);
        let _ = std::fs::remove_file(&out);
        out
    });
    let benchmarks = vec![
        Benchmark::new("`cp`", move || {
            timed(Command::new("cp").arg(plain).arg(fresh("copied"))).map(|ms| vec![ms])
        }),
        Benchmark::new("`usdt-gen seal -o`", move || {
            let mut seal = Command::new(ours("usdt-gen"));
            timed(seal.args(["seal", "-o"]).arg(fresh("sealed")).arg(plain)).map(|ms| vec![ms])
        }),
        Benchmark::new("`objcopy --add-section`", move || {
            let mut objcopy = Command::new("objcopy");
            objcopy.arg(format!("--add-section=.note.stapsdt={}", note.display()));
            timed(objcopy.arg(plain).arg(fresh("objcopied"))).map(|ms| vec![ms])
        }),
    ];
    Ok(Table {
        title: format!("Sealing a binary of {size}"),
        how: "Into another file. `usdt-gen seal` also looks for the probes, and reads what it wrote as the tracers \
              would; `objcopy` adds 256 bytes that say nothing."
            .to_owned(),
        columns: vec![Column::new("whole process", "ms")],
        rows: rounds(15, benchmarks)?,
        base: Some(0),
        plot: Plot::None,
    })
}

/// Nothing to repeat here: the same bytes every time.
fn size() -> Result<Table, String> {
    let mut sizes = Vec::new();
    for probes in [0, 1, 10, 100, 1_000] {
        let folder = module(probes)?;
        for (name, flags) in [
            ("unsealed", &[][..]),
            ("sealed", &[SEAL][..]),
            ("sealed, stripped", &[SEAL, "-ldflags=-s -w"]),
        ] {
            let mut go = Command::new("go");
            go.args(["build", "-trimpath", "-o", "sized"])
                .args(flags)
                .arg(".")
                .current_dir(&folder);
            done(with_path(&mut go))?;
            let size = std::fs::metadata(folder.join("sized")).map_err(|e| e.to_string())?.len();
            sizes.push((probes, name, size as f64));
        }
    }
    let without = |name: &str| {
        sizes.iter().find(|(probes, which, _)| *probes == 0 && *which == name).map_or(0.0, |s| s.2)
    };
    let rows = sizes.iter().filter(|(probes, ..)| *probes > 0).map(|(probes, name, size)| Row {
        name: format!("{probes} probes, {name}"),
        size: None,
        samples: vec![
            vec![(size - without(name)) / 1024.0],
            vec![(size - without(name)) / *probes as f64],
        ],
    });
    Ok(Table {
        title: "What probes add to a binary".to_owned(),
        how: "A program that fires each probe of four arguments once, beside one without probes; with `-trimpath`.".to_owned(),
        columns: vec![Column::new("all", "KiB"), Column::new("a probe", "bytes")],
        rows: rows.collect(),
        base: None,
        plot: Plot::None,
    })
}

/// A build in which only these packages have changed.
fn build() -> Result<Table, String> {
    let mut benchmarks = Vec::new();
    let mut turn = 0;
    let mut another = move || {
        turn += 1;
        turn + std::process::id()
    };
    for (name, probes, flags) in [
        ("no probes", 0, &[][..]),
        ("100 probes, unsealed", 100, &[]),
        ("100 probes, sealed in the build", 100, &[SEAL]),
        ("1000 probes, sealed in the build", 1_000, &[SEAL]),
    ] {
        let folder = module(probes)?;
        let mut stamp = another();
        benchmarks.push(Benchmark::new(name, move || {
            stamp += 1_000;
            let changed = format!("package main\n\nvar _ = {stamp}\n");
            write(&folder.join("changed.go"), &changed)?;
            if probes > 0 {
                write(&folder.join("probes/changed.go"), changed.replace("main", "probes"))?;
            }
            let mut go = Command::new("go");
            go.args(["build", "-o", "built"]).args(flags).arg(".").current_dir(&folder);
            timed(with_path(&mut go)).map(|ms| vec![ms])
        }));
    }
    Ok(Table {
        title: "Building".to_owned(),
        how: "`go build` of such programs, of which every package of its own has changed since the last."
            .to_owned(),
        columns: vec![Column::new("whole build", "ms")],
        rows: rounds(9, benchmarks)?,
        base: Some(0),
        plot: Plot::Bars,
    })
}
