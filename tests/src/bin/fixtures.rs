//! Builds the programs of `tests/go` for machines without Go, for `GOARCH` if it is set.

use usdt_e2e::{Fixture, Mode};

const PROGRAMS: &[(&str, &[Mode])] = &[
    ("hits", &[Mode::Plain, Mode::PlainPie]),
    ("hits", &Mode::SEALED),
    ("pairs", &[Mode::Sealed, Mode::Stripped]),
    ("bridge", &[Mode::Plain, Mode::PlainStripped, Mode::Overlay]),
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
}
