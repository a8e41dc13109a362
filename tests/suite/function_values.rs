//! Signatures of Go functions from DWARF: what `gobinary` says about where parameters and results
//! are is compared with what the compiler says, for generated signatures.

use gobinary::GoBinary;
use gobinary::dwarf::{DebugInfo, DebugInfoError};
use gobinary::dynamic_type::ErrorData;
use gobinary::function_entry::Location;
use gobinary::pclntab::Function;
use gobinary::signature::{Format, GuardTest, Placement, Signature, Value, Word};
use gobinary::supported_releases::{TESTED, TESTED_UNMODIFIED};
use gobinary::value_path::{PathError, Point, ValuePath};
use stapsdt::elf::{Section, View};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use usdt_e2e::{Need, go_of, have, root, stdout};

/// The number of generated functions.
const FUNCTIONS: usize = 120;

/// Go 1.19, 1.21, and the two newest releases.
fn releases() -> [&'static str; 4] {
    let [first, .., last_but_one, newest] = TESTED;
    [TESTED_UNMODIFIED[2], first, last_but_one, newest]
}

/// A generator of pseudo-random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Returns a Go type. `depth` limits nested types.
    fn go_type(&mut self, depth: u32) -> String {
        const SCALARS: [&str; 19] = [
            "bool",
            "int8",
            "uint8",
            "int16",
            "uint16",
            "int32",
            "uint32",
            "int64",
            "uint64",
            "int",
            "uintptr",
            "float32",
            "float64",
            "complex64",
            "complex128",
            "string",
            "error",
            "any",
            "time.Duration",
        ];
        const OTHERS: [&str; 9] = [
            "[]byte",
            "[]string",
            "*int",
            "map[string]int",
            "chan int",
            "func(int) string",
            "time.Time",
            "unsafe.Pointer",
            "struct{}",
        ];
        match self.below(if depth == 0 { 10 } else { 14 }) {
            0..7 => SCALARS[self.below(SCALARS.len() as u64) as usize].to_owned(),
            7..10 => OTHERS[self.below(OTHERS.len() as u64) as usize].to_owned(),
            10 => format!("[{}]{}", self.below(4), self.go_type(depth - 1)),
            _ => {
                let fields =
                    (0..self.below(5)).map(|i| format!("f{i} {}", self.go_type(depth - 1)));
                format!("struct{{ {} }}", fields.collect::<Vec<_>>().join("; "))
            }
        }
    }

    fn types(&mut self, max: u64) -> Vec<String> {
        (0..self.below(max + 1)).map(|_| self.go_type(2)).collect()
    }
}

