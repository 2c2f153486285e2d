//! Links over Socket.IO and HTTP: a listener for each address of the door, an engine that knows its connections, and
//! a link for each of them and for each request.
//!
//! Engine.IO with its two transports and its upgrade, and Socket.IO's packets, are the library's; names, rooms and
//! acknowledgements are the door's. The library reads by itself, so a client cannot be made to wait as on other
//! doors: what it sends ahead is bounded, and beyond the bound its connection ends.

mod link;

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Display,
    future::{Ready, ready},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use axum::{
    Json,
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header},
    response::IntoResponse,
};
use chinwag_doors::Input;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{body::Incoming, service::Service};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use socketioxide::{
    ParserConfig, SocketIo, adapter::LocalAdapter, handler::ConnectHandler, service::SocketIoService,
    socket::Socket,
};
use socketioxide_core::{Sid, Value};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until, timeout},
};

use self::link::{Events, Handle};
use super::gate::Gate;
use crate::{
    http,
    listen::{FAULT_PATH, FaultCell, Peer, drive},
    shared::Shared,
};

/// "`pingInterval` 25000, `pingTimeout` 20000."
const PING_EVERY: Duration = Duration::from_secs(25);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// From the opening of a connection to its `40`.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A message of the largest text with every letter escaped, and its keys; also a polling body of several packets.
const PAYLOAD_BYTES_MAX: usize = 128 * 1024;

/// Packets that wait in the engine for a client to take them; more wait in the link, and behind it in the log.
const PACKETS_MAX: usize = 256;

/// When an acknowledgement is given up. By then the door takes a message for delivered without it.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(50);

/// The body of a plain request.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// For the body of a request, and for its answer.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Engine = SocketIoService<NotHere>;

/// What the engine asks when a request is not for it, which it never gets.
#[derive(Clone)]
struct NotHere;

impl Service<Request<Incoming>> for NotHere {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn call(&self, _request: Request<Incoming>) -> Self::Future {
        ready(Ok(no(StatusCode::NOT_FOUND, "not found")))
    }
}

