//! Environments, ways to select what is traced, and files with probes: a part of the combinations.
//! `cargo xtask matrix targets` runs all.

use usdt_e2e::targets::{Cell, Environment};
use usdt_e2e::{Need, have};

fn check(environment: Environment) {
    if !have(&[Need::Bpf, Need::Bcc, Need::Program("cc"), Need::Program("nsenter")]) {
        return;
    }
    let cells = Cell::sample();
    let failed: Vec<String> = cells
        .iter()
        .filter(|cell| cell.environment == environment)
        .filter_map(|cell| cell.run().err().map(|problem| format!("{}: {problem}", cell.name())))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn counts_exactly_on_the_host() {
    check(Environment::Host);
}

#[test]
fn counts_exactly_in_a_pid_namespace() {
    check(Environment::PidNamespace);
}

#[test]
fn counts_exactly_in_two_containers_of_one_image() {
    check(Environment::Containers);
}

#[test]
fn counts_exactly_in_another_root_folder() {
    check(Environment::Chroot);
}

#[test]
fn counts_exactly_in_a_user_namespace() {
    check(Environment::UserNamespace);
}

/// A latency from a probe of a program to one of its library.
#[test]
fn pairs_probes_of_two_files() {
    if !have(&[Need::Bpf, Need::Bcc, Need::Program("cc")]) {
        return;
    }
    for backend in ["embedded", "bcc"] {
        usdt_e2e::targets::check_pairs(backend).unwrap_or_else(|problem| panic!("{problem}"));
    }
}

#[test]
fn orders_events_of_two_files_by_time() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    usdt_e2e::targets::check_order().unwrap_or_else(|problem| panic!("{problem}"));
}
