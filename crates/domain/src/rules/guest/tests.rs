//! Guests: who may have which name, what they may do, and how they become people.

use chinwag_protocol::{
    Command, ConversationId, ConversationKind, Kind, LogId, Posting, Refused, Registration, UserId, UserKind,
};

use crate::{
    facts::Facts,
    port::{Actor, Done, Prepared, Request},
    record::GuestFrom,
    testing::World,
};

const EVERYONE: ConversationId = ConversationId(1);
const HERE: &str = "203.0.113.7";
const ELSEWHERE: &str = "203.0.113.8";
const DOOR: &str = "udp_ack";

fn from(address: &str, door: &str) -> GuestFrom {
    GuestFrom { address: address.into(), door: door.into() }
}

fn guest(world: &mut World, handle: &str, from: GuestFrom) -> Result<Actor, Refused> {
    let prepared = Prepared { token: Some(world.token()), ..Prepared::default() };
    let request = Request::Guest { handle: handle.into(), from, prepared, device: "old".into() };
    signed_in(world, &request)
}

fn upgrade(world: &mut World, handle: &str, from: GuestFrom) -> Result<Actor, Refused> {
    let (password, token) = (Some("hash".into()), Some(world.token()));
    let prepared = Prepared { password, token, ..Prepared::default() };
    let request = Request::Upgrade { handle: handle.into(), from, prepared, device: "old".into() };
    signed_in(world, &request)
}

fn signed_in(world: &mut World, request: &Request) -> Result<Actor, Refused> {
    world.request(request).map(|done| match done {
        Done::SignedIn { user, session } => Actor { user, session, door: Some(DOOR.into()) },
        other => panic!("{other:?}"),
    })
}

fn code(result: Result<Actor, Refused>) -> String {
    result.map_or_else(|refused| refused.code, |_| "ok".into())
}

#[test]
fn a_free_name_becomes_a_guest_of_everyone_and_the_same_address_comes_back_to_it() {
    let mut world = World::founded();
    let first = guest(&mut world, "Zoe", from(HERE, DOOR)).unwrap();
    assert_eq!(world.users[&first.user].kind, UserKind::Guest);
    assert!(world.is_member(EVERYONE, first.user));
    assert!(world.credentials[&first.user].password.is_empty());
    let again = guest(&mut world, "zoe", from(HERE, DOOR)).unwrap();
    assert_eq!(again.user, first.user);
    assert_ne!(again.session, first.session);
    assert_eq!(world.sessions[&again.session].door, DOOR);
    assert_eq!(world.users[&first.user].handle, "Zoe", "the name stays as it was chosen");
}

#[test]
fn a_name_that_is_not_his_is_refused_with_one_code_and_without_effect() {
    let mut world = World::founded();
    let anna = world.register("anna");
    world.create(&anna, "lab", true, Posting::Everyone);
    guest(&mut world, "zoe", from(HERE, DOOR)).unwrap();
    for (handle, address, door, expected) in [
        ("anna", HERE, DOOR, "handle_taken"),
        ("ANNA", HERE, DOOR, "handle_taken"),
        ("lab", HERE, DOOR, "handle_taken"),
        ("zoe", ELSEWHERE, DOOR, "handle_taken"),
        ("zoe", HERE, "tcp_json", "handle_taken"),
        ("chinwag", HERE, DOOR, "handle_taken"),
        ("ann\u{430}", HERE, DOOR, "name_mixed_scripts"),
        ("admin", HERE, DOOR, "name_reserved"),
        ("a b", HERE, DOOR, "name_malformed"),
        ("z0e", HERE, DOOR, "name_too_similar"),
    ] {
        let prepared = Prepared { token: Some(world.token()), ..Prepared::default() };
        let from = from(address, door);
        let request = Request::Guest { handle: handle.into(), from, prepared, device: String::new() };
        let outcome = world.consider(&request);
        assert_eq!(outcome.verdict.as_ref().unwrap_err().code, expected, "{handle} from {address}");
        assert!(outcome.is_without_effect(), "{handle} from {address}");
    }
    assert_eq!(guest(&mut world, "anna", from(HERE, DOOR)).unwrap_err().kind, Kind::Conflict);
}

