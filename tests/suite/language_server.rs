//! `usdt-gen lsp` as an editor uses it: over pipes, with the files of a project.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use usdt_e2e::{Need, command, have, text, usdt_gen, write};

/// An editor that started the server.
struct Editor {
    server: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    next_id: i32,
}

impl Editor {
    fn start() -> Editor {
        let mut lsp = command("usdt-gen");
        lsp.arg("lsp").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut server = lsp.spawn().unwrap();
        let (input, output) = (server.stdin.take().unwrap(), server.stdout.take().unwrap());
        Editor { server, input, output: BufReader::new(output), next_id: 0 }
    }

    /// Starts the server and initializes it.
    fn ready() -> Editor {
        let mut editor = Editor::start();
        let hover = json!({ "contentFormat": ["markdown"] });
        let capabilities = json!({ "textDocument": { "hover": hover } });
        let result = editor.request("initialize", &json!({ "capabilities": capabilities }));
        assert_eq!(result["serverInfo"]["name"], "usdt-gen");
        editor.notify("initialized", &json!({}));
        editor
    }

    fn send_bytes(&mut self, body: &[u8]) {
        write!(self.input, "Content-Length: {}\r\n\r\n", body.len()).unwrap();
        self.input.write_all(body).unwrap();
        self.input.flush().unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut length = None;
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the server has ended");
            if line == "\r\n" {
                break;
            }
            let value = line.strip_prefix("Content-Length: ").map(|v| v.trim().parse().unwrap());
            length = length.or(value);
        }
        let mut body = vec![0; length.unwrap()];
        self.output.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        self.next_id += 1;
        let message =
            json!({ "jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params });
        self.send_bytes(message.to_string().as_bytes());
        let answer = self.receive();
        assert_eq!(answer["id"], json!(self.next_id), "{answer}");
        answer.get("result").or(answer.get("error")).cloned().unwrap()
    }

    fn notify(&mut self, method: &str, params: &Value) {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.send_bytes(message.to_string().as_bytes());
    }

    /// Opens a document and returns its diagnostics.
    fn open(&mut self, uri: &str, content: &str) -> Value {
        let document =
            json!({ "uri": uri, "languageId": "d-provider", "version": 1, "text": content });
        self.notify("textDocument/didOpen", &json!({ "textDocument": document }));
        let published = self.receive();
        assert_eq!(published["method"], "textDocument/publishDiagnostics");
        assert_eq!(published["params"]["uri"], uri);
        published["params"]["diagnostics"].clone()
    }

    fn at(&mut self, method: &str, uri: &str, line: u32, character: u32) -> Value {
        let position = json!({ "line": line, "character": character });
        let document = json!({ "uri": uri });
        self.request(method, &json!({ "textDocument": document, "position": position }))
    }

    /// Closes the connection and returns the exit code and what the server wrote to standard error.
    fn finish(self) -> (Option<i32>, String) {
        drop(self.input);
        let out = self.server.wait_with_output().unwrap();
        (out.status.code(), text(&out.stderr))
    }
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

#[test]
fn an_editor_works_on_a_project() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "include/types.h", "typedef struct conn { int fd; } conn_t;\n");
    write(
        folder,
        "gen.go",
        "package app\n\n//go:generate usdt-gen -D TYPE=conn_t -I include -o probes my.d\n",
    );
    write(folder, "go.mod", "module example.com/app\n\ngo 1.21\n");
    let definition = "#include \"types.h\"\n\nprovider app {\n\
                      \t/** Ünïcode 😀, then a closed connection. */ probe conn__close(TYPE *c);\n};\n";
    write(folder, "my.d", definition);
    std::fs::create_dir(folder.join("probes")).unwrap();
    let mut go = command("go");
    assert!(go.args(["generate", "./..."]).current_dir(folder).status().unwrap().success());

    let mut editor = Editor::ready();
    let my = uri(&folder.join("my.d"));
    assert_eq!(editor.open(&my, definition), json!([]));

