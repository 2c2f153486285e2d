//! A command that creates something carries its sender's own id of it: sent twice, it is decided once.
//!
//! What was answered is kept for ever, with a hash of the command. The same id with another command is a mistake
//! of the sender and refused: answering it would say that something was done which was not.
//!
//! A definite refusal is kept like any other answer. A copy of the command may still be on its way, on a connection
//! that was cut or over HTTP; it must not be done after its sender was told that it never will be.

use std::sync::Arc;

use chinwag_protocol::{Command, Refused, Reply, UserId};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    facts::{Facts, Known, Stop},
    limits::CLIENT_ID_CHARACTERS_MAX,
    plan::Plan,
    port::{Done, Prepared},
    record::{Change, Sent, Told},
};

/// Does `rule` unless the user has already sent this command under this id; then answers what it was answered.
pub fn once(
    plan: &mut Plan<'_>,
    user: UserId,
    client_id: &str,
    command: &Command,
    prepared: &Prepared,
    rule: impl FnOnce(&mut Plan<'_>) -> Known<Reply>,
) -> Known<Done> {
    check(client_id)?;
    let body = prepared.fingerprint.unwrap_or_else(|| of_command(command));
    if let Some(sent) = plan.sent(user, client_id)? {
        if sent.body != body {
            let why = format!("client_id {client_id} was already used for something else");
            return Err(Refused::conflict("client_id_reused", why).at("client_id").into());
        }
        return match &sent.told {
            Told::Reply(reply) => Ok(Done::Reply(reply.clone())),
            Told::Refused(refused) => Err(refused.clone().into()),
        };
    }
    let (told, done) = match rule(plan) {
        Ok(reply) => (Told::Reply(without_secret(&reply)), Done::Reply(reply)),
        Err(Stop::Refused(refused)) if refused.is_definite() => {
            plan.forget();
            (Told::Refused(refused.clone()), Done::Refused(refused))
        }
        Err(stop) => return Err(stop),
    };
    plan.keep(Change::Sent(Arc::new(Sent { user, client_id: client_id.to_owned(), body, told })));
    Ok(done)
}

/// Whether this can be a `client_id`: 1 to 64 printable characters of ASCII.
fn check(client_id: &str) -> Result<(), Refused> {
    let fits = (1..=CLIENT_ID_CHARACTERS_MAX).contains(&client_id.len());
    if fits && client_id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let why = format!("client_id has 1 to {CLIENT_ID_CHARACTERS_MAX} printable characters of ASCII");
    Err(Refused::invalid("client_id", "client_id_malformed", why))
}

/// Whether a command is one of those that [`once`] is for.
pub fn has_client_id(command: &Command) -> bool {
    matches!(
        command,
        Command::Post { .. }
            | Command::StartCall { .. }
            | Command::CreateConversation { .. }
            | Command::CreateInvite { .. }
            | Command::CreateAppPassword { .. }
    )
}

/// By what a command is known again. When a message was written is a claim of its sender's clock, which a program that
/// sends it once more may have read once more.
pub fn of_command(command: &Command) -> u64 {
    let Command::Post { sent_at: Some(_), .. } = command else { return fingerprint(command) };
    let mut undated = command.clone();
    if let Command::Post { sent_at, .. } = &mut undated {
        *sent_at = None;
    }
    fingerprint(&undated)
}

/// Two commands are the same if they are written the same: serde writes fields in the order of their declaration.
pub fn fingerprint(command: &impl Serialize) -> u64 {
    let written = serde_json::to_vec(command).expect("a command has only text keys");
    let hash = Sha256::digest(written);
    u64::from_be_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// A token is told once: who asks again has lost it, and makes another.
fn without_secret(reply: &Reply) -> Reply {
    match reply {
        Reply::Invite { invite, .. } => Reply::Invite { invite: *invite, token: None },
        Reply::AppPassword { app_password, .. } => {
            Reply::AppPassword { app_password: *app_password, secret: None }
        }
        other => other.clone(),
    }
}
