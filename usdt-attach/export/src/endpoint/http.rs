//! One connection of the endpoint: one request and its answer.
//!
//! A connection ends after its answer, so there are no idle ones. Nothing that a client does
//! extends it: each phase has a deadline, the size of a request is limited, and its body is never
//! read.

use super::auth::Access;
use super::connections::Slot;
use super::scrape::{Format, Scraper};
use super::web_config::Security;
use crate::heartbeat::{Heartbeat, MAX_SILENCE};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How long a client may take for the TLS handshake, and then to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last in all: the handshake, the request, the scrape and its answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(40);
/// The maximum size in bytes of the request line and headers.
const MAX_REQUEST: usize = 16 << 10;

/// What answers are made of.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) scraper: Scraper,
    pub(super) heartbeat: Arc<Heartbeat>,
}

/// Serves a connection until it has its answer, breaks a limit, or is closed through its slot.
pub(super) async fn serve<S>(stream: S, slot: Arc<Slot>, context: Context, security: Arc<Security>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = async {
        match &security.tls {
            None => answer(stream, &slot, &context, &security).await,
            Some(tls) => {
                let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
                // A client that does not speak TLS is no error of the endpoint.
                let Ok(Ok(stream)) = timeout(REQUEST_TIMEOUT, handshake).await else { return };
                answer(stream, &slot, &context, &security).await;
            }
        }
    };
    tokio::select! {
        () = connection => {}
        () = slot.closed() => {}
        () = tokio::time::sleep(CONNECTION_TIMEOUT) => {}
    }
}

async fn answer<S>(stream: S, slot: &Arc<Slot>, context: &Context, security: &Arc<Security>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
        slot.set_requested();
        // The body, if there is one, is dropped unread.
        let mut response = respond(&request.map(drop), slot, context, security).await;
        for (name, value) in &security.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        Ok::<_, Infallible>(response)
    });
    // Fails if the client breaks a limit or the protocol, or disconnects.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(MAX_REQUEST)
        .keep_alive(false)
        // A client that has sent its request may close its half of the connection.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    request: &Request<()>,
    slot: &Arc<Slot>,
    context: &Context,
    security: &Security,
) -> Response<Full<Bytes>> {
    if request.uri().path() == "/healthz" && is_read(request.method()) {
        // Without authentication: the liveness probe of a container platform has no password.
        return health(&context.heartbeat);
    }
    if let Some(users) = &security.users {
        let header = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        match users.check(header).await {
            Access::Granted => {}
            Access::Denied => {
                let mut response =
                    plain(StatusCode::UNAUTHORIZED, "wrong or missing user name or password\n");
                let challenge = HeaderValue::from_static("Basic realm=\"usdt-attach\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                return response;
            }
            Access::Busy => {
                return plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "too many requests with new or wrong passwords\n",
                );
            }
        }
    }
    if !is_read(request.method()) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "not found; the metrics are at /metrics\n");
    }
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::accepted_by(accept);
    match context.scraper.scrape(format, slot).await {
        Some(answer) => {
            let mut response = Response::new(Full::new(answer.page));
            let content_type = HeaderValue::from_static(answer.format.content_type());
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            if let Some(age) = answer.age {
                response.headers_mut().insert(header::AGE, age.as_secs().into());
            }
            response
        }
        None => plain(StatusCode::SERVICE_UNAVAILABLE, "the exporter is busy\n"),
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn health(heartbeat: &Heartbeat) -> Response<Full<Bytes>> {
    let silence = heartbeat.silence();
    if silence < MAX_SILENCE {
        return plain(StatusCode::OK, "ok\n");
    }
    plain(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("the exporter has hung for {} s\n", silence.as_secs()),
    )
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
