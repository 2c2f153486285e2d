//! Who asks: the session token of a request, from its header or its cookie.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
};
use chinwag_domain::Actor;
use chinwag_protocol::Refused;

use super::{
    body::{is_json, is_octets},
    cookie,
    origin::Host,
    refusal::Refusal,
};
use crate::shared::Shared;

/// A session token, and how it came.
#[derive(Clone)]
pub(super) struct Credential {
    /// The token. Not printed anywhere.
    pub(super) token: String,
    /// The browser added it by itself, so the page that asks must be checked.
    pub(super) by_cookie: bool,
}

impl Credential {
    /// The credential of a request. A header counts before a cookie.
    ///
    /// # Errors
    /// 400 if there are two of a kind.
    pub(super) fn find(headers: &HeaderMap, host: &Host) -> Result<Option<Self>, Refusal> {
        let ambiguous =
            || Refusal::with_status(StatusCode::BAD_REQUEST, "two_sessions", "two sessions in one request");
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        match (values.next().map(HeaderValue::to_str), values.next()) {
            (None, _) => {
                let token = cookie::token(headers, host.secure).map_err(|_| ambiguous())?;
                Ok(token.map(|token| Self { token, by_cookie: true }))
            }
            (Some(Ok(value)), None) => match value.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                    Ok(Some(Self { token: token.trim().to_owned(), by_cookie: false }))
                }
                _ => Err(Refused::not_signed_in().into()),
            },
            _ => Err(ambiguous()),
        }
    }
}

/// A request that changes something or tells something personal, from whoever is signed in.
pub(super) struct SignedIn {
    /// On whose behalf.
    pub(super) actor: Actor,
    /// How he showed it.
    pub(super) credential: Credential,
}

impl FromRequestParts<Shared> for SignedIn {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let host = host(parts);
        let credential = Credential::find(&parts.headers, &host)?.ok_or_else(Refused::not_signed_in)?;
        if credential.by_cookie {
            check_page(&parts.headers, shared, &host, true)?;
        }
        let actor = shared.messenger.actor(&credential.token).await?;
        Ok(Self { actor, credential })
    }
}

/// A request of somebody who is not signed in yet, from a page of ours or from a program.
pub(super) struct Stranger {
    /// The host he asked.
    pub(super) host: Host,
}

impl FromRequestParts<Shared> for Stranger {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let host = host(parts);
        check_page(&parts.headers, shared, &host, false)?;
        Ok(Self { host })
    }
}

/// The host that `http::serve` found good.
pub(super) fn host(parts: &Parts) -> Host {
    parts.extensions.get::<Host>().cloned().expect("serve sets the host before any route is asked")
}

fn check_page(headers: &HeaderMap, shared: &Shared, host: &Host, by_cookie: bool) -> Result<(), Refusal> {
    // A form of another site can send text/plain with JSON in it, but neither of these without asking first.
    if (is_json(headers) || is_octets(headers)) && shared.names.may_write(headers, host, by_cookie) {
        Ok(())
    } else {
        Err(Refused::forbidden("cross_site", "requests of other sites are refused").into())
    }
}