/// Returns a Go program with functions `p0`, `p1`, … that have generated parameters, and functions
/// `r0`, `r1`, … whose results are these parameters.
fn program() -> String {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut source = String::from(
        "package main\n\nimport (\"errors\"; \"os\"; \"strconv\"; \"syscall\"; \"time\"; \"unsafe\")\n\n\
         var sink any\nvar _ time.Time\nvar _ unsafe.Pointer\n\n",
    );
    let mut calls = String::new();
    for n in 0..FUNCTIONS {
        let types = random.types(7);
        let results = random.types(3);
        let list = |prefix: &str, types: &[String]| {
            let named = types.iter().enumerate().map(|(i, t)| format!("{prefix}{i} {t}"));
            named.collect::<Vec<_>>().join(", ")
        };
        let uses: String = (0..types.len()).map(|i| format!("sink = a{i}; ")).collect();
        let (parameters, named) = (list("a", &types), list("r", &results));
        let receiver = if n % 3 == 0 { "(s *S) " } else { "" };
        let this = if n % 3 == 0 { "new(S)." } else { "" };
        let _ = writeln!(
            source,
            "//go:noinline\nfunc {receiver}p{n}({parameters}) ({named}) {{ {uses}return }}\n\
             //go:noinline\nfunc r{n}() ({}) {{ {} return }}",
            list("a", &types),
            if types.is_empty() { "" } else { "sink = &a0;" }
        );
        let variables: String =
            types.iter().enumerate().map(|(i, t)| format!("var v{i} {t}; ")).collect();
        let values: Vec<String> = (0..types.len()).map(|i| format!("v{i}")).collect();
        let values = values.join(", ");
        let _ = writeln!(calls, "{{ {variables}{this}p{n}({values}); r{n}() }}");
    }
    let _ = writeln!(
        source,
        "type S struct{{ n int }}\n\n\
         //go:noinline\nfunc blank(_ int8, b int8, _ string, c string) {{ sink = b; sink = c }}\n\
         //go:noinline\nfunc unnamed(int, string) (int, error) {{ return 1, nil }}\n\
         //go:noinline\nfunc generic[K comparable, V any](k K, m map[K]V, n int) (V, bool) {{\n\
         sink = n; v, ok := m[k]; return v, ok }}\n\
         type G[V any] struct {{ v V; n int }}\n\
         //go:noinline\nfunc (g *G[V]) Get(i int, s string) V {{ sink = s; g.n += i; return g.v }}\n\
         func small(_ string, n int) int {{ sink = n; return n }}\n\
         var call = small\n\n\
         type Inner struct {{ n, m int; text string }}\n\
         type Base struct {{ *Inner }}\n\
         type Outer struct {{ first int; Base; small int16; list [4]byte; ok bool; count *int32;\n\
         wait time.Duration; when time.Time; err error; f float64 }}\n\
         //go:noinline\nfunc paths(o *Outer, data []byte, m map[string]int, c chan int, a any,\n\
         fn func(), x float64, stacked [2]int32) (n int, err error) {{ return len(data), o.err }}\n\n\
         func typeOf(v any) {{ word := *(*uintptr)(unsafe.Pointer(&v))\n\
         os.Stdout.WriteString(strconv.FormatUint(uint64(word), 10) + \"\\n\") }}\n\n\
         func main() {{\nif len(os.Args) > 5 {{\n{calls}}}\nblank(1, 2, \"\", \"x\")\n\
         unnamed(1, \"\")\nsink, _ = generic(\"a\", map[string]int{{}}, 1)\n\
         sink, _ = generic(2, map[int]string{{}}, 1)\n(&G[string]{{}}).Get(1, \"a\")\n\
         small(\"\", 1)\ncall(\"\", 2)\npaths(&Outer{{}}, nil, nil, nil, nil, nil, 1, [2]int32{{}})\n\
         typeOf(Outer{{}})\ntypeOf(errors.New(\"x\"))\ntypeOf(syscall.ENOENT)\n}}"
    );
    source
}

/// Builds the program once per run, release and flags.
fn build(release: &'static str, flags: &'static [&'static str]) -> PathBuf {
    type Built = BTreeMap<(&'static str, &'static [&'static str]), PathBuf>;
    static BUILT: Mutex<Built> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let number = built.len();
    let path = built.entry((release, flags)).or_insert_with(|| {
        let folder = root().join("target/e2e/signatures");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("go.mod"), "module example.com/signatures\n\ngo 1.19\n")
            .unwrap();
        std::fs::write(folder.join("main.go"), program()).unwrap();
        let out = folder.join(format!("signatures-{number}"));
        let mut go = go_of(release);
        stdout(go.args(["build", "-o"]).arg(&out).args(flags).arg(".").current_dir(folder));
        out
    });
    path.clone()
}

/// Calls `check` with the debug information and the functions of each release's program.
fn for_each_release(mut check: impl FnMut(&str, &mut DebugInfo<'_>, &[Function<'_>])) {
    for release in releases() {
        let data = std::fs::read(build(release, &[])).unwrap();
        let go = GoBinary::parse(&data).unwrap();
        let functions = main_functions(&go, &data);
        check(release, &mut DebugInfo::read(&go).unwrap(), &functions);
    }
}

/// Returns the functions of package main, without second entries for callers in assembly.
fn main_functions<'a>(go: &GoBinary<'a>, data: &'a [u8]) -> Vec<Function<'a>> {
    let table = go.function_table().unwrap().table(data).unwrap();
    table.functions().filter(|function| function.name.starts_with("main.")).collect()
}

fn signature_of(info: &mut DebugInfo<'_>, functions: &[Function<'_>], name: &str) -> Signature {
    let function = functions.iter().find(|function| function.name == name);
    info.signature(function.unwrap_or_else(|| panic!("no function {name}")).entry).unwrap()
}

