//! The state of the connection: open documents, published diagnostics, and the answer to each
//! message.

#![allow(clippy::mutable_key_type, reason = "URIs are compared by their text, which is constant")]

use super::document::{Contents, Document, edited, fits};
use super::project::{ReadDirective, Settings};
use super::{completion, definition, diagnostics, formatting, hover, symbols};
use lsp_server::{ErrorCode, Message, Notification, Request, Response};
use lsp_types::notification as notifications;
use lsp_types::notification::Notification as _;
use lsp_types::request as requests;
use lsp_types::request::Request as _;
use lsp_types::{
    CompletionResponse, DocumentSymbolResponse, GotoDefinitionResponse, MessageType,
    PublishDiagnosticsParams, ShowMessageParams, TextDocumentSyncKind, Uri,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The largest number of open documents.
const MAX_DOCUMENTS: usize = 200;

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before `initialize`.
    New,
    /// Between `initialize` and `shutdown`.
    Running,
    /// After `shutdown`.
    ShutDown,
}

/// The server.
pub(super) struct Server {
    read_directive: ReadDirective,
    phase: Phase,
    exited: bool,
    /// Whether the editor renders Markdown.
    markdown: bool,
    /// Open documents by URI.
    documents: BTreeMap<Uri, Document>,
    /// By document, the diagnostics that its analysis gave to it and to included files.
    published: BTreeMap<Uri, BTreeMap<Uri, Vec<lsp_types::Diagnostic>>>,
}

impl Server {
    pub(super) fn new(read_directive: ReadDirective) -> Server {
        Server {
            read_directive,
            phase: Phase::New,
            exited: false,
            markdown: false,
            documents: BTreeMap::new(),
            published: BTreeMap::new(),
        }
    }

    pub(super) fn has_exited(&self) -> bool {
        self.exited
    }

    pub(super) fn has_shut_down(&self) -> bool {
        self.phase == Phase::ShutDown
    }

    /// Returns the content of an open document.
    #[cfg(test)]
    pub(super) fn text_of(&self, uri: &str) -> Option<String> {
        let document = self.documents.values().find(|document| document.uri.as_str() == uri)?;
        Some(document.text.to_string())
    }

    /// Handles a message and returns the messages to send.
    pub(super) fn handle(&mut self, message: Message) -> Vec<Message> {
        match message {
            Message::Request(request) => vec![self.answer(request).into()],
            Message::Notification(notification) => self.notified(notification),
            // The server sends no requests.
            Message::Response(_) => Vec::new(),
        }
    }

    fn answer(&mut self, request: Request) -> Response {
        match (self.phase, request.method.as_str()) {
            (Phase::New, requests::Initialize::METHOD) => answer(request, |params: Value| {
                self.markdown = renders_markdown(&params);
                self.phase = Phase::Running;
                Ok(initialize_result())
            }),
            (Phase::New, _) => {
                refuse(request, ErrorCode::ServerNotInitialized, "send `initialize` first")
            }
            (Phase::ShutDown, _) => {
                refuse(request, ErrorCode::InvalidRequest, "the server is shut down")
            }
            (Phase::Running, requests::Shutdown::METHOD) => {
                self.phase = Phase::ShutDown;
                answer(request, |(): ()| Ok(()))
            }
            (Phase::Running, requests::Initialize::METHOD) => {
                refuse(request, ErrorCode::InvalidRequest, "the server is already initialized")
            }
            (Phase::Running, _) => self.answer_about_document(request),
        }
    }

    fn answer_about_document(&self, request: Request) -> Response {
        match request.method.as_str() {
            requests::HoverRequest::METHOD => answer(request, |params: lsp_types::HoverParams| {
                let at = params.text_document_position_params;
                let document = self.documents.get(&at.text_document.uri);
                Ok(document.and_then(|document| hover::hover(document, at.position, self.markdown)))
            }),
            requests::GotoDefinition::METHOD => {
                answer(request, |params: lsp_types::GotoDefinitionParams| {
                    let at = params.text_document_position_params;
                    let document = self.documents.get(&at.text_document.uri);
                    let found = document.and_then(|d| definition::definition(d, at.position));
                    Ok(found.map(GotoDefinitionResponse::Scalar))
                })
            }
            requests::Completion::METHOD => {
                answer(request, |params: lsp_types::CompletionParams| {
                    let at = params.text_document_position;
                    let document = self.documents.get(&at.text_document.uri);
                    let found = document.map(|d| completion::completions(d, at.position));
                    Ok(found.map(CompletionResponse::Array))
                })
            }
            requests::Formatting::METHOD => {
                answer(request, |params: lsp_types::DocumentFormattingParams| {
                    self.documents.get(&params.text_document.uri).map(formatting::edits).transpose()
                })
            }
            requests::DocumentSymbolRequest::METHOD => {
                answer(request, |params: lsp_types::DocumentSymbolParams| {
                    let found = self.documents.get(&params.text_document.uri).map(symbols::symbols);
                    Ok(found.map(DocumentSymbolResponse::Nested))
                })
            }
            method => {
                let message = format!("no method `{method}`");
                refuse(request, ErrorCode::MethodNotFound, &message)
            }
        }
    }

