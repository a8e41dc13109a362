//! The time to generate, seal and build with probes, and the size that probes add.

use crate::format::count_of;
use crate::harness::{self, SEAL, our_tool, output, time_command, with_path, write};
use crate::results::{Column, Plot, Row, Table};
use crate::rounds::{Benchmark, run_rounds};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let small = module(1)?;
    output(Command::new("go").args(["build", "-o", "plain", "."]).current_dir(&small))?;
    let (small, large) = (small.join("plain"), large()?.with_file_name("plain"));
    Ok(vec![generate()?, seal("2 MiB", &small)?, seal("102 MiB", &large)?, size()?, build()?])
}

/// Returns a definition with `probes` probes of four arguments each.
pub(crate) fn definition(probes: usize) -> String {
    let mut text = "provider many {\n".to_owned();
    for probe in 0..probes {
        let _ = writeln!(text, "    probe p{probe}(int64_t a, uint32_t b, string c, double d);");
    }
    text + "};\n"
}

/// Writes a module with a package of `probes` probes and a program that fires each of them once.
fn module(probes: usize) -> Result<PathBuf, String> {
    let folder = harness::folder().join(format!("probes-{probes}"));
    write(&folder.join("go.mod"), "module example.com/many\n\ngo 1.21\n")?;
    let mut program = "package main\n\n".to_owned();
    if probes > 0 {
        write(&folder.join("probes/probes.d"), definition(probes))?;
        output(Command::new(our_tool("usdt-gen")).arg(folder.join("probes/probes.d")))?;
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
            time_command(Command::new(our_tool("usdt-gen")).arg(&file).arg("-o").arg(&out))
                .map(|ms| vec![ms])
        };
        benchmarks.push(
            Benchmark::new(format!("usdt-gen, {}", count_of(probes, "probe")), run)
                .with_size(probes),
        );
    }
    Ok(Table {
        title: "Generating a package, by probes".to_owned(),
        how: "A package of N probes with four arguments each; the whole process, including \
             flushing files to disk."
            .to_owned(),
        columns: vec![Column::new("whole process", "ms")],
        rows: run_rounds(15, benchmarks)?,
        base: None,
        plot: Plot::Lines("probes".to_owned()),
    })
}

/// Builds a program of 100 MiB, unsealed as `plain` and sealed. Returns the path of the sealed one.
pub(crate) fn large() -> Result<PathBuf, String> {
    let folder = module(1)?.with_file_name("large");
    write(&folder.join("go.mod"), "module example.com/many\n\ngo 1.21\n")?;
    write(&folder.join("probes/probes.d"), definition(1))?;
    output(Command::new(our_tool("usdt-gen")).arg(folder.join("probes/probes.d")))?;
    write(&folder.join("data"), vec![b'x'; 100 << 20])?;
    let program = "package main\n\nimport (\n\t_ \"embed\"\n\n\t\"example.com/many/probes\"\n)\n\n//go:embed data\nvar data string\n\nfunc main() { probes.P0(int64(len(data)), 2, \"three\", 4) }\n";
    write(&folder.join("main.go"), program)?;
    output(Command::new("go").args(["build", "-o", "plain", "."]).current_dir(&folder))?;
    // Listing benchmarks need notes in the file.
    let sealed = folder.join("sealed");
    let _ = std::fs::remove_file(&sealed);
    output(
        Command::new(our_tool("usdt-gen"))
            .arg("seal")
            .arg("-o")
            .arg(&sealed)
            .arg(folder.join("plain")),
    )?;
    Ok(sealed)
}

fn seal(size: &str, plain: &Path) -> Result<Table, String> {
    let note = harness::folder().join("note");
    write(&note, [0; 256])?;
    let (note, new_file) = (&note, &|name: &str| {
        let out = harness::folder().join(name);
        let _ = std::fs::remove_file(&out);
        out
    });
    let benchmarks = vec![
        Benchmark::new("`cp`", move || {
            time_command(Command::new("cp").arg(plain).arg(new_file("copied"))).map(|ms| vec![ms])
        }),
        Benchmark::new("`usdt-gen seal -o`", move || {
            let mut seal = Command::new(our_tool("usdt-gen"));
            time_command(seal.args(["seal", "-o"]).arg(new_file("sealed")).arg(plain))
                .map(|ms| vec![ms])
        }),
        Benchmark::new("`objcopy --add-section`", move || {
            let mut objcopy = Command::new("objcopy");
            objcopy.arg(format!("--add-section=.note.stapsdt={}", note.display()));
            time_command(objcopy.arg(plain).arg(new_file("objcopied"))).map(|ms| vec![ms])
        }),
    ];
    Ok(Table {
        title: format!("Sealing a binary of {size}"),
        how: "Written to another file. `usdt-gen seal` also finds the probes, and checks its output as \
              the tracers would read it. `objcopy` adds 256 meaningless bytes."
            .to_owned(),
        columns: vec![Column::new("whole process", "ms")],
        rows: run_rounds(15, benchmarks)?,
        base: Some(0),
        plot: Plot::None,
    })
}

/// Measures sizes. They are deterministic, so each is measured once.
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
            output(with_path(&mut go))?;
            let size = std::fs::metadata(folder.join("sized")).map_err(|e| e.to_string())?.len();
            sizes.push((probes, name, size as f64));
        }
    }
    let without_probes = |name: &str| {
        sizes.iter().find(|(probes, which, _)| *probes == 0 && *which == name).map_or(0.0, |s| s.2)
    };
    let rows = sizes.iter().filter(|(probes, ..)| *probes > 0).map(|(probes, name, size)| Row {
        name: format!("{}, {name}", count_of(*probes, "probe")),
        size: None,
        samples: vec![
            vec![(size - without_probes(name)) / 1024.0],
            vec![(size - without_probes(name)) / *probes as f64],
        ],
    });
    Ok(Table {
        title: "Size that probes add to a binary".to_owned(),
        how: "A program that fires each of its probes of four arguments once, compared with one \
              without probes; built with `-trimpath`."
            .to_owned(),
        columns: vec![Column::new("total", "KiB"), Column::new("per probe", "bytes")],
        rows: rows.collect(),
        base: None,
        plot: Plot::None,
    })
}

/// Measures a build in which only the packages of the module have changed.
fn build() -> Result<Table, String> {
    let mut benchmarks = Vec::new();
    let mut turn = 0;
    let mut next_stamp = move || {
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
        let mut stamp = next_stamp();
        benchmarks.push(Benchmark::new(name, move || {
            stamp += 1_000;
            let changed = format!("package main\n\nvar _ = {stamp}\n");
            write(&folder.join("changed.go"), &changed)?;
            if probes > 0 {
                write(&folder.join("probes/changed.go"), changed.replace("main", "probes"))?;
            }
            let mut go = Command::new("go");
            go.args(["build", "-o", "built"]).args(flags).arg(".").current_dir(&folder);
            time_command(with_path(&mut go)).map(|ms| vec![ms])
        }));
    }
    Ok(Table {
        title: "Building".to_owned(),
        how: "`go build` of these programs after every package of the module has changed."
            .to_owned(),
        columns: vec![Column::new("whole build", "ms")],
        rows: run_rounds(9, benchmarks)?,
        base: Some(0),
        plot: Plot::Bars,
    })
}
