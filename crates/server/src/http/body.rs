//! Reads a request's body: small, and not slower than a deadline and a rate allow.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use chinwag_domain::limits::BODY_BYTES_MAX;
use chinwag_protocol::{Kind, Refused};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::{json, refusal::Refusal};
use crate::{config::HttpConfig, shared::Shared};

/// A body of JSON, read into a type of the protocol.
pub(super) struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Refusal> {
        if !is_json(request.headers()) {
            let message = "the body must be declared as application/json";
            return Err(Refusal::with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message));
        }
        let bytes = read(request.into_body(), &shared.config.http).await?;
        Ok(Self(json::decode(&bytes)?))
    }
}

/// Whether a request says that its body is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    is_of_type(headers, "application/json")
}

/// Whether a request says that its body is a file as it is.
pub(super) fn is_octets(headers: &HeaderMap) -> bool {
    is_of_type(headers, "application/octet-stream")
}

fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(Ok(kind)), None) = (types.next().map(axum::http::HeaderValue::to_str), types.next()) else {
        return false;
    };
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
}

async fn read(mut body: Body, config: &HttpConfig) -> Result<Vec<u8>, Refusal> {
    let length = body.size_hint().exact().unwrap_or(u64::MAX);
    if length > BODY_BYTES_MAX as u64 {
        return Err(too_large().into());
    }
    let start = Instant::now();
    let mut bytes = Vec::new();
    loop {
        let earned = bytes.len() as u64 * 1000 / u64::from(config.body_bytes_per_s_min.max(1));
        let allowed = config.body_grace() + Duration::from_millis(earned);
        match timeout_at(start + allowed.min(config.body_timeout()), body.frame()).await {
            Err(_elapsed) => {
                let message = "the body did not arrive in time";
                return Err(Refusal::with_status(StatusCode::REQUEST_TIMEOUT, "too_slow", message));
            }
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(_broken))) => {
                return Err(Refused::new(Kind::Invalid, "cut_off", "the body ended before its length").into());
            }
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    bytes.extend_from_slice(&data);
                }
            }
        }
    }
}

fn too_large() -> Refused {
    Refused::new(Kind::TooLarge, "too_large", format!("the body is larger than {BODY_BYTES_MAX} bytes"))
}