    /// Handles a notification. One that cannot be understood has no answer and is ignored.
    fn notified(&mut self, notification: Notification) -> Vec<Message> {
        if notification.method == notifications::Exit::METHOD {
            self.exited = true;
        }
        if self.phase != Phase::Running {
            return Vec::new();
        }
        match notification.method.as_str() {
            notifications::DidOpenTextDocument::METHOD => params(notification)
                .map_or_else(Vec::new, |params: lsp_types::DidOpenTextDocumentParams| {
                    self.open(params.text_document)
                }),
            notifications::DidChangeTextDocument::METHOD => {
                params(notification).map_or_else(Vec::new, |params| self.change(params))
            }
            notifications::DidSaveTextDocument::METHOD => params(notification).map_or_else(
                Vec::new,
                |params: lsp_types::DidSaveTextDocumentParams| {
                    self.reload(&params.text_document.uri)
                },
            ),
            notifications::DidCloseTextDocument::METHOD => params(notification).map_or_else(
                Vec::new,
                |params: lsp_types::DidCloseTextDocumentParams| {
                    self.close(&params.text_document.uri)
                },
            ),
            _ => Vec::new(),
        }
    }

    fn open(&mut self, item: lsp_types::TextDocumentItem) -> Vec<Message> {
        let is_open = self.documents.contains_key(&item.uri);
        if !is_open && self.documents.len() >= MAX_DOCUMENTS {
            let message = format!("{MAX_DOCUMENTS} definitions are open; close one first");
            return show_message(message).into_iter().collect();
        }
        let settings = Document::find_settings(&item.uri, self.read_directive);
        self.update(item.uri, item.version, item.text, settings)
    }

    fn change(&mut self, params: lsp_types::DidChangeTextDocumentParams) -> Vec<Message> {
        let uri = params.text_document.uri;
        let Some(document) = self.documents.get(&uri) else { return Vec::new() };
        let mut text = Some(document.text.to_string());
        for change in &params.content_changes {
            text = text.and_then(|text| edited(&text, change));
        }
        let settings = document.settings.clone();
        match text {
            Some(text) => self.update(uri, params.text_document.version, text, settings),
            None => self.too_large(&uri),
        }
    }

    /// Reads the options of a document again.
    fn reload(&mut self, uri: &Uri) -> Vec<Message> {
        let Some(document) = self.documents.get(uri) else { return Vec::new() };
        let settings = Document::find_settings(uri, self.read_directive);
        let (version, text) = (document.version, document.text.to_string());
        self.update(uri.clone(), version, text, settings)
    }

    fn close(&mut self, uri: &Uri) -> Vec<Message> {
        self.documents.remove(uri);
        let mut changed: BTreeSet<Uri> = BTreeSet::from([uri.clone()]);
        changed.extend(self.published.remove(uri).unwrap_or_default().into_keys());
        self.publish(changed)
    }

    fn too_large(&mut self, uri: &Uri) -> Vec<Message> {
        let limit = usdt_files::TEXT_LIMIT >> 20;
        let message = format!("the document has more than {limit} MiB and is not checked");
        let mut out = self.close(uri);
        out.extend(show_message(message));
        out
    }

    /// Replaces the content of a document, and analyzes it and the documents that include it.
    fn update(&mut self, uri: Uri, version: i32, text: String, settings: Settings) -> Vec<Message> {
        if !fits(&text) {
            return self.too_large(&uri);
        }
        let text: Arc<str> = text.into();
        let mut contents: Contents = self
            .documents
            .values()
            .filter_map(|document| Some((document.path.clone()?, Arc::clone(&document.text))))
            .collect();
        let path = super::uri::to_path(&uri);
        contents.extend(path.clone().map(|path| (path, Arc::clone(&text))));
        let mut changed = BTreeSet::new();
        let document = Document::new(uri, version, text, settings, &contents);
        changed.extend(self.replace(document));
        let includes_it =
            |d: &&Document| path.as_ref().is_some_and(|p| d.included.values().any(|i| i == p));
        let stale: Vec<Document> = (self.documents.values().filter(includes_it))
            .map(|d| {
                let (uri, text) = (d.uri.clone(), Arc::clone(&d.text));
                Document::new(uri, d.version, text, d.settings.clone(), &contents)
            })
            .collect();
        for document in stale {
            changed.extend(self.replace(document));
        }
        self.publish(changed)
    }

