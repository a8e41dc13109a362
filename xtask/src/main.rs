//! Developer tasks. CI and the documentation use only these.

mod bench;
mod book;
mod catalog;
mod command;
mod demo;
mod fuzz;
mod go_releases;
mod golden;
mod kernels;
mod known;
mod messages;
mod packages;
mod policy;
mod release;
mod revisions;
mod semver;
mod setup;
mod suite;
mod test;
mod tools;
mod uapi;
mod words;

use command::{Failure, Outcome};

/// A task: its name, a description, and the function that runs it.
type Task = (&'static str, &'static str, fn(&[String]) -> Outcome);

const TASKS: &[Task] = &[
    ("setup", "install the requirements of all tasks: Debian packages, Go, emulators", setup::run),
    ("demo", "build the example service, send it requests, trace it", demo::run),
    ("test", "run every check and test", test::run),
    ("words", "check spelling, glossary and Markdown against docs/writing.md", words::run),
    ("e2e", "run only the end-to-end suite; [TEST...]", test::e2e),
    (
        "kernels",
        "run the tracing tests on other kernels; [KERNEL...] [TEST...] [--cpus=N]",
        kernels::run,
    ),
    ("matrix", "test each combination of Go release, build and tracer; [WORD...]", test::matrix),
    (
        "soak",
        "stress the tracers, also next to hostile neighbors, or function probes; [hostile|functions] \
         [MINUTES]",
        test::soak,
    ),
    (
        "golden",
        "regenerate checked-in files; [catalog releases uapi go messages snapshots instructions \
         recording]",
        golden::run,
    ),
    ("uapi", "regenerate the structures of bpf(2) from kernel headers; [FOLDER]", uapi::run),
    (
        "bench",
        "measure and write docs/benchmarks.md; [off on attacher generator overlay service caddy \
         inject functions packages agent rings]; run each once without recording; --quick [PART...]; or compare two \
         revisions; --against REV [PART...]",
        bench::run,
    ),
    ("fuzz", "fuzz each parser for ten minutes; [TARGET|all] [--seconds N]", fuzz::run),
    ("semver", "report breaking changes of the libraries; [REVISION]", semver::run),
    (
        "policy",
        "check licenses, oldest versions, Go releases, packages, editors, Miri, sanitizer; [PART...]",
        policy::run,
    ),
    (
        "release",
        "build tarballs, packages and the installer, twice; [amd64 arm64] [--repository URL]",
        release::run,
    ),
    ("docs", "build the book and the API documentation, check links and examples", book::run),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) =
        args.split_first().map_or(("help", &[][..]), |(name, rest)| (name.as_str(), rest));
    let result = match TASKS.iter().find(|(task, ..)| *task == name) {
        Some((_, _, task)) => task(rest),
        None => {
            help();
            if name == "help" || name == "--help" {
                Ok(())
            } else {
                Err(Failure(format!("no task `{name}`")))
            }
        }
    };
    if let Err(Failure(message)) = result {
        eprintln!("xtask {name}: {message}");
        std::process::exit(1);
    }
}

fn help() {
    println!("usage: cargo xtask TASK\n");
    for (name, about, _) in TASKS {
        println!("  {name:<8} {about}");
    }
}
