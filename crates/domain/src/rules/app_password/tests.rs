//! App passwords: who makes them, what they open, and what ends them.

use chinwag_protocol::{AppPasswordId, Command, Millis, Refused, Reply};

use super::{fitting, secret_hash};
use crate::{
    limits::{APP_PASSWORDS_MAX, CONFIRMATION_MS},
    port::{Actor, Done, Prepared, Request, Token},
    testing::World,
};

const DOOR: &str = "tcp_json";

fn create(client_id: &str, door: &str) -> Command {
    Command::CreateAppPassword { client_id: client_id.into(), door: door.into(), name: "old laptop".into() }
}

/// Makes one whose secret is its `client_id`.
fn made(world: &mut World, actor: &Actor, client_id: &str, door: &str) -> Result<Reply, Refused> {
    let mut request = world.command_request(actor, create(client_id, door));
    if let Request::Command { prepared, .. } = &mut request {
        prepared.token = Some(Token { plain: client_id.into(), hash: secret_hash(client_id) });
    }
    match world.request(&request)? {
        Done::Reply(reply) => Ok(reply),
        other => panic!("{other:?}"),
    }
}

fn sign_in(world: &mut World, actor: &Actor, id: u32, door: &str) -> Result<Actor, Refused> {
    let token = Some(world.token());
    let prepared = Prepared { app_password: Some(AppPasswordId(id)), token, ..Prepared::default() };
    let request =
        Request::SignIn { user: actor.user, prepared, device: String::new(), door: door.to_owned() };
    world.request(&request).map(|done| match done {
        Done::SignedIn { user, session } => Actor { user, session, door: Some(door.into()) },
        other => panic!("{other:?}"),
    })
}

#[test]
fn one_opens_its_door_and_no_other() {
    let mut world = World::founded();
    let anna = world.register("anna");
    let reply = made(&mut world, &anna, "abcd-efgh", DOOR).unwrap();
    let told = Reply::AppPassword { app_password: AppPasswordId(1), secret: Some("abcd-efgh".into()) };
    assert_eq!(reply, told);
    let credentials = world.credentials[&anna.user].clone();
    for (door, typed, fits) in [
        (DOOR, "abcd-efgh", true),
        (DOOR, "ABCDEFGH", true),
        (DOOR, " abcd efgh", true),
        (DOOR, "abcd-efgi", false),
        (DOOR, "", false),
        ("pipe_line", "abcd-efgh", false),
        ("", "abcd-efgh", false),
    ] {
        assert_eq!(fitting(&credentials, door, typed).is_some(), fits, "{door} {typed}");
    }
    assert!(sign_in(&mut world, &anna, 1, DOOR).is_ok());
    for (id, door) in [(1, "pipe_line"), (1, ""), (2, DOOR), (0, DOOR)] {
        let refused = sign_in(&mut world, &anna, id, door).unwrap_err();
        assert_eq!(refused.code, "wrong_password", "{id} {door}");
    }
}

#[test]
fn the_secret_is_told_once_and_its_id_never_comes_again() {
    let mut world = World::founded();
    let anna = world.register("anna");
    let first = made(&mut world, &anna, "one", DOOR).unwrap();
    let again = made(&mut world, &anna, "one", DOOR).unwrap();
    assert_eq!(again, Reply::AppPassword { app_password: AppPasswordId(1), secret: None });
    assert_ne!(first, again);
    assert_eq!(world.credentials[&anna.user].app_passwords.len(), 1);
    world.command(&anna, Command::RevokeAppPassword { app_password: AppPasswordId(1) }).unwrap();
    let next = made(&mut world, &anna, "two", DOOR).unwrap();
    assert_eq!(next, Reply::AppPassword { app_password: AppPasswordId(2), secret: Some("two".into()) });
}

