//! The description of the HTTP API, made from the routes and the types themselves.

use axum::Json;
use chinwag_protocol::Refused;
use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, ResponseBuilder,
        response::Response,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{api, avatars, cookie, doors, files};

/// The refusals that any route of the API may answer.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> std::collections::BTreeMap<String, RefOr<Response>> {
        [
            ("400", "the request makes no sense or breaks a limit (kind `invalid`)"),
            ("401", "no valid session (`not_signed_in`)"),
            ("403", "known, but not allowed, or from a page of another site (`forbidden`)"),
            ("404", "nothing there that the asker may know of (`not_found`)"),
            ("405", "the path does not take that method"),
            ("408", "the request did not arrive in time"),
            ("409", "contradicts what is there (`conflict`)"),
            ("411", "a body without a length"),
            ("413", "larger than a limit (`too_large`)"),
            ("415", "the body is not declared as JSON"),
            ("421", "the server does not answer under that name"),
            ("429", "too fast: try again after `retry_after_ms` (`too_many`)"),
            ("431", "the head is too large"),
            ("503", "nobody knows whether it happened, or the server is stopping (`unavailable`)"),
            ("507", "the disk is full: reading goes on (`storage_full`)"),
        ]
        .into_iter()
        .map(|(status, description)| {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Refused"))).build();
            let response =
                ResponseBuilder::new().description(description).content("application/json", content).build();
            (status.to_owned(), RefOr::T(response))
        })
        .collect()
    }
}

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("ses_...").build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        let cookie = ApiKey::Cookie(ApiKeyValue::new(cookie::name(true)));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Chinwag",
        description = "Commands and queries over HTTP. What happens is told over the WebSocket at /api/ws."
    ),
    paths(
        api::register, api::sign_in, api::sign_out, api::reset, api::command, api::query, api::server, api::health,
        api::websocket, avatars::of_user, avatars::of_conversation, doors::list, doors::set, files::upload,
        files::download, serve
    ),
    components(schemas(Refused)),
    security(("token" = []), ("cookie" = [])),
    modifiers(&Credentials)
)]
struct Document;

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "server", security(()), responses(
    (status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn serve() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
