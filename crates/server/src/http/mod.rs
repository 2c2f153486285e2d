//! The native door over HTTP: translation only.
//!
//! Every request passes [`serve`], which refuses what is not for this server, counts failures of an address, and
//! gives each answer the same headers. Rights are not decided here; see `chinwag-domain`.

mod api;
mod assets;
mod avatars;
mod body;
pub mod cookie;
mod credential;
mod doors;
mod files;
mod headers;
pub mod json;
mod openapi;
pub mod origin;
mod refusal;
mod strict;

use std::net::{IpAddr, SocketAddr};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, Method, Response, StatusCode, Uri, header},
    response::IntoResponse,
    routing::{MethodRouter, get, post},
};
use tower::ServiceExt;

pub use openapi::document;
use refusal::Refusal;

use crate::{
    listen::{FAULT_PATH, Fault, FaultCell, Peer},
    shared::Shared,
};

/// Every route. What is not here is a file of the web app, or nothing.
fn routes() -> [(&'static str, MethodRouter<Shared>); 15] {
    [
        ("/api/register", post(api::register)),
        ("/api/sign-in", post(api::sign_in)),
        ("/api/sign-out", post(api::sign_out)),
        ("/api/reset", post(api::reset)),
        ("/api/command", post(api::command)),
        ("/api/query", post(api::query)),
        ("/api/server", get(api::server)),
        ("/api/openapi.json", get(openapi::serve)),
        ("/api/files", post(files::upload)),
        ("/api/files/{conversation}/{seq}/{index}", get(files::download)),
        ("/api/avatars/users/{user}/{file}", get(avatars::of_user)),
        ("/api/avatars/conversations/{conversation}/{file}", get(avatars::of_conversation)),
        ("/api/ws", get(api::websocket)),
        ("/api/doors", get(doors::list).post(doors::set)),
        ("/health", get(api::health)),
    ]
}

/// The routes, over what they share.
pub fn router(shared: Shared) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .method_not_allowed_fallback(wrong_method)
        .fallback(other)
        .with_state(shared)
}

/// Answers one request of the application.
pub async fn serve(
    shared: &Shared,
    router: Router,
    fault: &FaultCell,
    mut request: Request,
) -> Response<Body> {
    let peer = behind_proxies(shared, &mut request).ip();
    let host = shared.names.host(request.uri(), request.headers());
    let https = host.as_ref().is_some_and(|host| shared.config.is_https(&host.authority));
    let wants_upgrade = request.headers().contains_key(header::UPGRADE);
    let fault = fault.get().filter(|_| request.uri().path() == FAULT_PATH);
    let mut response = match (fault, host) {
        (Some(fault), _) => answer_fault(*fault),
        (None, None) => not_for_us(&request),
        (None, Some(host)) => match shared.limiter.may_ask(peer) {
            Err(refused) => Refusal::from(refused).into_response(),
            Ok(()) => {
                request.extensions_mut().insert(host);
                match router.oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        },
    };
    if matches!(response.status().as_u16(), 401 | 403 | 404 | 429) {
        shared.limiter.failed(peer);
    }
    count(response.status());
    headers::add(response.headers_mut(), https);
    let stays = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    // After a head that asks for another protocol the guard lets everything through, so nothing may follow. And a
    // body that was refused unread would be taken for the next request by nobody, but costs reading it.
    let refused_body = matches!(response.status().as_u16(), 408 | 413);
    if !stays && (wants_upgrade || fault.is_some() || refused_body || shared.budget.is_tight()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The address of the client itself, if a proxy of the configuration says so; nobody else is believed.
fn behind_proxies(shared: &Shared, request: &mut Request) -> SocketAddr {
    let Peer(mut peer) = *request.extensions().get::<Peer>().expect("the listener knows the peer");
    let proxies = &shared.config.proxies;
    if proxies.contains(&peer.ip().to_canonical()) {
        let values = request.headers().get_all("x-forwarded-for").iter().rev();
        let stated = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(','));
        // The nearest address that is no proxy of ours: what stands further left anybody may have written.
        let client = stated.map_while(|ip| ip.trim().parse::<IpAddr>().ok()).find(|ip| !proxies.contains(ip));
        if let Some(client) = client {
            peer.set_ip(client);
            request.extensions_mut().insert(Peer(peer));
        }
    }
    peer
}

/// Answers one request of the listener for figures.
pub fn serve_metrics(shared: &Shared, fault: &FaultCell, request: &Request) -> Response<Body> {
    // Whatever this server is called elsewhere, this listener is for the machine itself.
    let names = origin::Names { loopback_only: true, ..origin::Names::default() };
    let known = names.host(request.uri(), request.headers()).is_some();
    let mut response = match (fault.get(), &shared.metrics, request.uri().path()) {
        (Some(fault), _, FAULT_PATH) => answer_fault(*fault),
        _ if !known => not_for_us(request),
        (_, Some(metrics), "/metrics") if request.method() == Method::GET => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            ([(header::CONTENT_TYPE, kind)], metrics.render()).into_response()
        }
        _ => not_found(),
    };
    headers::add(response.headers_mut(), false);
    response
}

/// By class only: a figure per path or code would let strangers make as many as they like.
fn count(status: StatusCode) {
    let class = match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    metrics::counter!("chinwag_http_answers_total", "class" => class).increment(1);
    tracing::debug!(status = status.as_u16(), "a request was answered");
}

pub(crate) fn answer_fault(fault: Fault) -> Response<Body> {
    let (status, code, message) = match fault {
        Fault::Malformed => {
            (StatusCode::BAD_REQUEST, "bad_request", "this is not a well-formed HTTP request")
        }
        Fault::HeadTooLarge => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large", "the head is too large")
        }
        Fault::UriTooLong => (StatusCode::URI_TOO_LONG, "too_large", "the path is too long"),
        Fault::LengthRequired => (
            StatusCode::LENGTH_REQUIRED,
            "length_required",
            "a body needs a Content-Length; chunks are not taken",
        ),
        Fault::HeadTimeout => (StatusCode::REQUEST_TIMEOUT, "too_slow", "the request did not arrive in time"),
        Fault::TooManyConnections => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_connections",
            "too many connections from this address",
        ),
    };
    let refusal = Refusal::with_status(status, code, message);
    let later = matches!(fault, Fault::TooManyConnections);
    if later { refusal.retry_after(5_000).into_response() } else { refusal.into_response() }
}

