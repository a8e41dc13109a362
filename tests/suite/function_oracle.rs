//! Values of function probes, compared with what Delve shows at the same calls. `cargo xtask matrix
//! functions` compares more programs.

use usdt_e2e::oracle::{Program, own, third_party};
use usdt_e2e::{Need, have};

/// Compares a program, and fails if fewer values than this were compared.
fn compare(program: &Program, optimized: bool, least: usize) {
    let folder = tempfile::tempdir().unwrap();
    let file = program.build(optimized, folder.path()).unwrap();
    let compared = program.compare(&file).unwrap_or_else(|problem| {
        panic!("{} (optimized: {optimized}): {problem}", program.name);
    });
    assert!(compared >= least, "{}: only {compared} values were compared", program.name);
}

#[test]
fn values_of_parameters_and_results_are_those_of_a_debugger() {
    if !have(&[Need::Bpf, Need::Program("dlv")]) {
        return;
    }
    let [values, paths, reached] = own();
    for optimized in [true, false] {
        compare(&values, optimized, 300);
        compare(&paths, optimized, 40);
        compare(&reached, optimized, 35);
    }
}

/// A debugger does not find results in optimized code.
#[test]
fn results_are_those_of_a_build_without_optimizations() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let [values, ..] = own();
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [optimized, unoptimized] =
        [0, 1].map(|index| values.build(index == 0, folders[index].path()).unwrap());
    let compared = values.compare_builds(&optimized, &unoptimized).unwrap();
    assert!(compared >= 500, "only {compared} values were compared");
}

#[test]
fn values_in_a_third_party_program_of_an_old_release_are_those_of_a_debugger() {
    if !have(&[Need::Bpf, Need::Program("dlv")]) {
        return;
    }
    compare(&third_party(), true, 100);
}
