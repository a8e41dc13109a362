//! Developer tasks. CI and README call these and nothing else.

mod bench;
mod book;
mod catalogue;
mod command;
mod demo;
mod fuzz;
mod go_releases;
mod golden;
mod kernels;
mod messages;
mod policy;
mod release;
mod semver;
mod setup;
mod suite;
mod test;
mod tools;
mod uapi;
mod words;

use command::{Failure, Outcome};

/// Name, what it does, the function.
type Task = (&'static str, &'static str, fn(&[String]) -> Outcome);

const TASKS: &[Task] = &[
    ("setup", "install what any task needs: Debian packages, Go, emulators", setup::run),
    ("demo", "build the example service, send it traffic, trace it", demo::run),
    ("test", "every check and test", test::run),
    ("words", "spelling, glossary and Markdown, as docs/writing.md has them", words::run),
    ("e2e", "the end-to-end suite alone; arguments select tests", test::e2e),
    ("kernels", "the attacher's suite on other kernels; [KERNEL...] [TEST...]", kernels::run),
    ("matrix", "every Go release, build and tracer with each other; [WORD...]", test::matrix),
    ("soak", "use for half an hour with every kind of trouble; [MINUTES]", test::soak),
    (
        "golden",
        "rewrite generated files that are checked in; [catalogue releases uapi go messages snapshots instructions]",
        golden::run,
    ),
    ("uapi", "rewrite the structures of bpf(2) from the kernel's headers; [FOLDER]", uapi::run),
    (
        "bench",
        "measure, and write docs/benchmarks.md; [off on attacher generator overlay service caddy packages agent]",
        bench::run,
    ),
    ("fuzz", "fuzz each parser for ten minutes; [TARGET|all] [--seconds N]", fuzz::run),
    ("semver", "what breaks users of the libraries since a revision or release", semver::run),
    (
        "policy",
        "licenses, advisories, oldest versions, Go releases, packages, Miri; [PART...]",
        policy::run,
    ),
    ("release", "static programs, manuals, a .deb; built twice and compared", release::run),
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
