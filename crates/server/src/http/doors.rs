//! `/api/doors`: for administrators, which doors there are, and stopping and opening them.

use axum::{Json as Answered, extract::State};
use chinwag_domain::Actor;
use chinwag_protocol::{DoorView, Kind, Refused, SetDoor};

use super::{body::Json, credential::SignedIn, refusal::Refusal};
use crate::{messenger::Messenger, shared::Shared};

/// Every door of the configuration.
#[utoipa::path(get, path = "/api/doors", tag = "server", responses(
    (status = 200, description = "the doors", body = Vec<DoorView>), super::openapi::Refusals))]
pub(super) async fn list(
    State(shared): State<Shared>,
    signed_in: SignedIn,
) -> Result<Answered<Vec<DoorView>>, Refusal> {
    administers(&shared.messenger, &signed_in.actor).await?;
    Ok(Answered(shared.doors.list()))
}

/// Opens or stops a door until the server starts again.
#[utoipa::path(post, path = "/api/doors", tag = "server", request_body = SetDoor, responses(
    (status = 200, description = "the door", body = DoorView), super::openapi::Refusals))]
pub(super) async fn set(
    State(shared): State<Shared>,
    signed_in: SignedIn,
    Json(set): Json<SetDoor>,
) -> Result<Answered<DoorView>, Refusal> {
    administers(&shared.messenger, &signed_in.actor).await?;
    let view = shared.doors.set(&set.name, set.open, &shared).await?;
    tracing::info!(door = set.name, open = set.open, by = %signed_in.actor.user, "a door was set");
    Ok(Answered(view))
}

/// Only administrators of the server, and never through a door.
async fn administers(messenger: &Messenger, actor: &Actor) -> Result<(), Refused> {
    let (user, is_native) = (actor.user, actor.door.is_none());
    let is_admin =
        messenger.read(move |reader| Ok(reader.user(user)?.is_some_and(|user| user.admin))).await?;
    if is_admin && is_native {
        return Ok(());
    }
    Err(Refused::new(Kind::Forbidden, "forbidden", "only administrators of the server may do this"))
}
