//! The routes under `/api`: each translates a request for the messenger, and its verdict back.

use axum::{
    Json as Answered,
    extract::{Extension, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chinwag_protocol::{Answer, Command, Device, Query, Refused, Reply, ServerInfo};
use serde::{Deserialize, Serialize};

use super::{
    body::Json,
    cookie,
    credential::{Credential, SignedIn, Stranger, host},
    refusal::Refusal,
};
use crate::{listen::Peer, shared::Shared, upgrade, ws};

/// The body of `POST /api/reset`.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reset {
    /// The secret part of the reset link.
    pub(super) token: String,
    /// The new password, 8 to 256 characters.
    pub password: String,
}

/// An answer that holds nothing but the fact that it was done.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct Empty {}

/// Makes an account and signs it in.
#[utoipa::path(post, path = "/api/register", tag = "account", security(()), request_body = Device, responses(
    (status = 200, description = "signed in", body = chinwag_protocol::SignedIn), super::openapi::Refusals))]
pub(super) async fn register(
    State(shared): State<Shared>,
    Extension(peer): Extension<Peer>,
    stranger: Stranger,
    Json(device): Json<Device>,
) -> Result<Response, Refusal> {
    let into_cookie = device.cookie;
    let signed_in = shared.messenger.register(device, peer.0.ip(), "").await?;
    Ok(hand_over(signed_in, into_cookie, &stranger))
}

/// Signs in with handle and password.
#[utoipa::path(post, path = "/api/sign-in", tag = "account", security(()), request_body = Device, responses(
    (status = 200, description = "signed in", body = chinwag_protocol::SignedIn), super::openapi::Refusals))]
pub(super) async fn sign_in(
    State(shared): State<Shared>,
    Extension(peer): Extension<Peer>,
    stranger: Stranger,
    Json(device): Json<Device>,
) -> Result<Response, Refusal> {
    let into_cookie = device.cookie;
    let signed_in = shared.messenger.sign_in(device, peer.0.ip(), "").await?;
    Ok(hand_over(signed_in, into_cookie, &stranger))
}

fn hand_over(mut signed_in: chinwag_protocol::SignedIn, into_cookie: bool, stranger: &Stranger) -> Response {
    let token = if into_cookie { signed_in.token.take() } else { None };
    let mut response = Answered(signed_in).into_response();
    if let Some(token) = token {
        response.headers_mut().insert(header::SET_COOKIE, cookie::set(&token, stranger.host.secure));
    }
    response
}

/// Ends the session that asks.
#[utoipa::path(post, path = "/api/sign-out", tag = "account", responses(
    (status = 200, description = "the session has ended", body = Empty), super::openapi::Refusals))]
pub(super) async fn sign_out(
    State(shared): State<Shared>,
    signed_in: SignedIn,
    request: Request,
) -> Result<Response, Refusal> {
    shared.messenger.sign_out(&signed_in.actor).await?;
    let mut response = Answered(Empty {}).into_response();
    if signed_in.credential.by_cookie {
        let (parts, _body) = request.into_parts();
        let headers = response.headers_mut();
        headers.insert(header::SET_COOKIE, cookie::clear(host(&parts).secure));
        headers.insert("clear-site-data", HeaderValue::from_static("\"cache\", \"cookies\", \"storage\""));
    }
    Ok(response)
}

/// Chooses a new password with a reset link. Ends all sessions and does not sign in.
#[utoipa::path(post, path = "/api/reset", tag = "account", security(()), request_body = Reset, responses(
    (status = 200, description = "the new password is good", body = Empty), super::openapi::Refusals))]
pub(super) async fn reset(
    State(shared): State<Shared>,
    Extension(peer): Extension<Peer>,
    _stranger: Stranger,
    Json(reset): Json<Reset>,
) -> Result<Answered<Empty>, Refusal> {
    shared.messenger.reset(&reset.token, &reset.password, peer.0.ip()).await?;
    Ok(Answered(Empty {}))
}

/// Asks for a change.
#[utoipa::path(post, path = "/api/command", tag = "messenger", request_body = Command, responses(
    (status = 200, description = "done, and on disk", body = Reply), super::openapi::Refusals))]
pub(super) async fn command(
    State(shared): State<Shared>,
    signed_in: SignedIn,
    Json(command): Json<Command>,
) -> Result<Answered<Reply>, Refusal> {
    shared.limiter.command(signed_in.actor.user, &command)?;
    Ok(Answered(shared.messenger.command(&signed_in.actor, command).await?))
}

/// Asks to read.
#[utoipa::path(post, path = "/api/query", tag = "messenger", request_body = Query, responses(
    (status = 200, description = "the answer", body = Answer), super::openapi::Refusals))]
pub(super) async fn query(
    State(shared): State<Shared>,
    signed_in: SignedIn,
    Json(query): Json<Query>,
) -> Result<Answered<Answer>, Refusal> {
    Ok(Answered(shared.messenger.query(&signed_in.actor, query).await?))
}

/// What anybody may know of this server.
#[utoipa::path(get, path = "/api/server", tag = "server", security(()), responses(
    (status = 200, description = "the server", body = ServerInfo), super::openapi::Refusals))]
pub(super) async fn server(State(shared): State<Shared>) -> Result<Answered<ServerInfo>, Refusal> {
    Ok(Answered(shared.messenger.info().await?))
}

/// Whether the server accepts requests.
#[utoipa::path(get, path = "/health", tag = "server", security(()), responses(
    (status = 200, description = "ready", body = String, content_type = "text/plain"),
    (status = 503, description = "starting or stopping", body = String, content_type = "text/plain")))]
pub(super) async fn health(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    if shared.messenger.ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

/// Opens the WebSocket, described in `docs/protocol.md`.
#[utoipa::path(get, path = "/api/ws", tag = "messenger", responses(
    (status = 101, description = "from here on: frames of docs/protocol.md"),
    (status = 426, description = "not a WebSocket handshake of version 13", body = Refused),
    super::openapi::Refusals))]
pub(super) async fn websocket(State(shared): State<Shared>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let host = host(&parts);
    let credential = Credential::find(&parts.headers, &host)?;
    let by_cookie = credential.as_ref().is_some_and(|credential| credential.by_cookie);
    if !shared.names.may_write(&parts.headers, &host, by_cookie) {
        return Err(Refused::forbidden("cross_site", "connections of other sites are refused").into());
    }
    let handshake = match ws::accept(&parts.method, parts.version, &parts.headers) {
        Ok(handshake) => handshake,
        Err(status) => return Ok(no_handshake(status)),
    };
    if shared.budget.is_tight() && credential.is_none() {
        let refusal = Refused::too_many("too_many_connections", "too many connections", 5_000);
        return Err(refusal.into());
    }
    let request = Request::from_parts(parts, body);
    upgrade::spawn(shared, request, credential.map(|credential| credential.token));
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, handshake.accept),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

fn no_handshake(status: StatusCode) -> Response {
    let refusal =
        Refusal::with_status(status, "no_handshake", "expected a WebSocket handshake of version 13");
    let mut response = refusal.into_response();
    if status == StatusCode::UPGRADE_REQUIRED {
        let headers = response.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    response
}