#[test]
fn places_parameters_where_the_compiler_does() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    for release in releases() {
        for flags in [&[][..], &["-gcflags=-N -l"]] {
            let data = std::fs::read(build(release, flags)).unwrap();
            let go = GoBinary::parse(&data).unwrap();
            let mut info = DebugInfo::read(&go).unwrap();
            let mut compared = 0;
            for function in main_functions(&go, &data) {
                let Ok(signature) = info.signature(function.entry) else { continue };
                let located = info.located_at(function.entry, function.entry).unwrap();
                for parameter in &signature.parameters {
                    let name = &parameter.name;
                    // Go 1.27 says that unused parameters are where they would be spilled to.
                    let place = located.iter().find(|(n, _)| n == name && !n.starts_with('~'));
                    let Some((_, place)) = place else { continue };
                    if *place != Placement::Unknown {
                        assert_eq!(&parameter.placement, place, "{release}: {name} of {signature}");
                        compared += 1;
                    }
                }
            }
            assert!(compared > 2 * FUNCTIONS, "{release} {flags:?}: only {compared} compared");
        }
    }
}

#[test]
fn places_results_as_parameters() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    for_each_release(|release, info, functions| {
        // Those with an index that is divisible by 3 have a receiver.
        for n in (0..FUNCTIONS).filter(|n| n % 3 != 0) {
            let parameters = signature_of(info, functions, &format!("main.p{n}")).parameters;
            let results = signature_of(info, functions, &format!("main.r{n}")).results;
            assert_eq!(parameters, results, "{release}: function {n}");
        }
    });
}

#[test]
fn prints_signatures_in_the_syntax_of_go() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    for_each_release(|release, info, functions| {
        let print =
            |name: &str, info: &mut DebugInfo<'_>| signature_of(info, functions, name).to_string();
        let unnamed = print("main.unnamed", info);
        if release == releases()[3] {
            assert_eq!(unnamed, "main.unnamed(int, string) (int, error)");
        }
        // The function table has no type arguments.
        let is_generic = |f: &&Function<'_>| f.name.starts_with("main.generic[");
        let generic: Vec<_> = functions.iter().filter(is_generic).collect();
        assert_eq!(generic.len(), 2, "{release}");
        for function in generic {
            let signature = info.signature(function.entry).unwrap();
            let printed = signature.to_string();
            assert!(printed.starts_with("main.generic[go.shape."), "{printed}");
            assert!(printed.contains("](k go.shape.") && printed.contains(", n int) (go.shape."));
            assert!(!printed.contains("dict"), "{printed}");
            let place = &signature.variable("n").unwrap().placement;
            // AX has the dictionary, BX or BX and CX the key, and the next register the map.
            let key = signature.variable("k").unwrap().type_name.starts_with("go.shape.string");
            let expected = if key { 6 } else { 7 };
            assert!(format!("{place:?}").contains(&format!("Integer({expected})")), "{printed}");
        }
        let get =
            functions.iter().find(|f| f.name.starts_with("main.(*G[") && f.name.ends_with(").Get"));
        let get = info.signature(get.unwrap().entry).unwrap();
        let place = &get.variable("i").unwrap().placement;
        assert!(format!("{place:?}").contains("Integer(1)"), "{release}: {get}: {place:?}");
    });
}

/// The locations, signs and sizes of the words of a value: `r0+16>8:u4` is an unsigned number of 4
/// bytes, 8 bytes from where the pointer points that is 16 bytes from the address in register 0.
fn words(value: &Value) -> Vec<String> {
    let place = |location: &Location| match location {
        Location::Register(number) => format!("r{number}"),
        Location::Constant(number) => number.to_string(),
        Location::Memory { base, offsets } => {
            let offsets: Vec<String> = offsets.iter().map(i64::to_string).collect();
            format!("r{base}+{}", offsets.join(">"))
        }
    };
    let sign = |signed: bool| if signed { "i" } else { "u" };
    let print =
        |word: &Word| format!("{}:{}{}", place(&word.location), sign(word.signed), word.size);
    value.words.iter().map(print).collect()
}

