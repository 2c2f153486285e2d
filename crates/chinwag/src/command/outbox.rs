//! `chinwag outbox`, and the sending that it shares with `send`.

use std::time::Duration;

use chinwag_client::{
    ClientError,
    outbox::{Draft, Outbox, Outcome as Fate},
};
use chinwag_protocol::Reply;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::session::{Session, foreign};
use crate::{
    args::{Global, OutboxAction},
    exit::{Outcome, Stop, failed, usage},
    show::{self, Out, Progress, note},
};

/// How often it is looked whether another process has sent a message.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// `chinwag outbox`.
pub(crate) async fn run(global: &Global, out: &Out, action: Option<OutboxAction>) -> Outcome {
    let session = Session::find(global)?;
    let mut outbox = Outbox::open(&session.outbox()?)?;
    match action.unwrap_or(OutboxAction::List) {
        OutboxAction::List => {
            for draft in outbox.waiting() {
                out.either(
                    || json!(draft),
                    || {
                        let written = show::moment(draft.written_at, "%Y-%m-%d %H:%M");
                        format!(
                            "{written}  {}  id:{:<6}  {}",
                            draft.client_id,
                            draft.conversation,
                            show::one_line(&draft.text)
                        )
                    },
                )?;
            }
            Ok(())
        }
        OutboxAction::Send => {
            let all: Vec<Draft> = outbox.waiting().to_vec();
            let mut progress = Progress::new("sent");
            let mut refused = None;
            for (number, draft) in all.iter().enumerate() {
                match deliver(&session, &mut outbox, &draft.client_id, Duration::from_secs(30)).await? {
                    Delivered::Fate(Fate::Refused(why)) => {
                        note(&format!("refused: {} ({}): {}", why.message, why.code, draft.text));
                        refused = Some(why);
                    }
                    Delivered::Fate(_) => {}
                    Delivered::Waits { stop, .. } => return Err(stop),
                }
                progress.step(number + 1, all.len());
            }
            drop(progress);
            match refused {
                Some(why) => Err(Stop::Refused(why)),
                None => out.either(|| json!({"sent": all.len()}), || format!("Sent {}", all.len())),
            }
        }
        OutboxAction::Drop { client_id } => {
            if !outbox.waiting().iter().any(|draft| draft.client_id == client_id) {
                return usage(format!("nothing with the id {client_id:?} waits"));
            }
            outbox.finish(&client_id, Fate::Withdrawn {})?;
            out.either(|| json!({"dropped": client_id}), || "Taken back".to_owned())
        }
    }
}

/// How far sending came.
pub(crate) enum Delivered {
    /// The server has decided.
    Fate(Fate),
    /// It is still in the outbox.
    Waits {
        /// Whether it may have reached the server.
        may_have_arrived: bool,
        /// Why it is not sent.
        stop: Stop,
    },
}

/// Sends a message of the outbox, those of the same conversation that are before it first.
///
/// If another process sends from this outbox, it is left to that one and its outcome waited for.
pub(crate) async fn deliver(
    session: &Session,
    outbox: &mut Outbox,
    client_id: &str,
    wait: Duration,
) -> Outcome<Delivered> {
    let deadline = Instant::now() + wait;
    let mut may_have_arrived = false;
    let mut pause = Duration::from_millis(250);
    loop {
        outbox.refresh()?;
        if let Some(fate) = outbox.outcome(client_id) {
            let fate = fate.clone();
            // Whoever waits for another line must not keep other processes from sending.
            outbox.stop_sending();
            return Ok(Delivered::Fate(fate));
        }
        let Some(wanted) = outbox.waiting().iter().find(|draft| draft.client_id == client_id) else {
            return failed("the message is no longer in the outbox");
        };
        let conversation = wanted.conversation;
        if !outbox.become_sender()? {
            if Instant::now() > deadline {
                let stop =
                    Stop::Failed(anyhow::anyhow!("another process is sending and could not send it yet"));
                return Ok(Delivered::Waits { may_have_arrived: true, stop });
            }
            sleep(LOOK_AGAIN).await;
            continue;
        }
        let first = outbox.first_of_each().find(|draft| draft.conversation == conversation).cloned();
        let Some(draft) = first else { continue };
        match attempt(session, &draft).await {
            Ok(fate) => outbox.finish(&draft.client_id, fate)?,
            Err(error) => {
                may_have_arrived |=
                    draft.client_id == client_id && !matches!(error, ClientError::Unreachable { .. });
                let hint = match &error {
                    ClientError::Refused(refused) => {
                        refused.retry_after_ms.map(|ms| Duration::from_millis(ms.into()))
                    }
                    _ => None,
                };
                let next = hint.unwrap_or(pause);
                if !error.is_passing() || Instant::now() + next > deadline {
                    outbox.stop_sending();
                    return Ok(Delivered::Waits { may_have_arrived, stop: error.into() });
                }
                pause = (pause * 2).min(Duration::from_secs(5));
                sleep(next).await;
            }
        }
    }
}

/// One attempt; an error means that it is still waiting.
async fn attempt(session: &Session, draft: &Draft) -> Result<Fate, ClientError> {
    match session.http.command(&draft.command()).await {
        Ok(Reply::Posted(posted)) => Ok(Fate::Posted(posted)),
        Ok(_) => Err(ClientError::Foreign(session.http.server.clone())),
        Err(ClientError::Refused(refused)) => Fate::of_refusal(&refused).ok_or(ClientError::Refused(refused)),
        Err(error) => Err(error),
    }
}

/// What a message's fate means for the command that sent it.
pub(crate) fn settle(fate: Fate) -> Outcome<chinwag_protocol::Posted> {
    match fate {
        Fate::Posted(posted) => Ok(posted),
        Fate::Refused(refused) => Err(Stop::Refused(refused)),
        Fate::Withdrawn {} => foreign(),
    }
}
