//! Tokens of sessions, invitations and reset links: nothing but the token itself is ever taken for it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use chinwag_domain::{
    Prepared, Reader, Request,
    port::{Actor, Done, Token, Verdict},
    rules,
};
use chinwag_protocol::{Command, Millis, Registration, UserId};
use chinwag_server::hashing::{fresh_token, hash_token};
use chinwag_store::memory::State;

fn decide(state: &mut State, request: &Request) -> Verdict {
    state.decide(&|plan, request| rules::decide(plan, request), Millis(1_000), request).1
}

fn prepared(token: Option<Token>) -> Prepared {
    Prepared { password: Some("hash".to_owned()), token, ..Prepared::default() }
}

fn register(handle: &str, invite: &str, token: Token) -> Request {
    let invite = (!invite.is_empty()).then(|| hash_token(invite));
    let (handle, device, door) = (handle.to_owned(), "one".to_owned(), String::new());
    Request::Register { handle, invite, prepared: prepared(Some(token)), device, door }
}

struct Issued {
    state: State,
    anna: UserId,
    session: String,
    setup: String,
    reset: String,
}

/// A server on which each sort of token is good: one of a session, one of a reset, and the one for an administrator.
fn issued() -> Issued {
    let mut state = State::default();
    let (setup, session, reset) =
        (fresh_token::<16>("inv_"), fresh_token::<32>("ses_"), fresh_token::<16>("res_"));
    let second = fresh_token::<16>("inv_");
    let found = |hash| Request::Found { registration: Registration::Invite, setup: Some(hash) };
    decide(&mut state, &found(setup.hash)).unwrap();
    let done = decide(&mut state, &register("anna", &setup.plain, session.clone())).unwrap();
    let Done::SignedIn { user: anna, session: id } = done else { panic!("not signed in: {done:?}") };
    let actor = Actor { user: anna, session: id, door: None };
    let prepared = Prepared { token: Some(reset.clone()), ..Prepared::default() };
    decide(&mut state, &Request::Command { actor, command: Command::ResetPassword { user: anna }, prepared })
        .unwrap();
    decide(&mut state, &found(second.hash)).unwrap();
    Issued { state, anna, session: session.plain, setup: second.plain, reset: reset.plain }
}

/// A token as somebody would change it who tries his luck.
fn tampered(token: &str, changes: &[(u8, u8)], cut: u8, more: &str) -> String {
    let mut bytes = token.as_bytes().to_vec();
    for (at, to) in changes.iter().take(8) {
        let at = usize::from(*at) % bytes.len();
        bytes[at] = *to;
    }
    bytes.truncate(bytes.len().saturating_sub(usize::from(cut) % 4));
    format!("{}{more}", String::from_utf8_lossy(&bytes))
}

#[test]
fn fuzz_tokens() {
    let issued = issued();
    let Issued { state, anna, session, setup, reset } = &issued;
    let reset_with = |token: &str| {
        let request = Request::Reset { link: hash_token(token), prepared: prepared(None) };
        decide(&mut state.clone(), &request).is_ok()
    };
    assert!(reset_with(reset), "the link itself is good");
    assert_eq!(state.session_by_token(&hash_token(session)).unwrap().unwrap().user, *anna);
    bolero::check!().with_type::<(u8, Vec<(u8, u8)>, u8, String)>().for_each(|(kind, changes, cut, more)| {
        let genuine = [session, setup, reset][usize::from(*kind) % 3];
        let other = tampered(genuine, changes, *cut, more);
        let found = state.session_by_token(&hash_token(&other)).unwrap();
        assert_eq!(found.is_some(), other == **session, "a session for {other}");
        assert_eq!(reset_with(&other), other == **reset, "a reset for {other}");
        let welcome = decide(&mut state.clone(), &register("ben", &other, fresh_token::<32>("ses_"))).is_ok();
        assert!(!welcome || other == **setup, "an invitation for {other}");
    });
}