    // The comment before the name has characters of one, two and four bytes.
    let column = |name: &str| {
        let line = definition.lines().find(|line| line.contains(name)).unwrap();
        line[..line.find(name).unwrap()].encode_utf16().count() as u32
    };
    let hover = editor.at("textDocument/hover", &my, 3, column("conn__close"));
    let shown = hover["contents"]["value"].as_str().unwrap();
    for part in
        ["Ünïcode 😀", "func ConnClose(c *Conn)", "'app:conn-close'", "| `*Conn` | arg0 pointer |"]
    {
        assert!(shown.contains(part), "`{part}` is not in\n{shown}");
    }
    let function = editor.at("textDocument/definition", &my, 3, column("conn__close"));
    let generated = folder.join("probes/my.go");
    assert_eq!(function["uri"], json!(uri(&generated)));
    let line = function["range"]["start"]["line"].as_u64().unwrap() as usize;
    let generated = std::fs::read_to_string(generated).unwrap();
    assert!(generated.lines().nth(line).unwrap().starts_with("func ConnClose("));

    // An edit with a mistake, and its message as on the command line.
    let change = json!({
        "range": {
            "start": { "line": 3, "character": column("TYPE") },
            "end": { "line": 3, "character": column("TYPE") + 4 }
        },
        "text": "con_t",
    });
    let document = json!({ "uri": my, "version": 2 });
    editor.notify(
        "textDocument/didChange",
        &json!({ "textDocument": document, "contentChanges": [change] }),
    );
    let published = editor.receive();
    let diagnostic = &published["params"]["diagnostics"][0];
    assert_eq!(diagnostic["range"]["start"], json!({ "line": 3, "character": column("TYPE") }));
    let message = diagnostic["message"].as_str().unwrap();
    write(folder, "my.d", definition.replace("TYPE", "con_t"));
    let out = usdt_gen(&[
        "-I",
        &format!("{}/include", folder.display()),
        &format!("{}/my.d", folder.display()),
    ]);
    let printed = text(&out.stderr);
    for line in message.lines() {
        let line = line.strip_prefix("help: ").unwrap_or(line);
        assert!(printed.contains(line), "`{line}` is not in\n{printed}");
    }

    let options = json!({ "tabSize": 4, "insertSpaces": true });
    let document = json!({ "textDocument": { "uri": my }, "options": options });
    let edits = editor.request("textDocument/formatting", &document);
    assert_eq!(edits[0]["range"]["start"]["line"], 3);
    assert_eq!(editor.request("shutdown", &Value::Null), Value::Null);
    editor.notify("exit", &Value::Null);
    assert_eq!(editor.finish(), (Some(0), String::new()));
}

#[test]
fn malformed_messages_are_answered_and_the_connection_goes_on() {
    let mut editor = Editor::ready();
    for body in [&b"{"[..], b"[]", b"\xff\xfe", b"{\"id\":[]}"] {
        editor.send_bytes(body);
        assert_eq!(editor.receive()["error"]["code"], -32700);
    }
    assert_eq!(editor.open("untitled:probes.d", "provider a { probe b(); };"), json!([]));
    let refused = editor.request("textDocument/hover", &json!({ "textDocument": 1 }));
    assert_eq!(refused["code"], -32602);
    let refused = editor.request("workspace/unknown", &Value::Null);
    assert_eq!(refused["message"], "no method `workspace/unknown`");
    // An editor that crashes.
    assert_eq!(editor.finish(), (Some(1), String::new()));
}

#[test]
fn says_what_it_is_for_if_a_user_types_something() {
    let mut editor = Editor::start();
    editor.input.write_all(b"hello\n").unwrap();
    let (code, message) = editor.finish();
    assert_eq!(code, Some(2));
    assert_eq!(
        message,
        "error: standard input is not a message from an editor: a line of the header has no colon; \
         editors start this command, see docs/editors.md\n"
    );
}
