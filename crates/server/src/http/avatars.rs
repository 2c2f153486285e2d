//! Pictures that stand for users and conversations, over HTTP.
//!
//! The address has the name of the content in it, so what was fetched once need not be asked for again; another
//! picture has another address. Who may not know of the user or the conversation gets the answer for nothing, and so
//! does who asks for what is not shown any more.

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chinwag_domain::{Actor, limits::AVATAR_BYTES_MAX};
use chinwag_protocol::{ConversationId, FileId, Portrayed, Refused, UserId};

use super::{
    files::{Viewer, describe, is_known},
    refusal::Refusal,
};
use crate::shared::Shared;

/// The picture of a user, to whoever may know him.
#[utoipa::path(get, path = "/api/avatars/users/{user}/{file}", tag = "files",
    params(
        ("user" = u32, Path, description = "whose"),
        ("file" = String, Path, description = "which, as his profile says")),
    responses(
    (status = 200, description = "the picture", body = Vec<u8>, content_type = "image/*"),
    (status = 304, description = "it is what the asker has"),
    super::openapi::Refusals))]
pub(super) async fn of_user(
    State(shared): State<Shared>,
    Viewer(actor): Viewer,
    headers: HeaderMap,
    path: Result<Path<(u32, String)>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path((user, file)) = path.map_err(|_| Refused::not_found())?;
    give(&shared, &actor, &headers, Portrayed::User(UserId(user)), &file).await
}

/// The picture of a conversation, to its members, and of a public one to everybody who may find it.
#[utoipa::path(get, path = "/api/avatars/conversations/{conversation}/{file}", tag = "files",
    params(
        ("conversation" = u32, Path, description = "whose"),
        ("file" = String, Path, description = "which, as the view of the conversation says")),
    responses(
    (status = 200, description = "the picture", body = Vec<u8>, content_type = "image/*"),
    (status = 304, description = "it is what the asker has"),
    super::openapi::Refusals))]
pub(super) async fn of_conversation(
    State(shared): State<Shared>,
    Viewer(actor): Viewer,
    headers: HeaderMap,
    path: Result<Path<(u32, String)>, PathRejection>,
) -> Result<Response, Refusal> {
    let Path((conversation, file)) = path.map_err(|_| Refused::not_found())?;
    give(&shared, &actor, &headers, Portrayed::Conversation(ConversationId(conversation)), &file).await
}

async fn give(
    shared: &Shared,
    actor: &Actor,
    headers: &HeaderMap,
    of: Portrayed,
    file: &str,
) -> Result<Response, Refusal> {
    let file: FileId = file.parse().map_err(|_| Refused::not_found())?;
    let download = shared.messenger.avatar(actor, of, file).await?;
    let mut out = describe(&download.attachment);
    out.remove(header::ACCEPT_RANGES);
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    if is_known(headers, &out) {
        return Ok((StatusCode::NOT_MODIFIED, out).into_response());
    }
    Ok((out, download.bytes(AVATAR_BYTES_MAX).await?).into_response())
}
