//! Builds the programs of `tests/go` for machines without Go, for `GOARCH` if it is set. With the
//! argument `all`, it builds those of function probes and the service with injected probes, too, which
//! takes minutes.

use gobinary::supported_releases::TESTED;
use usdt_e2e::injected::service;
use usdt_e2e::{Fixture, Mode, function_programs};

const PROGRAMS: &[(&str, &[Mode])] = &[
    ("hits", &[Mode::Plain, Mode::PlainPie]),
    ("hits", &Mode::SEALED),
    ("pairs", &[Mode::Sealed, Mode::Stripped]),
    ("bridge", &[Mode::Plain, Mode::PlainStripped, Mode::Runtime]),
    ("native", &[Mode::Plain]),
    ("ticks", &[Mode::Sealed]),
    ("cold", &[Mode::Sealed]),
];

fn main() {
    for (package, modes) in PROGRAMS {
        for mode in *modes {
            println!("{}", Fixture::get(package, *mode).display());
        }
    }
    if std::env::args().nth(1).as_deref() == Some("all")
        && let Err(problem) = build_functions().and_then(|()| build_service())
    {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}

fn build_functions() -> Result<(), String> {
    for build in function_programs::PREBUILT {
        println!("{}", function_programs::build(build)?.display());
    }
    Ok(())
}

fn build_service() -> Result<(), String> {
    let arch = std::env::var("GOARCH").unwrap_or_else(|_| "amd64".to_owned());
    let out = Fixture::place(service::PREBUILT);
    service::build(TESTED[TESTED.len() - 1], &arch, &out)?;
    println!("{}", out.display());
    Ok(())
}