#[test]
fn a_deleted_or_suspended_name_is_no_guests() {
    let mut world = World::founded();
    let anna = world.register("anna");
    world.command(&anna, Command::DeleteAccount { password: "right".into() }).unwrap();
    assert_eq!(code(guest(&mut world, "anna", from(HERE, DOOR))), "handle_taken");
    let zoe = guest(&mut world, "zoe", from(HERE, DOOR)).unwrap();
    world.change_user(zoe.user, |user| user.suspended = true);
    assert_eq!(code(guest(&mut world, "zoe", from(HERE, DOOR))), "suspended");
    assert_eq!(code(guest(&mut world, "zoe", from(ELSEWHERE, DOOR))), "handle_taken");
}

#[test]
fn a_guest_posts_to_everyone_and_writes_to_its_members_and_does_nothing_else() {
    let mut world = World::founded();
    let (anna, hermit) = (world.register("anna"), world.register("hermit"));
    world.command(&hermit, Command::Leave { conversation: EVERYONE }).unwrap();
    let lab = world.create(&anna, "lab", true, Posting::Everyone);
    let zoe = guest(&mut world, "zoe", from(HERE, DOOR)).unwrap();
    world.post(&zoe, EVERYONE, "hello all");
    let direct = Command::OpenDirect { user: anna.user };
    let Ok(chinwag_protocol::Reply::Conversation { conversation }) = world.command(&zoe, direct) else {
        panic!("no conversation with a visible user");
    };
    world.post(&zoe, conversation, "hello anna");
    world.post(&anna, conversation, "hello zoe");
    let group = Command::CreateConversation {
        client_id: "g".into(),
        kind: ConversationKind::Group,
        name: "mine".into(),
        handle: None,
        topic: String::new(),
        public: false,
        history: Default::default(),
        posting: None,
        members: Vec::new(),
    };
    let app_password =
        Command::CreateAppPassword { client_id: "p".into(), door: DOOR.into(), name: String::new() };
    for command in [
        group,
        app_password,
        Command::Join { conversation: lab },
        Command::OpenDirect { user: hermit.user },
        Command::AddMember { conversation: EVERYONE, user: hermit.user },
        Command::Suspend { user: anna.user, suspended: true },
        Command::ChangePassword { old: String::new(), new: "long enough now".into() },
        Command::DeleteAccount { password: String::new() },
    ] {
        let outcome = world.consider(&world.command_request(&zoe, command.clone()));
        assert!(outcome.verdict.is_err(), "{command:?}");
        assert!(outcome.is_without_effect(), "{command:?}");
    }
}

#[test]
fn a_guest_is_told_nothing_by_the_directory_but_others_learn_of_him_there() {
    let mut world = World::founded();
    let before = world.head(LogId::Directory).unwrap().position.seq;
    let zoe = guest(&mut world, "zoe", from(HERE, DOOR)).unwrap();
    assert_eq!(world.head(LogId::Directory).unwrap().position.seq, before.next());
    assert_eq!(world.users[&zoe.user].profile().kind, UserKind::Guest);
}

#[test]
fn a_guest_who_registers_keeps_his_account_and_the_name_has_a_password_from_then_on() {
    let mut world = World::founded();
    let zoe = guest(&mut world, "zoe", from(HERE, DOOR)).unwrap();
    world.post(&zoe, EVERYONE, "as a guest");
    assert_eq!(code(upgrade(&mut world, "zoe", from(ELSEWHERE, DOOR))), "handle_taken");
    assert_eq!(code(upgrade(&mut world, "nobody-yet", from(HERE, DOOR))), "handle_taken");
    let person = upgrade(&mut world, "zoe", from(HERE, DOOR)).unwrap();
    assert_eq!(person.user, zoe.user);
    assert_eq!(world.users[&zoe.user].kind, UserKind::Person);
    assert_eq!(world.credentials[&zoe.user].password, "hash");
    assert!(!world.sessions.contains_key(&zoe.session), "what began without a password has ended");
    assert_eq!(code(guest(&mut world, "zoe", from(HERE, DOOR))), "handle_taken");
    assert_eq!(code(upgrade(&mut world, "zoe", from(HERE, DOOR))), "handle_taken");
}

#[test]
fn a_guest_becomes_a_person_only_where_accounts_can_be_made() {
    let mut world = World::founded();
    guest(&mut world, "zoe", from(HERE, DOOR)).unwrap();
    std::sync::Arc::make_mut(world.server.as_mut().unwrap()).registration = Registration::Closed;
    assert_eq!(code(upgrade(&mut world, "zoe", from(HERE, DOOR))), "registration_closed");
    assert_eq!(world.users[&UserId(2)].kind, UserKind::Guest);
}
