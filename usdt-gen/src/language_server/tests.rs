//! Tests of whole conversations. `tests/suite/language_server.rs` has some with the program.

#![allow(clippy::needless_pass_by_value, reason = "the values are literals")]

use super::server::Server;
use super::{serve, transport};
use crate::dlang::Options;
use lsp_server::Message;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// An editor with a server.
struct Editor {
    server: Server,
    next_id: i32,
}

/// A document that is not a file.
const URI: &str = "untitled:probes.d";

fn file_uri(path: &Path) -> String {
    super::uri::from_path(path).unwrap().as_str().to_owned()
}

impl Editor {
    fn new() -> Editor {
        let mut editor = Editor { server: Server::new(|_| None), next_id: 1 };
        let hover = json!({ "contentFormat": ["markdown"] });
        editor.request(
            "initialize",
            json!({ "capabilities": { "textDocument": { "hover": hover } } }),
        );
        editor
    }

    fn send(&mut self, message: Value) -> Vec<Value> {
        let message: Message = serde_json::from_value(message).unwrap();
        let answers = self.server.handle(message);
        answers.iter().map(|answer| serde_json::to_value(answer).unwrap()).collect()
    }

    /// Sends a request and returns its result or error.
    fn request(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let request = json!({ "id": self.next_id, "method": method, "params": params });
        let answer = self.send(request).pop().unwrap();
        assert_eq!(answer["id"], json!(self.next_id));
        answer.get("result").or(answer.get("error")).cloned().unwrap()
    }

    /// Sends a notification and returns the diagnostics that it caused.
    fn notify(&mut self, method: &str, params: Value) -> Vec<Value> {
        let sent = self.send(json!({ "method": method, "params": params }));
        sent.into_iter().map(|message| message["params"].clone()).collect()
    }

    fn open(&mut self, uri: &str, text: &str) -> Vec<Value> {
        let document =
            json!({ "uri": uri, "languageId": "d-provider", "version": 1, "text": text });
        self.notify("textDocument/didOpen", json!({ "textDocument": document }))
    }

    /// Asks for something at the first occurrence of `at`.
    fn ask(&mut self, method: &str, text: &str, at: &str) -> Value {
        let offset = text.find(at).unwrap();
        let line = text[..offset].matches('\n').count();
        let character = text[..offset].rsplit('\n').next().unwrap().encode_utf16().count();
        let position = json!({ "line": line, "character": character });
        self.request(method, json!({ "textDocument": { "uri": URI }, "position": position }))
    }
}

const SHOP: &str = "\
/** A connection. */
struct conn { int fd; };
provider shop {
	/**
	 * The response has been written. 😀
	 *
	 * @param id number of the request
	 * @go took time.Duration
	 */
	probe request__end(uint64_t id, string path, struct conn *c, int64_t took);
};
";

#[test]
fn hover_shows_the_probe_in_c_in_go_and_for_tracers() {
    let mut editor = Editor::new();
    editor.open(URI, SHOP);
    let hover = editor.ask("textDocument/hover", SHOP, "request__end");
    insta::assert_snapshot!(hover["contents"]["value"].as_str().unwrap());
    let expected = json!({
        "start": { "line": 9, "character": 7 }, "end": { "line": 9, "character": 19 }
    });
    assert_eq!(hover["range"], expected);
    let mut shown = |at: &str| {
        let hover = editor.ask("textDocument/hover", SHOP, at);
        hover["contents"]["value"].as_str().map(str::to_owned)
    };
    let conn = "```c\nstruct conn { int fd; }\n```\n\nA connection.";
    assert_eq!(shown("conn *c").as_deref(), Some(conn));
    let id = [
        "```d-provider\nuint64_t id\n```",
        "number of the request",
        "In Go: `uint64`. Tracers see: arg0.",
    ];
    assert_eq!(shown("id, string"), Some(id.join("\n\n")));
    let string = "`string`: string, which tracers see as pointer and length, in Go `string`";
    assert_eq!(shown("string").as_deref(), Some(string));
    assert_eq!(shown("The response"), None);
}

