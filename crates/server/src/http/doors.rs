//! `/api/doors`: for administrators, which doors there are, and stopping and opening them.

use axum::{Json as Answered, extract::State};
use chinwag_domain::{Actor, Plan, policy::Action, rules::rights::rights};
use chinwag_protocol::{DoorView, Refused, SetDoor};

use super::{body::Json, credential::SignedIn, refusal::Refusal};
use crate::{messenger::Messenger, shared::Shared};

/// Every door of the configuration.
#[utoipa::path(get, path = "/api/doors", tag = "server", responses(
    (status = 200, description = "the doors", body = Vec<DoorView>), super::openapi::Refusals))]
pub(super) async fn list(
    State(shared): State<Shared>,
    signed_in: SignedIn,
) -> Result<Answered<Vec<DoorView>>, Refusal> {
    may_manage(&shared.messenger, &signed_in.actor, false).await?;
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
    may_manage(&shared.messenger, &signed_in.actor, true).await?;
    let view = shared.doors.set(&set.name, set.open, &shared).await?;
    tracing::info!(door = set.name, open = set.open, by = %signed_in.actor.user, "a door was set");
    Ok(Answered(view))
}

/// Asks the one policy: to look needs the right to manage the server, to change something a fresh proof besides.
async fn may_manage(messenger: &Messenger, actor: &Actor, changes: bool) -> Result<(), Refused> {
    let (asker, at) = (actor.clone(), messenger.now());
    let read = messenger.read(move |reader| {
        let mut rights = rights(&Plan::new(reader, at), &asker)?;
        rights.grounds.fresh |= !changes;
        Ok(rights.need_fresh(Action::ManageServer)?)
    });
    read.await
}
