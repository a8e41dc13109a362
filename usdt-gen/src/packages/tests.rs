use super::*;

#[test]
fn every_package_has_code_and_a_definition() {
    for package in PACKAGES {
        let files = package.files("example.com/app/usdt").unwrap();
        let has = |name: &str| files.iter().any(|file| file.path.ends_with(name));
        assert!(has(DEFINITION) && has("internal/probes/probes_amd64.s"), "{}", package.name);
        let code = files.iter().filter(|file| !file.path.contains('/'));
        let package_line = format!("\npackage {}\n", package.folder());
        assert!(code.clone().count() > 0, "{}", package.name);
        for file in code {
            assert!(file.text.contains(&package_line), "{}/{}", package.name, file.path);
        }
    }
}

#[test]
fn no_file_names_the_module_of_this_repository() {
    for package in PACKAGES {
        for file in package.files("example.com/app/usdt").unwrap() {
            assert!(!file.text.contains(ORIGIN), "{}/{}", package.name, file.path);
            let is_go = file.path.ends_with(".go") || file.path.ends_with(".s");
            assert_eq!(is_generated(&file.text), is_go, "{}", file.path);
        }
    }
}

#[test]
fn sources_are_split_at_their_paths_only() {
    for (path, text) in sources() {
        assert!(path.starts_with("usdt") && !path.contains(['\n', ' ']), "{path:?}");
        assert!(text.ends_with('\n'), "{path}");
    }
}

#[test]
fn finds_a_package_by_name_and_by_folder() {
    assert_eq!(find("http"), find("usdthttp"));
    assert!(find("http").is_some() && find("redis3").is_none());
}