#[test]
fn diagnostics_are_those_of_the_command_line() {
    let mut editor = Editor::new();
    let text = "provider p { /* 😀 */ probe a(uint46_t x); probe a(); };";
    let published = editor.open(URI, text);
    insta::assert_snapshot!(serde_json::to_string_pretty(&published).unwrap());
    // Fix both mistakes with edits.
    let at = |character: usize| json!({ "line": 0, "character": character });
    let changes = json!([
        { "range": { "start": at(49), "end": at(50) }, "text": "b" },
        { "range": { "start": at(30), "end": at(38) }, "text": "int" },
    ]);
    let document = json!({ "uri": URI, "version": 2 });
    let published = editor.notify(
        "textDocument/didChange",
        json!({ "textDocument": document, "contentChanges": changes }),
    );
    assert_eq!(published, [json!({ "uri": URI, "diagnostics": [], "version": 2 })]);
    let document = json!({ "textDocument": { "uri": URI } });
    editor.open(URI, "provider");
    let published = editor.notify("textDocument/didClose", document);
    assert_eq!(published, [json!({ "uri": URI, "diagnostics": [] })]);
}

#[test]
fn a_probe_that_does_not_fit_into_a_package_is_marked() {
    let doc = "x ".repeat(1 << 20);
    let text = format!("provider p {{\n/** {doc} */\nprobe a(int x);\n}};\n");
    let published = Editor::new().open(URI, &text);
    let diagnostics = published[0]["diagnostics"].as_array().unwrap();
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    assert!(diagnostics[0]["message"].as_str().unwrap().starts_with("probe `p:a`: "));
    assert_eq!(diagnostics[0]["range"]["start"], json!({ "line": 2, "character": 6 }));
}

#[test]
fn an_included_file_that_is_open_counts_as_it_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("types.h"), "typedef int on_disk;\n").unwrap();
    let uri = |name: &str| file_uri(&folder.path().join(name));
    let mut editor = Editor::new();
    let source = "#include \"types.h\"\nprovider p { probe a(shown x); };\n";
    let published = editor.open(&uri("probes.d"), source);
    assert!(published[0]["diagnostics"][0]["message"].as_str().unwrap().contains("`shown`"));
    let published = editor.open(&uri("types.h"), "typedef int shown;\n");
    let messages_of = |name: &str| {
        let document = published.iter().find(|p| p["uri"] == json!(uri(name))).unwrap();
        document["diagnostics"].as_array().unwrap().len()
    };
    assert_eq!(messages_of("probes.d"), 0);
    let position = json!({ "line": 1, "character": 22 });
    let document = json!({ "uri": uri("probes.d") });
    let found = editor.request(
        "textDocument/definition",
        json!({ "textDocument": document, "position": position }),
    );
    assert_eq!(found["uri"], json!(uri("types.h")));
    assert_eq!(found["range"]["start"], json!({ "line": 0, "character": 12 }));
}

#[test]
fn symbols_are_providers_with_their_probes_and_types() {
    let mut editor = Editor::new();
    editor.open(URI, SHOP);
    let document = json!({ "textDocument": { "uri": URI } });
    let symbols = editor.request("textDocument/documentSymbol", document);
    let names: Vec<&str> =
        symbols.as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["conn", "shop"]);
    let probe = &symbols[1]["children"][0];
    assert_eq!(
        (&probe["name"], &probe["detail"]),
        (&json!("request__end"), &json!("(id, path, c, took)"))
    );
    assert_eq!(probe["range"]["start"], json!({ "line": 9, "character": 1 }));
}