#[test]
fn follows_paths_to_values() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    for_each_release(|release, info, functions| {
        let signature = signature_of(info, functions, "main.paths");
        let mut resolve = |point: Point, path: &str| {
            info.value_at(&signature, point, &ValuePath::parse(path).unwrap())
        };
        // AX has `o`, BX and CX … are those of the other parameters.
        for (path, format, expected) in [
            ("o", Format::Pointer, &["r0:u8"][..]),
            ("o.Inner.text", Format::String, &["r0+8>16:u8", "r0+8>24:i8"]),
            ("o.text", Format::String, &["r0+8>16:u8", "r0+8>24:i8"]),
            ("len(o.text)", Format::Int, &["r0+8>24:i8"]),
            ("o.small", Format::Int, &["r0+16:i2"]),
            ("o.list[2]", Format::Int, &["r0+20:u1"]),
            ("len(o.list)", Format::Int, &["4:i8"]),
            ("o.ok", Format::Bool, &["r0+22:u1"]),
            ("*o.count", Format::Int, &["r0+24>0:i4"]),
            ("o.wait", Format::Duration, &["r0+32:i8"]),
            ("o.when", Format::Time, &["r0+40:u8", "r0+48:i8"]),
            ("o.err", Format::Error, &["r0+64>8:u8", "r0+72:u8", "r0+72>0:u8", "r0+72>8:i8"]),
            ("o.f", Format::Float, &["r0+80:u8"]),
            ("data", Format::Bytes, &["r3:u8", "r1:i8"]),
            ("cap(data)", Format::Int, &["r7:i8"]),
            ("m", Format::Map, &["r6+0:u8"]),
            ("c", Format::Chan, &["r8+0:u8", "r8+8:u8"]),
            ("a", Format::Interface, &["r9:u8", "r10:u8"]),
            ("fn", Format::Func, &["r11+0:u8"]),
            ("stacked[1]", Format::Int, &["r4+12:i4"]),
            ("data[3]", Format::Int, &["r3+3:u1"]),
            ("o.text[2]", Format::Int, &["r0+8>16>2:u1"]),
            ("a.(main.Outer).small", Format::Int, &["r10+16:i2"]),
            ("o.err.(*errors.errorString).s", Format::String, &["r0+72>0:u8", "r0+72>8:i8"]),
        ] {
            let value = resolve(Point::Entry, path).unwrap_or_else(|e| panic!("{release}: {e}"));
            assert_eq!(
                (value.format, words(&value)),
                (format, expected.iter().map(ToString::to_string).collect()),
                "{release}: {path}"
            );
        }
        let mut guards = |path: &str| {
            let value = resolve(Point::Entry, path).unwrap_or_else(|e| panic!("{release}: {e}"));
            let test = |test: &GuardTest| match test {
                GuardTest::HasIndex(index) => format!("above {index}"),
                GuardTest::IsNotNil => "not nil".to_owned(),
                GuardTest::IsType(_) => "a type".to_owned(),
            };
            let tests: Vec<String> = value.guards.iter().map(|guard| test(&guard.test)).collect();
            let tested = value.guards.iter().map(|guard| guard.word.clone()).collect();
            let tested = words(&Value { words: tested, ..value });
            let pairs = tested.iter().zip(tests).map(|(word, test)| format!("{word} {test}"));
            pairs.collect::<Vec<String>>()
        };
        assert_eq!(guards("o.text"), [""; 0]);
        assert_eq!(guards("data[3]"), ["r1:i8 above 3"]);
        assert_eq!(guards("o.text[2]"), ["r0+8>24:i8 above 2"]);
        assert_eq!(guards("a.(main.Outer).text[0]"), ["r9:u8 a type", "r10+8>24:i8 above 0"]);
        assert_eq!(
            guards("o.err.(*errors.errorString).s"),
            ["r0+64:u8 not nil", "r0+64>8:u8 a type"]
        );
        for (path, problem) in [
            (
                "o.nothing",
                "`o` of type `main.Outer` has no field `nothing`; it has `first`, `Base`",
            ),
            ("o.small.x", "`o.small` of type `int16` is not a struct"),
            ("o.list[4]", "`o.list` of type `[4]uint8` has no element 4; it has 4"),
            ("m[0]", "`m` of type `map[string]int` is a map, whose entries cannot be read"),
            ("o[0]", "`o` of type `*main.Outer` is not an array, a slice or a string"),
            ("a.n", "`a` of type `interface {}` is an interface; name the type that it holds"),
            ("o.(int)", "`o` of type `*main.Outer` is not an interface, so it has one type only"),
            (
                "a.(*main.Nothing)",
                "`a` has no dynamic type `*main.Nothing`: the debug information describes no such type",
            ),
            ("*o.small", "`o.small` of type `int16` is not a pointer"),
            ("*o", "`*o` of type `main.Outer` is a struct; choose a field: `first`"),
            ("len(o)", "`o` of type `*main.Outer` has no length"),
            (
                "x",
                "`x` cannot be read: it is in a floating-point register, which the kernel does not save for probes",
            ),
            ("n", "`main.paths` has no parameter `n`; it has `o`, `data`"),
        ] {
            let error = resolve(Point::Entry, path).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{release}: {error}");
        }
        assert_eq!(words(&resolve(Point::Return, "n").unwrap()), ["r0:i8"]);
        assert_eq!(
            words(&resolve(Point::Return, "err").unwrap())[1..],
            ["r1:u8", "r1+0:u8", "r1+8:i8"]
        );
        let error = resolve(Point::Return, "o").unwrap_err().to_string();
        assert_eq!(error, "`main.paths` has no result `o`; it has `n`, `err`");
    });
}