/// A name that is not ours: rebinding, or a proxy of which the configuration does not know.
fn not_for_us(request: &Request) -> Response<Body> {
    let absolute = request.uri().authority().is_some();
    let (status, message) = if absolute {
        (StatusCode::BAD_REQUEST, "the request names two different hosts, or one that is not ours")
    } else {
        let message =
            "this server does not answer under that name: set public_url or hosts in its configuration";
        (StatusCode::MISDIRECTED_REQUEST, message)
    };
    let mut response = Refusal::with_status(status, "wrong_host", message).into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn not_found() -> Response<Body> {
    Refusal::from(chinwag_protocol::Refused::not_found()).into_response()
}

async fn wrong_method() -> Refusal {
    let message = "this path does not take that method";
    Refusal::with_status(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message)
}

/// What is no route: the web app, or nothing.
async fn other(method: Method, uri: Uri, request: Request) -> Response<Body> {
    // However it is spelled, what looks like the API is never a page.
    let first = uri.path().split('/').nth(1).unwrap_or_default();
    if first.eq_ignore_ascii_case("api") || first.eq_ignore_ascii_case("health") {
        return not_found();
    }
    assets::answer(&method, uri.path(), request.headers()).unwrap_or_else(not_found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = serde_json::to_value(document()).unwrap();
        let described = document["paths"].as_object().unwrap().keys().map(String::as_str);
        let mut routes = routes().map(|(path, _)| path);
        routes.sort_unstable();
        assert!(described.eq(routes));
    }

    #[test]
    fn the_description_is_complete_in_itself() {
        let document = serde_json::to_value(document()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut missing = Vec::new();
        check_references(&document, &document, &mut missing);
        assert!(missing.is_empty(), "referred to, but not there: {missing:?}");
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.keys().any(|status| status == "200" || status == "101"), "{method} {path}");
                if path.starts_with("/api/") && path != "/api/openapi.json" {
                    for refusal in ["400", "401", "403", "404", "409", "413", "429", "503", "507"] {
                        assert!(responses.contains_key(refusal), "{method} {path} does not name {refusal}");
                    }
                }
            }
        }
    }

    fn check_references(part: &serde_json::Value, document: &serde_json::Value, missing: &mut Vec<String>) {
        match part {
            serde_json::Value::Object(fields) => {
                if let Some(reference) = fields.get("$ref").and_then(|reference| reference.as_str())
                    && document.pointer(reference.trim_start_matches('#')).is_none()
                {
                    missing.push(reference.to_owned());
                }
                fields.values().for_each(|inner| check_references(inner, document, missing));
            }
            serde_json::Value::Array(parts) => {
                parts.iter().for_each(|inner| check_references(inner, document, missing));
            }
            _ => {}
        }
    }
}
