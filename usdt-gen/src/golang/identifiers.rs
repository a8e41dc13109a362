//! Go identifiers, package names and file names from the names in a definition.

use std::collections::HashSet;
use std::path::Path;

/// Go's keywords.
const KEYWORDS: &[&str] = &[
    "break",
    "case",
    "chan",
    "const",
    "continue",
    "default",
    "defer",
    "else",
    "fallthrough",
    "for",
    "func",
    "go",
    "goto",
    "if",
    "import",
    "interface",
    "map",
    "package",
    "range",
    "return",
    "select",
    "struct",
    "switch",
    "type",
    "var",
];

/// Predeclared identifiers and imported packages. A parameter of the same name would shadow one
/// that generated code uses.
const SHADOWED: &[&str] = &[
    "any",
    "append",
    "bool",
    "byte",
    "cap",
    "clear",
    "close",
    "comparable",
    "complex",
    "complex128",
    "complex64",
    "copy",
    "delete",
    "error",
    "false",
    "float32",
    "float64",
    "imag",
    "int",
    "int16",
    "int32",
    "int64",
    "int8",
    "iota",
    "len",
    "make",
    "math",
    "max",
    "min",
    "new",
    "nil",
    "panic",
    "print",
    "println",
    "real",
    "recover",
    "rune",
    "string",
    "time",
    "true",
    "uint",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
    "uintptr",
    "unsafe",
];

/// Initialisms, which Go names spell in one case: golint's list, and some more that are common in
/// probes.
const INITIALISMS: &[&str] = &[
    "acl", "api", "ascii", "cpu", "css", "db", "dns", "eof", "gc", "grpc", "guid", "html", "http",
    "https", "id", "io", "ip", "json", "lhs", "ok", "pid", "qps", "ram", "rhs", "rpc", "sla",
    "smtp", "sql", "ssh", "tcp", "tid", "tls", "ttl", "udp", "ui", "uid", "uri", "url", "utf8",
    "uuid", "vm", "xml",
];

/// Suffixes of file names that are implicit build constraints, and the suffix of the generated file
/// without probes.
const FILE_SUFFIXES: &[&str] = &[
    "test",
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "386",
    "amd64",
    "arm",
    "arm64",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mipsle",
    "ppc64",
    "ppc64le",
    "riscv64",
    "s390x",
    "wasm",
    "other",
];

/// Returns the common stem of the generated files: that of the definition, without anything that
/// has a meaning for the go command.
pub(super) fn stem(source: &str) -> String {
    let name = Path::new(source).file_stem().unwrap_or_default().to_string_lossy();
    let mut stem: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if stem.trim_matches('_').is_empty() {
        return "probes".to_owned();
    }
    // The go command ignores files that begin with `_` or `.`.
    stem = stem.trim_start_matches('_').to_owned();
    if stem.rsplit('_').next().is_some_and(|last| FILE_SUFFIXES.contains(&last) && last != stem) {
        stem.push_str("_probes");
    }
    stem
}

/// True if Go accepts `name` as the name of a package.
pub(super) fn is_package(name: &str) -> bool {
    !name.is_empty()
        && name != "_"
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !KEYWORDS.contains(&name)
}

/// Returns the package name for a folder: its base name without the characters that Go does not
/// allow, or `probes` if nothing is left.
pub(crate) fn default_package(folder: &Path) -> String {
    let base = folder.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name: String = base.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = name.trim_start_matches(|c: char| c.is_ascii_digit());
    if is_package(name) { name.to_owned() } else { "probes".to_owned() }
}

/// Exported names that the package already uses.
#[derive(Default)]
pub(super) struct Taken(HashSet<String>);

impl Taken {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    pub(super) fn insert(&mut self, name: String) {
        self.0.insert(name);
    }

    /// Reserves the name if it is free, or else the name with a suffix. Returns the reserved name.
    pub(super) fn reserve(&mut self, name: &str) -> String {
        let mut candidates = std::iter::once(name.to_owned())
            .chain(std::iter::once(format!("{name}Type")))
            .chain((2..).map(|n| format!("{name}Type{n}")));
        let reserved = candidates.find(|c| !self.0.contains(c)).unwrap_or_default();
        self.0.insert(reserved.clone());
        reserved
    }
}

/// Returns an exported Go name: `RequestStart` for `request__start`, `GcStart` for `gcStart`.
pub(super) fn exported(name: &str) -> String {
    let mut out: String = words(name).map(|word| capitalize(&word)).collect();
    if !out.starts_with(|c: char| c.is_ascii_uppercase()) {
        out.insert(0, 'P');
    }
    out
}

/// Returns an unexported Go name: `pathLen` for `path_len`.
pub(super) fn unexported(name: &str) -> String {
    let mut out = String::new();
    for (i, word) in words(name).enumerate() {
        if i > 0 {
            out.push_str(&capitalize(&word));
        } else if INITIALISMS.contains(&word.to_ascii_lowercase().as_str()) {
            out.push_str(&word.to_ascii_lowercase());
        } else {
            let mut chars = word.chars();
            out.extend(chars.next().map(|c| c.to_ascii_lowercase()));
            out.push_str(chars.as_str());
        }
    }
    if !out.starts_with(|c: char| c.is_ascii_alphabetic()) {
        out.insert(0, 'p');
    }
    if KEYWORDS.contains(&out.as_str()) || SHADOWED.contains(&out.as_str()) {
        out.push('_');
    }
    out
}

/// Splits a name at underscores.
fn words(name: &str) -> impl Iterator<Item = String> + '_ {
    name.split('_').filter(|w| !w.is_empty()).map(|w| {
        // Words in capitals are usually the style of constants, not initialisms.
        if w.len() > 1 && w.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) {
            w.to_ascii_lowercase()
        } else {
            w.to_owned()
        }
    })
}

/// Returns the word with a capital first letter, or in capitals if it is an initialism.
fn capitalize(word: &str) -> String {
    if INITIALISMS.contains(&word.to_ascii_lowercase().as_str()) {
        return word.to_ascii_uppercase();
    }
    let mut chars = word.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_names_to_go_style() {
        for (d, go) in [
            ("request__start", "RequestStart"),
            ("http_id", "HTTPID"),
            ("gcStart", "GcStart"),
            ("free", "Free"),
            ("__x", "X"),
            ("SHUTDOWN", "Shutdown"),
            ("_9p", "P9p"),
        ] {
            assert_eq!(exported(d), go);
        }
        for (d, go) in [
            ("id", "id"),
            ("path_len", "pathLen"),
            ("request_id", "requestID"),
            ("type", "type_"),
            ("len", "len_"),
            ("unsafe", "unsafe_"),
            ("time", "time_"),
            ("Status", "status"),
            ("g", "g"),
            ("_", "p"),
        ] {
            assert_eq!(unexported(d), go);
        }
    }

    #[test]
    fn file_stems_have_no_meaning_for_the_go_command() {
        for (source, name) in [
            ("probes.d", "probes"),
            ("dir/my-app.d", "my_app"),
            ("x_linux.d", "x_linux_probes"),
            ("http_test.d", "http_test_probes"),
            ("linux.d", "linux"),
            ("_.d", "probes"),
        ] {
            assert_eq!(stem(source), name);
        }
    }

    #[test]
    fn default_package_comes_from_the_folder() {
        assert_eq!(default_package(Path::new("/src/my-app")), "myapp");
        assert_eq!(default_package(Path::new("/src/9p")), "p");
        assert_eq!(default_package(Path::new("/")), "probes");
        assert_eq!(default_package(Path::new("/src/type")), "probes");
    }
}