#[test]
fn completes_types_keywords_and_annotations() {
    let mut editor = Editor::new();
    let mut labels = |text: &str| {
        let before = text.split('|').next().unwrap().to_owned();
        editor.open(URI, &text.replace('|', ""));
        let line = before.matches('\n').count();
        let character = before.rsplit('\n').next().unwrap().encode_utf16().count();
        let position = json!({ "line": line, "character": character });
        let items = editor.request(
            "textDocument/completion",
            json!({ "textDocument": { "uri": URI }, "position": position }),
        );
        let items = items.as_array().unwrap();
        items.iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let types = labels("struct conn { int fd; };\nprovider p { probe a(|); };");
    assert_eq!(types[..3], ["struct conn", "string", "uint64_t"]);
    assert!(types.contains(&"time.Duration".to_owned()));
    assert_eq!(labels("|"), ["provider", "struct", "union", "enum", "typedef"]);
    assert_eq!(labels("provider p { |"), ["probe"]);
    assert_eq!(labels("provider p { /** @| */ probe a(int x); };"), ["go", "param"]);
    assert_eq!(labels("provider p { /** @go | */ probe a(int x, int y); };"), ["x", "y"]);
    assert_eq!(
        labels("provider p { /** @go x t| */ probe a(int x); };"),
        ["int", "uint", "time.Duration"]
    );
    assert!(labels("// |").is_empty());
}

#[test]
fn formatting_replaces_only_lines_that_differ() {
    let mut editor = Editor::new();
    let mut format = |text: &str| {
        editor.open(URI, text);
        let options = json!({ "tabSize": 8, "insertSpaces": false });
        editor.request(
            "textDocument/formatting",
            json!({ "textDocument": { "uri": URI }, "options": options }),
        )
    };
    assert_eq!(format(SHOP)[0]["range"]["start"]["line"], json!(1));
    let expected = json!([{
        "range": { "start": { "line": 1, "character": 0 }, "end": { "line": 2, "character": 0 } },
        "newText": "\tprobe a();\n",
    }]);
    assert_eq!(format("provider p {\nprobe a( );\n};\n"), expected);
    assert_eq!(format("provider p {\n\tprobe a();\n};\n"), json!([]));
    assert_eq!(format("provider p { /* "), json!([]));
}

#[test]
fn follows_the_life_cycle_of_the_protocol() {
    let mut server = Server::new(|_| None);
    let mut send = |message: Value| {
        let answers = server.handle(serde_json::from_value(message).unwrap());
        answers.first().map(|answer| serde_json::to_value(answer).unwrap()["error"]["code"].clone())
    };
    let hover = |id: i32| json!({ "id": id, "method": "textDocument/hover", "params": {} });
    assert_eq!(send(hover(1)), Some(json!(-32002)));
    let initialize = json!({ "id": "x", "method": "initialize", "params": { "capabilities": {} } });
    assert_eq!(send(initialize.clone()), Some(Value::Null));
    assert_eq!(send(initialize), Some(json!(-32600)));
    assert_eq!(send(hover(2)), Some(json!(-32602)));
    assert_eq!(send(json!({ "id": 3, "method": "$/x" })), Some(json!(-32601)));
    assert_eq!(send(json!({ "method": "$/x" })), None);
    assert_eq!(send(json!({ "id": 4, "method": "shutdown" })), Some(Value::Null));
    assert_eq!(send(hover(5)), Some(json!(-32600)));
    assert_eq!(send(json!({ "method": "exit" })), None);
    assert!(server.has_exited() && server.has_shut_down());
}

#[test]
fn bounds_the_open_documents() {
    let mut editor = Editor::new();
    for at in 0..200 {
        editor.open(&format!("untitled:{at}"), "");
    }
    let sent = editor.open("untitled:one-more", "");
    assert_eq!(sent[0]["message"], json!("200 definitions are open; close one first"));
    let large = " ".repeat((16 << 20) + 1);
    let sent = editor.open("untitled:0", &large);
    assert_eq!(sent[0]["diagnostics"], json!([]));
    let message = "the document has more than 16 MiB and is not checked";
    assert_eq!(sent[1]["message"], json!(message));
}

/// Returns a definition of the corpus, or fragments of the language in random order.
fn document() -> impl Strategy<Value = String> {
    let fragment = prop::sample::select(vec![
        "provider ",
        "p ",
        "{",
        "}",
        ";",
        "probe a",
        "(",
        ")",
        "int ",
        "x",
        ",",
        "struct s ",
        "/**",
        "*/",
        "//",
        "\n",
        "\r",
        "\r\n",
        "#define A ",
        "#include \"a.h\"",
        "A",
        "@go x ",
        "\"",
        "'",
        "time.",
        "Duration",
        "*",
        ":",
        "😀",
        "é",
        "\u{feff}",
        "typedef ",
        "enum e",
        "string ",
        "..",
        "\\\n",
        "\0",
    ]);
    prop::collection::vec(fragment, 0..40).prop_map(|fragments| fragments.concat())
}

proptest! {
    /// Documents and edits of any kind never make the server panic, and after each edit it has the
    /// content that the editor shows.
    #[test]
    fn answers_any_document_edit_and_position(
        first in document(),
        edits in prop::collection::vec((0u32..8, 0u32..40, 0u32..8, 0u32..40, document()), 0..6),
        line in 0u32..8,
        character in 0u32..60,
    ) {
        let mut editor = Editor::new();
        editor.open(URI, &first);
        let mut shown: Vec<u16> = first.encode_utf16().collect();
        for (version, (line, character, end_line, end_character, text)) in edits.iter().enumerate() {
            let start = json!({ "line": line, "character": character });
            let end = json!({ "line": end_line, "character": end_character });
            let change = json!({ "range": { "start": start, "end": end }, "text": text });
            let document = json!({ "uri": URI, "version": version });
            editor.notify(
                "textDocument/didChange",
                json!({ "textDocument": document, "contentChanges": [change] }),
            );
            let (a, b) = (utf16_offset(&shown, *line, *character), utf16_offset(&shown, *end_line, *end_character));
            shown.splice(a.min(b)..a.max(b), text.encode_utf16());
        }
        let position = json!({ "line": line, "character": character });
        let params = json!({
            "textDocument": { "uri": URI }, "position": position,
            "options": { "tabSize": 1, "insertSpaces": true },
        });
        for method in ["hover", "definition", "completion", "documentSymbol", "formatting"] {
            let result = editor.request(&format!("textDocument/{method}"), params.clone());
            prop_assert_ne!(&result["code"], &json!(-32602), "{}", result);
        }
        // The server's content: what a comment around it formats to, taken from its own copy.
        let held = editor.server.text_of(URI);
        prop_assert_eq!(held, Some(String::from_utf16_lossy(&shown)));
    }

    /// Any JSON in any message is answered or ignored.
    #[test]
    fn answers_any_parameters(
        method in prop::sample::select(vec![
            "initialize", "textDocument/hover", "textDocument/didOpen", "textDocument/didChange",
            "textDocument/didClose", "textDocument/completion", "shutdown", "x",
        ]),
        params in "[\\[\\]{}\":,0-9a-z ]{0,30}",
        id in proptest::option::of(0i32..9),
    ) {
        let params: Value = serde_json::from_str(&params).unwrap_or(json!({ "textDocument": 1 }));
        let mut message = json!({ "method": method, "params": params });
        if let Some(id) = id {
            message["id"] = json!(id);
        }
        let answers = Editor::new().send(message);
        prop_assert_eq!(answers.iter().filter(|a| a.get("id").is_some()).count(), usize::from(id.is_some()));
    }

    /// Any bytes on the input end in an error or at the end of the input.
    #[test]
    fn survives_any_input(
        input in prop::collection::vec(any::<u8>(), 0..200),
        headers in "(Content-Length: [0-9]{1,3}\r\n){0,2}\r\n[{}\"a-z:0-9,]{0,40}",
    ) {
        for bytes in [input.as_slice(), headers.as_bytes()] {
            let (mut input, mut output) = (bytes, Vec::new());
            let _ = serve(&mut input, &mut output, |_| None);
            // What is written can be read.
            let mut written = output.as_slice();
            while transport::read(&mut written).unwrap().is_some() {}
        }
    }
}

/// Finds a position as the protocol defines it, in UTF-16.
fn utf16_offset(text: &[u16], line: u32, character: u32) -> usize {
    let (cr, lf) = (u16::from(b'\r'), u16::from(b'\n'));
    let mut start = 0;
    for _ in 0..line {
        let Some(end) = text[start..].iter().position(|unit| [cr, lf].contains(unit)) else {
            return text.len();
        };
        let is_pair = text[start + end] == cr && text.get(start + end + 1) == Some(&lf);
        start += end + 1 + usize::from(is_pair);
    }
    let rest = &text[start..];
    let length = rest.iter().position(|unit| [cr, lf].contains(unit)).unwrap_or(rest.len());
    let at = start + length.min(character as usize);
    // A position within a surrogate pair is taken for the end of the pair.
    let is_low = text.get(at).is_some_and(|unit| (0xdc00..0xe000).contains(unit));
    at + usize::from(is_low && at > start)
}

#[test]
fn the_corpus_gives_the_same_diagnostics_as_the_parser() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut count = 0;
    for folder in ["files", "mistakes"] {
        for entry in std::fs::read_dir(corpus.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let uri = file_uri(&path);
            let options = Options {
                source_dir: path.parent().unwrap().to_owned(),
                read_file: Arc::new(|path: &Path| std::fs::read(path)),
                ..Options::default()
            };
            let parsed = crate::dlang::parse_with("probes.d", &text, &options);
            let mut editor = Editor::new();
            let published = editor.open(&uri, &text);
            let shown: usize =
                published.iter().map(|p| p["diagnostics"].as_array().unwrap().len()).sum();
            assert_eq!(shown, parsed.diagnostics.len(), "{path:?}");
            count += shown;
        }
    }
    assert!(count > 50, "{count}");
}