#[test]
fn names_dynamic_types() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    for release in releases() {
        for flags in [&[][..], &["-ldflags=-s -w"]] {
            let program = build(release, flags);
            // The program prints the addresses of three types.
            let printed = stdout(&mut Command::new(&program));
            let addresses: Vec<u64> =
                printed.split_whitespace().map(|a| a.parse().unwrap()).collect();
            let data = std::fs::read(&program).unwrap();
            let go = GoBinary::parse(&data).unwrap();
            let types =
                go.dynamic_types().unwrap_or_else(|| panic!("{release} {flags:?}: no types"));
            let names: Vec<_> = addresses.iter().map(|a| types.name(*a)).collect();
            let expected = ["main.Outer", "*errors.errorString", "syscall.Errno"];
            assert_eq!(names, expected.map(|name| Some(name.to_owned())), "{release} {flags:?}");
            let data: Vec<_> = addresses.iter().map(|a| types.error_data(*a)).collect();
            assert_eq!(data, [ErrorData::Other, ErrorData::Message, ErrorData::Errno]);
            assert_eq!(types.name(0), None);
        }
    }
}

#[test]
fn reads_separate_debug_files() {
    if !have(&[Need::Program("go"), Need::Program("objcopy")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let release = releases()[3];
    let whole = build(release, &["-ldflags=-B gobuildid"]);
    let (stripped, debug) = (folder.path().join("stripped"), folder.path().join("debug"));
    for (option, out) in [("--strip-all", &stripped), ("--only-keep-debug", &debug)] {
        stdout(Command::new("objcopy").arg(option).arg(&whole).arg(out));
    }
    let [whole, stripped, debug] =
        [&whole, &stripped, &debug].map(|file| std::fs::read(file).unwrap());
    let go = GoBinary::parse(&stripped).unwrap();
    assert_eq!(DebugInfo::read(&go).unwrap_err(), DebugInfoError::Missing);
    let functions = main_functions(&go, &stripped);
    let mut separate = DebugInfo::read_separate(&go, &debug[..]).unwrap();
    let whole = GoBinary::parse(&whole).unwrap();
    let mut info = DebugInfo::read(&whole).unwrap();
    for name in ["main.paths", "main.blank", "main.main"] {
        let expected = signature_of(&mut info, &functions, name);
        assert_eq!(signature_of(&mut separate, &functions, name), expected);
    }
    let other = build(releases()[2], &["-ldflags=-B gobuildid"]);
    let other = std::fs::read(other).unwrap();
    let error = DebugInfo::read_separate(&go, &other[..]).unwrap_err();
    assert!(matches!(error, DebugInfoError::OtherBuildId { .. }), "{error}");
    assert_eq!(DebugInfo::read_separate(&go, b"text").unwrap_err(), DebugInfoError::NotElf);
}

#[test]
fn finds_inlined_calls() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    for release in releases() {
        let data = std::fs::read(build(release, &[])).unwrap();
        let go = GoBinary::parse(&data).unwrap();
        let table = go.function_table().unwrap().table(&data[..]).unwrap();
        let calls = table.inlined_calls(["main.small"], 10);
        if release == releases()[0] {
            assert_eq!(calls, [], "Go 1.19 has another layout");
            continue;
        }
        let [call] = &calls[..] else { panic!("{release}: {calls:?}") };
        let line = program().lines().position(|line| line == "small(\"\", 1)").unwrap() + 1;
        assert_eq!((call.caller, call.line.map(|l| l.line)), ("main.main", Some(line as u32)));
        let address = call.address.unwrap();
        let main = table.lookup(address).unwrap();
        let frames: Vec<&str> = table.frames(&main, address).iter().map(|f| f.function).collect();
        assert_eq!(frames, ["main.small", "main.main"], "{release}");
        assert_eq!(table.inlined_calls(["main.paths"], 10), []);
    }
}

/// Reads everything that the debug information of a file has for its functions.
fn read_all(data: &[u8]) {
    let Some(go) = GoBinary::parse(data) else { return };
    let Ok(mut info) = DebugInfo::read(&go) else { return };
    let Some(table) = go.function_table().and_then(|layout| layout.table(data)) else { return };
    let is_ours = |function: &Function<'_>| function.name.starts_with("main.");
    for function in table.functions().filter(is_ours) {
        let _ = info.located_at(function.entry, function.entry + 8);
        let Ok(signature) = info.signature(function.entry) else { continue };
        for variable in signature.parameters.iter().chain(&signature.results) {
            let _ = info.default_value(variable);
        }
        for path in [
            "o.text",
            "*o.count",
            "o.list[2]",
            "o.missing",
            "len(m)",
            "data[7]",
            "a.(main.Outer).text[1]",
            "o.err.(*errors.errorString).s",
            "o.err.(*other.errorString).s",
        ] {
            let _ = info.value_at(&signature, Point::Entry, &ValuePath::parse(path).unwrap());
        }
    }
}

#[test]
fn survives_damaged_debug_information() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    const FLAGS: [&[&str]; 2] =
        [&["-ldflags=-compressdwarf=false"], &["-ldflags=-compressdwarf=true"]];
    let files: Vec<Vec<u8>> = [releases()[0], releases()[3]]
        .into_iter()
        .flat_map(|release| FLAGS.map(|flags| std::fs::read(build(release, flags)).unwrap()))
        .collect();
    let debug_sections: Vec<Vec<(usize, usize)>> = files
        .iter()
        .map(|file| {
            let view = View::parse(file).unwrap();
            let is_debug = |section: &&Section| {
                section.name.contains("debug_")
                    && section.size > 0
                    && !section.name.contains("line")
            };
            let sections = view.sections.iter().filter(is_debug);
            sections.map(|section| (section.offset as usize, section.size as usize)).collect()
        })
        .collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..80 {
        let which = round % files.len();
        let mut file = files[which].clone();
        for _ in 0..=random.below(40) {
            let sections = &debug_sections[which];
            let (start, size) = sections[random.below(sections.len() as u64) as usize];
            // The beginning has headers and tables.
            let size = if random.below(2) == 0 { size.min(512) } else { size };
            let at = start + random.below(size as u64) as usize;
            file[at] = [0, 0xff, 0x80, random.below(256) as u8][random.below(4) as usize];
        }
        read_all(&file);
    }
    for file in &files {
        read_all(file);
    }
}

#[test]
fn finds_named_parameters_among_unnamed_ones() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    for_each_release(|release, info, functions| {
        let mut word = |function: &str, path: &str| {
            let signature = signature_of(info, functions, function);
            let path = ValuePath::parse(path).unwrap();
            let value = info.value_at(&signature, Point::Entry, &path).unwrap();
            format!("{:?}", value.words[0].location)
        };
        // AX, BX, (CX, DI), (SI, R8): of `blank(_ int8, b int8, _ string, c string)`.
        assert_eq!(word("main.blank", "b"), "Register(3)", "{release}");
        assert_eq!(word("main.blank", "c"), "Register(6)", "{release}");
        assert_eq!(word("main.small", "n"), "Register(1)", "{release}: an inlined function");
        let signature = signature_of(info, functions, "main.blank");
        let path = ValuePath::parse("missing").unwrap();
        let error = info.value_at(&signature, Point::Entry, &path).unwrap_err();
        assert!(matches!(error, PathError::NoVariable { .. }), "{error}");
        assert!(error.to_string().starts_with("`main.blank` has no parameter `missing`; it has"));
    });
}