#[test]
fn revoking_ends_the_sessions_that_it_began_and_no_others() {
    let mut world = World::founded();
    let anna = world.register("anna");
    made(&mut world, &anna, "one", DOOR).unwrap();
    made(&mut world, &anna, "two", DOOR).unwrap();
    let one = sign_in(&mut world, &anna, 1, DOOR).unwrap();
    let two = sign_in(&mut world, &anna, 2, DOOR).unwrap();
    world.command(&anna, Command::RevokeAppPassword { app_password: AppPasswordId(1) }).unwrap();
    assert!(!world.sessions.contains_key(&one.session));
    assert!(world.sessions.contains_key(&two.session) && world.sessions.contains_key(&anna.session));
    assert_eq!(sign_in(&mut world, &anna, 1, DOOR).unwrap_err().code, "wrong_password");
    let again = world.command(&anna, Command::RevokeAppPassword { app_password: AppPasswordId(1) });
    assert_eq!(again.unwrap_err(), Refused::not_found());
}

#[test]
fn only_the_owner_manages_them_with_a_fresh_proof_and_never_through_a_door() {
    let mut world = World::founded();
    let (anna, ben) = (world.register("anna"), world.register("ben"));
    made(&mut world, &anna, "one", DOOR).unwrap();
    let revoke = Command::RevokeAppPassword { app_password: AppPasswordId(1) };
    assert_eq!(world.command(&ben, revoke.clone()).unwrap_err(), Refused::not_found());
    let inside = sign_in(&mut world, &anna, 1, DOOR).unwrap();
    // Whatever the transport says of it: the session came through a door.
    let smuggled = Actor { door: None, ..inside.clone() };
    for actor in [&inside, &smuggled] {
        assert_eq!(made(&mut world, actor, "two", DOOR).unwrap_err().code, "forbidden");
        assert_eq!(world.command(actor, revoke.clone()).unwrap_err().code, "forbidden");
    }
    world.at = Millis(world.at.0 + CONFIRMATION_MS);
    assert_eq!(made(&mut world, &anna, "three", DOOR).unwrap_err().code, "confirm_password");
    let confirm = Command::ConfirmPassword { password: "right".into() };
    world.command(&anna, confirm).unwrap();
    assert!(made(&mut world, &anna, "three", DOOR).is_ok(), "the same command, after the proof");
    world.at = Millis(world.at.0 + CONFIRMATION_MS);
    // Giving a right up needs no proof.
    assert!(world.command(&anna, revoke).is_ok());
}

#[test]
fn a_new_password_of_the_account_makes_them_all_worthless() {
    let mut world = World::founded();
    let anna = world.register("anna");
    made(&mut world, &anna, "one", DOOR).unwrap();
    let change = Command::ChangePassword { old: "right".into(), new: "something else".into() };
    world.command(&anna, change).unwrap();
    assert_eq!(sign_in(&mut world, &anna, 1, DOOR).unwrap_err().code, "wrong_password");
    let reply = made(&mut world, &anna, "two", DOOR).unwrap();
    assert_eq!(reply, Reply::AppPassword { app_password: AppPasswordId(2), secret: Some("two".into()) });
}

#[test]
fn a_use_is_noted_by_its_day() {
    let mut world = World::founded();
    let anna = world.register("anna");
    made(&mut world, &anna, "one", DOOR).unwrap();
    let used = |world: &World| world.credentials[&anna.user].app_passwords[0].used_at;
    assert_eq!(used(&world), None);
    sign_in(&mut world, &anna, 1, DOOR).unwrap();
    let day = Millis(world.at.0 / 86_400_000 * 86_400_000);
    assert_eq!(used(&world), Some(day));
    world.at = Millis(day.0 + 86_400_000 + 5);
    sign_in(&mut world, &anna, 1, DOOR).unwrap();
    assert_eq!(used(&world), Some(Millis(day.0 + 86_400_000)));
}

#[test]
fn there_is_an_end_to_them_and_doors_have_names() {
    let mut world = World::founded();
    let anna = world.register("anna");
    for (number, door) in ["", "Door", "a door", "tcp-json", &"x".repeat(33)].iter().enumerate() {
        assert_eq!(
            made(&mut world, &anna, &format!("bad-{number}"), door).unwrap_err().code,
            "unknown_value"
        );
    }
    for number in 0..APP_PASSWORDS_MAX {
        assert!(made(&mut world, &anna, &format!("n{number}"), DOOR).is_ok());
    }
    assert_eq!(made(&mut world, &anna, "more", DOOR).unwrap_err().code, "too_many_app_passwords");
}