/// Accepts connections until the door is closed.
pub(super) async fn listen(gate: Arc<Gate>, listener: TcpListener, shared: Shared) {
    let links = Links::default();
    let (engine, io) = SocketIo::builder()
        .ping_interval(PING_EVERY)
        .ping_timeout(PONG_WITHIN)
        .connect_timeout(CONNECT_WITHIN)
        .ack_timeout(ACKNOWLEDGED_WITHIN)
        .max_payload(PAYLOAD_BYTES_MAX as u64)
        .ws_max_message_size(PAYLOAD_BYTES_MAX)
        .ws_max_frame_size(PAYLOAD_BYTES_MAX)
        .max_buffer_size(PACKETS_MAX)
        // This wire has no binary parts.
        .with_parser(ParserConfig::common().max_incoming_binaries(0))
        .build_with_inner_svc(NotHere);
    io.ns("/", Connect { gate: Arc::clone(&gate), links: links.clone() });
    loop {
        let accepted = tokio::select! {
            () = gate.shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let site =
                    Site { gate: Arc::clone(&gate), engine: engine.clone(), links: links.clone(), peer };
                gate.tasks.spawn(connection(stream, site, shared.clone()));
            }
            Err(error) => {
                tracing::warn!(door = gate.name, %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    io.close().await;
}

/// The connections of the engine, by the id that their clients name them with. A handle is kept by the engine's
/// socket and the link's task, and takes its place here along when both let go of it.
#[derive(Clone, Default)]
struct Links(Arc<Mutex<HashMap<Sid, Weak<Handle>>>>);

impl Links {
    fn lock(&self) -> MutexGuard<'_, HashMap<Sid, Weak<Handle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, sid: Sid) -> Option<Arc<Handle>> {
        self.lock().get(&sid).and_then(Weak::upgrade)
    }
}

/// What happens when a client joins the one namespace that there is.
#[derive(Clone)]
struct Connect {
    gate: Arc<Gate>,
    links: Links,
}

/// Tells our handlers from those that the library makes of functions.
enum Own {}

/// Whether a client may join, and why not.
type Joins<'a> = Pin<Box<dyn Future<Output = Result<(), Box<dyn Display + Send>>> + Send + 'a>>;

impl ConnectHandler<LocalAdapter, Own> for Connect {
    /// Before the client is told that it has joined, after which it speaks at once: what came before there was
    /// somebody to take it would be lost.
    fn call_middleware<'a>(&'a self, socket: Arc<Socket>, _auth: &'a Option<Value>) -> Joins<'a> {
        let Some(Peer(peer)) = socket.req_parts().extensions.get::<Peer>().copied() else {
            // Every request has it; without it nobody would be counted.
            return Box::pin(ready(Err(Box::new("from nowhere") as Box<dyn Display + Send>)));
        };
        let handle = Handle::new(peer, socket.id, self.links.clone());
        self.links.lock().insert(socket.id, Arc::downgrade(&handle));
        let gone = handle.gone.clone();
        socket.on_disconnect(async move || gone.cancel());
        socket.on_fallback(Events::new(handle));
        Box::pin(ready(Ok(())))
    }

    fn call(&self, socket: Arc<Socket>, _auth: Option<Value>) {
        let handle = self.links.get(socket.id);
        let Some((handle, said)) = handle.and_then(|handle| Some((Arc::clone(&handle), handle.said()?)))
        else {
            let _ = socket.disconnect();
            return;
        };
        let gate = Arc::clone(&self.gate);
        self.gate.tasks.spawn(async move { link::run(&gate, socket, &handle, said).await });
    }
}

/// What answers the requests of one TCP connection.
#[derive(Clone)]
struct Site {
    gate: Arc<Gate>,
    engine: Engine,
    links: Links,
    peer: SocketAddr,
}

async fn connection(stream: TcpStream, site: Site, shared: Shared) {
    let (peer, shutdown) = (site.peer, site.gate.shutdown.clone());
    // The engine keeps the request that opened a connection: so a polling one has its place in the budget too.
    let answer = move |request, fault: FaultCell| {
        let site = site.clone();
        async move { site.answer(request, &fault).await }
    };
    drive(stream, peer, &shared, &shutdown, answer).await;
}

impl Site {
    async fn answer(&self, request: Request<Incoming>, fault: &FaultCell) -> Response<Body> {
        let ip = self.peer.ip();
        let wants_upgrade = request.headers().contains_key(header::UPGRADE);
        let limiter = self.gate.messenger.limiter();
        let mut response = match fault.get().filter(|_| request.uri().path() == FAULT_PATH) {
            Some(fault) => http::answer_fault(*fault),
            None if limiter.may_ask(ip).is_err() => no(StatusCode::TOO_MANY_REQUESTS, "too many requests"),
            None if is_foreign(request.headers()) => no(StatusCode::FORBIDDEN, "not from another site"),
            None if is_of_engine(request.uri().path()) => self.engine(request).await,
            None => self.plain(request).await,
        };
        if matches!(response.status().as_u16(), 403 | 404) {
            limiter.failed(ip);
        }
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // After a head that asks for another protocol the guard lets everything through, so nothing may follow.
        let stays = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let refused_body = matches!(response.status().as_u16(), 408 | 413);
        if !stays && (wants_upgrade || fault.get().is_some() || refused_body) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// A request of Engine.IO's two transports.
    async fn engine(&self, request: Request<Incoming>) -> Response<Body> {
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if length
            .and_then(|length| length.parse().ok())
            .is_some_and(|length: usize| length > PAYLOAD_BYTES_MAX)
        {
            return no(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
        }
        let sid = request
            .uri()
            .query()
            .and_then(|query| query.split('&').find_map(|part| part.strip_prefix("sid=")));
        let handle = sid.and_then(|sid| sid.parse().ok()).and_then(|sid| self.links.get(sid));
        if handle.as_ref().is_some_and(|handle| handle.peer.ip() != self.peer.ip()) {
            // Its id is all that a connection is known by, so it is good from one address only.
            return (StatusCode::BAD_REQUEST, Json(json!({"code": "1", "message": "Session ID unknown"})))
                .into_response();
        }
        let is_poll = request.method() == Method::GET && !request.headers().contains_key(header::UPGRADE);
        let poll = handle.filter(|_| is_poll).map(Handle::poll);
        let response = match Service::call(&self.engine, request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        };
        if let Some(poll) = poll {
            poll.answered();
        }
        response
    }

    /// A request of the door itself.
    async fn plain(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let header = |name: &str| parts.headers.get(name).map(text);
        let body = match timeout(REQUEST_WITHIN, Limited::new(body, BODY_BYTES_MAX).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return no(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
            }
            Ok(Err(_)) => return no(StatusCode::BAD_REQUEST, "the body broke off"),
            Err(_) => return no(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
        };
        let Ok(body) = str::from_utf8(&body) else {
            return no(StatusCode::BAD_REQUEST, "the body is not UTF-8");
        };
        let asked = Asked {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            username: header("username"),
            jwt: header("jwt"),
            body,
        };
        let asked = serde_json::to_vec(&asked).expect("texts can be written");
        // In a task of its own: a client that goes away in the middle must leave no link behind.
        let gate = Arc::clone(&self.gate);
        let answered = self.gate.tasks.spawn(ask(gate, self.peer, asked)).await;
        let answer = answered.ok().flatten();
        let answer = answer.as_ref().and_then(|bytes| serde_json::from_slice::<Answered<'_>>(bytes).ok());
        match answer {
            Some(answer) => {
                let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let kind = HeaderValue::from_static("application/json");
                (status, [(header::CONTENT_TYPE, kind)], answer.body.get().to_owned()).into_response()
            }
            None => no(StatusCode::SERVICE_UNAVAILABLE, "no answer in time"),
        }
    }
}

/// A request, as the door reads it.
#[derive(Serialize)]
struct Asked<'a> {
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
}

/// What the door answers to it.
#[derive(Deserialize)]
struct Answered<'a> {
    status: u16,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// The text of a header. Programs of this wire put names there as they are: some as UTF-8, some, such as Python's, one
/// byte for each of the first 256 letters.
fn text(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned)
}

/// Asks the door on a link of the request's own, which is told no entries: nobody would read them.
async fn ask(gate: Arc<Gate>, peer: SocketAddr, asked: Vec<u8>) -> Option<Vec<u8>> {
    let line = gate.open(peer, None);
    gate.tell(line.id, Input::Bytes { link: line.id, bytes: &asked });
    let deadline = Instant::now() + REQUEST_WITHIN;
    let answer = loop {
        while let Some((ask, result)) = line.next_answer() {
            gate.answer(line.id, ask, result);
        }
        if let Some(answer) = line.next() {
            break Some(answer);
        }
        if line.is_over() || deadline <= Instant::now() {
            break None;
        }
        tokio::select! {
            () = gate.shutdown.cancelled() => break None,
            () = line.stirred.notified() => {}
            () = sleep_until(deadline) => {}
        }
    };
    gate.closed(&line);
    answer
}

fn no(status: StatusCode, message: &str) -> Response<Body> {
    (status, Json(json!({"error": message}))).into_response()
}

fn is_of_engine(path: &str) -> bool {
    path.strip_prefix("/socket.io").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a browser says that a page from elsewhere asks. No other site may: programs of this wire are no pages.
fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_none_or(|(_, authority)| Some(authority) != host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_header_is_read_in_either_way_of_writing_it() {
        for bytes in ["J\u{fc}rgen".as_bytes(), b"J\xfcrgen"] {
            let value = HeaderValue::from_bytes(bytes).expect("bytes of a header");
            assert_eq!(text(&value), "J\u{fc}rgen");
        }
        assert_eq!(text(&HeaderValue::from_static("Lisa")), "Lisa");
    }
}