    /// Replaces a document. Returns the documents whose diagnostics may have changed.
    fn replace(&mut self, document: Document) -> BTreeSet<Uri> {
        let uri = document.uri.clone();
        let mut by_document: BTreeMap<Uri, Vec<lsp_types::Diagnostic>> = BTreeMap::new();
        for (uri, diagnostic) in diagnostics::diagnostics(&document) {
            by_document.entry(uri).or_default().push(diagnostic);
        }
        let mut changed: BTreeSet<Uri> = by_document.keys().cloned().collect();
        changed.insert(uri.clone());
        let before = self.published.insert(uri.clone(), by_document);
        changed.extend(before.unwrap_or_default().into_keys());
        self.documents.insert(uri, document);
        changed
    }

    /// Returns the notifications with all diagnostics of documents. Several definitions can have
    /// found the same ones in a file that they include.
    fn publish(&self, documents: BTreeSet<Uri>) -> Vec<Message> {
        let notification = |uri: Uri| {
            let mut diagnostics: Vec<lsp_types::Diagnostic> = Vec::new();
            for found in self.published.values().filter_map(|by_document| by_document.get(&uri)) {
                for diagnostic in found {
                    if !diagnostics.contains(diagnostic) {
                        diagnostics.push(diagnostic.clone());
                    }
                }
            }
            let version = self.documents.get(&uri).map(|document| document.version);
            let params = PublishDiagnosticsParams { uri, diagnostics, version };
            notify(notifications::PublishDiagnostics::METHOD, &params)
        };
        documents.into_iter().filter_map(notification).collect()
    }
}

/// Returns true if the editor renders Markdown in hovers.
fn renders_markdown(params: &Value) -> bool {
    let formats = params.pointer("/capabilities/textDocument/hover/contentFormat");
    let formats = formats.and_then(Value::as_array);
    formats.is_some_and(|formats| formats.iter().any(|format| format == "markdown"))
}

/// Returns the result of `initialize`. The types for it and for its parameters describe all that
/// the protocol has; their code would be a quarter of this program.
fn initialize_result() -> Value {
    json!({
        "capabilities": {
            "textDocumentSync": {
                "openClose": true,
                "change": TextDocumentSyncKind::INCREMENTAL,
                "save": true,
            },
            "hoverProvider": true,
            "completionProvider": { "triggerCharacters": ["@", "#"] },
            "definitionProvider": true,
            "documentSymbolProvider": true,
            "documentFormattingProvider": true,
        },
        "serverInfo": { "name": "usdt-gen", "version": env!("CARGO_PKG_VERSION") },
    })
}

/// Answers a request. The error of `result` is a message for the user.
fn answer<P: DeserializeOwned, R: Serialize>(
    request: Request,
    result: impl FnOnce(P) -> Result<R, String>,
) -> Response {
    let params = match serde_json::from_value(request.params) {
        Ok(params) => params,
        Err(error) => {
            let message = format!("invalid parameters of `{}`: {error}", request.method);
            return Response::new_err(request.id, ErrorCode::InvalidParams as i32, message);
        }
    };
    let value = result(params).map_err(|message| (ErrorCode::RequestFailed, message));
    let value = value.and_then(|result| {
        serde_json::to_value(result).map_err(|error| (ErrorCode::InternalError, error.to_string()))
    });
    match value {
        Ok(value) => Response { id: request.id, response_result: Ok(value) },
        Err((code, message)) => Response::new_err(request.id, code as i32, message),
    }
}

fn refuse(request: Request, code: ErrorCode, message: &str) -> Response {
    Response::new_err(request.id, code as i32, message.to_owned())
}

fn params<P: DeserializeOwned>(notification: Notification) -> Option<P> {
    serde_json::from_value(notification.params).ok()
}

fn notify(method: &str, params: &impl Serialize) -> Option<Message> {
    let params = serde_json::to_value(params).ok()?;
    Some(Notification { method: method.to_owned(), params }.into())
}

fn show_message(message: String) -> Option<Message> {
    let params = ShowMessageParams { typ: MessageType::WARNING, message };
    notify(notifications::ShowMessage::METHOD, &params)
}
