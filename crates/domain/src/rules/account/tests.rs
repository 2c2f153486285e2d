//! Registering, signing in, sessions, one's own profile and password, deleting; founding and idempotency.

use chinwag_protocol::{
    Command, ConversationId, ConversationKind, Event, JoinedBy, Kind, LogId, Millis, Posting, ProfileChange,
    Refused, Registration, Reply, Role, ServerChange, Settings, UserId,
};

use crate::{
    limits::{CONFIRMATION_MS, ONE_TIME_LIFETIME_MS, SEEN_EVERY_MS, SESSION_IDLE_MS, SESSIONS_MAX},
    port::{Actor, Done, Prepared, Request},
    record::Change,
    rules::invite::token_hash,
    testing::World,
};

const EVERYONE: ConversationId = ConversationId(1);
const BOT: UserId = UserId(1);

/// Decides, keeps, and says in a word what came of it.
fn check(world: &mut World, request: &Request, expected: &str) {
    let said = world.request(request).map_or_else(|refused| refused.code, |_| "ok".into());
    assert_eq!(said, expected);
}

fn ask(world: &mut World, actor: &Actor, command: Command, expected: &str) {
    let request = world.command_request(actor, command);
    check(world, &request, expected);
}

fn sign_in(world: &mut World, user: UserId, verified: Option<u32>) -> Result<Actor, Refused> {
    let prepared = Prepared { verified, token: Some(world.token()), ..Prepared::default() };
    let request = Request::SignIn { user, prepared, device: "phone".into(), door: String::new() };
    world.request(&request).map(|done| match done {
        Done::SignedIn { user, session } => Actor { user, session, door: None },
        other => panic!("{other:?}"),
    })
}

fn set_registration(world: &mut World, registration: Registration) {
    let server = world.server.as_mut().unwrap();
    std::sync::Arc::make_mut(server).registration = registration;
}

#[test]
fn the_first_start_makes_the_bot_and_everyone_and_later_ones_nothing() {
    let world = World::founded();
    let server = world.server.clone().unwrap();
    assert_eq!((server.bot, server.everyone, server.has_admin), (BOT, Some(EVERYONE), false));
    assert_eq!(world.users[&BOT].handle, "chinwag");
    assert!(world.is_member(EVERYONE, BOT));
    assert!(matches!(world.log(LogId::Conversation(EVERYONE))[0].event, Event::Created { .. }));
    let again = world.consider(&Request::Found { registration: Registration::Closed, setup: None });
    assert!(again.is_without_effect());
    let renewed =
        world.consider(&Request::Found { registration: Registration::Closed, setup: Some([7; 32]) });
    assert_eq!((renewed.entries.len(), renewed.changes.len()), (0, 1), "only the new link");
}

#[test]
fn registering_takes_the_name_and_leads_to_everyone_with_a_session() {
    let mut world = World::founded();
    let anna = world.register("Anna");
    let user = world.users[&anna.user].clone();
    assert_eq!((user.handle.as_str(), user.profile().name.as_str(), user.admin), ("Anna", "Anna", false));
    assert_eq!((user.conversations, world.conversations[&EVERYONE].members), (1, 2));
    let last = world.log(LogId::Conversation(EVERYONE)).last().unwrap();
    assert!(
        matches!(last.event, Event::Joined { user, how: JoinedBy::Registering, .. } if user == anna.user)
    );
    let own: Vec<_> = world.log(LogId::User(anna.user)).iter().map(|entry| entry.event.clone()).collect();
    assert!(matches!(own[..], [Event::Entered { .. }, Event::SessionStarted { .. }]), "{own:?}");
    assert!(matches!(&world.log(LogId::Directory).last().unwrap().event,
        Event::UserChanged { profile } if profile.handle == "Anna"));
    for (handle, expected) in [
        ("anna", "name_taken"),
        ("ANNA", "name_taken"),
        ("аnnа", "name_mixed_scripts"),
        ("everyone", "name_reserved"),
        ("chinwag", "name_reserved"),
        ("a b", "name_malformed"),
        ("bob", "ok"),
        ("b0b", "name_too_similar"),
    ] {
        let request = world.register_request(handle, None);
        check(&mut world, &request, expected);
    }
}

#[test]
fn who_may_register_is_the_servers_policy() {
    let mut world = World::founded();
    let anna = world.register("anna");
    let club = world.create(&anna, "club", false, Posting::Everyone);
    let client_id = "invite".to_owned();
    let command = Command::CreateInvite {
        client_id,
        conversation: club,
        lifetime_s: None,
        uses: Some(1),
        role: Role::Member,
    };
    let mut request = world.command_request(&anna, command);
    let Request::Command { prepared, .. } = &mut request else { unreachable!("just made") };
    prepared.token.as_mut().unwrap().hash = token_hash("link");
    world.request(&request).unwrap();
    let (link, wrong) = (Some(token_hash("link")), Some([9; 32]));
    for (registration, token, expected) in [
        (Registration::Open, None, "ok"),
        (Registration::Open, link, "ok"),
        (Registration::Open, wrong, "not_found"),
        (Registration::Invite, None, "invite_needed"),
        (Registration::Invite, link, "ok"),
        (Registration::Invite, wrong, "not_found"),
        (Registration::Closed, None, "registration_closed"),
        (Registration::Closed, link, "registration_closed"),
    ] {
        let mut world = world.clone();
        set_registration(&mut world, registration);
        let request = world.register_request("bob", token);
        check(&mut world, &request, expected);
        let bob = world.users.values().find(|user| user.handle == "bob").map(|user| user.id);
        assert_eq!(bob.is_some(), expected == "ok");
        assert_eq!(bob.is_some_and(|bob| world.is_member(club, bob)), expected == "ok" && token.is_some());
        if token == link && expected == "ok" {
            let request = world.register_request("carl", link);
            check(&mut world, &request, "not_found");
        }
    }
}

#[test]
fn the_setup_link_makes_one_administrator_and_no_second() {
    let mut world = World::founded();
    let mut late = world.clone();
    late.at = Millis(late.at.0 + ONE_TIME_LIFETIME_MS);
    let request = late.register_request("anna", Some([255; 32]));
    check(&mut late, &request, "not_found");

    set_registration(&mut world, Registration::Closed);
    // A restart has printed a second link; it dies with the use of the first.
    world.request(&Request::Found { registration: Registration::Open, setup: Some([253; 32]) }).unwrap();
    let anna = world.register_admin("anna");
    let request = world.register_request("bob", Some([253; 32]));
    check(&mut world, &request, "not_found");
    assert!(world.users[&anna.user].admin && world.server.as_ref().unwrap().has_admin);
    let request = world.register_request("bob", Some([255; 32]));
    check(&mut world, &request, "not_found");
    let again = world.consider(&Request::Found { registration: Registration::Open, setup: Some([7; 32]) });
    assert!(again.is_without_effect(), "no more setup links");
}

#[test]
fn a_session_needs_the_password_that_is_in_force() {
    let mut world = World::founded();
    let anna = world.register("anna");
    assert!(sign_in(&mut world, anna.user, Some(1)).is_ok());
    for (user, verified) in [(anna.user, None), (anna.user, Some(2)), (BOT, Some(0)), (UserId(99), Some(1))] {
        let refused = sign_in(&mut world, user, verified).unwrap_err();
        assert_eq!((refused.kind, refused.code.as_str()), (Kind::NotSignedIn, "wrong_password"), "{user}");
    }
    world.change_user(anna.user, |user| user.suspended = true);
    assert_eq!(sign_in(&mut world, anna.user, Some(1)).unwrap_err().code, "suspended");
    ask(&mut world, &anna, Command::EndOtherSessions {}, "not_signed_in");
}

#[test]
fn sessions_end_when_told_when_unused_and_when_there_are_too_many() {
    let mut world = World::founded();
    let anna = world.register("anna");
    let bob = world.register("bob");
    let phone = sign_in(&mut world, anna.user, Some(1)).unwrap();
    ask(&mut world, &anna, Command::EndSession { session: bob.session }, "not_found");
    ask(&mut world, &anna, Command::EndSession { session: phone.session }, "ok");
    ask(&mut world, &anna, Command::EndSession { session: phone.session }, "not_found");
    ask(&mut world, &phone, Command::EndOtherSessions {}, "not_signed_in");
    let stolen = Actor { session: bob.session, ..anna.clone() };
    ask(&mut world, &stolen, Command::EndOtherSessions {}, "not_signed_in");

    for _ in 0..SESSIONS_MAX {
        world.at = Millis(world.at.0 + 1);
        sign_in(&mut world, anna.user, Some(1)).unwrap();
    }
    let mine = world.sessions.values().filter(|session| session.user == anna.user).count();
    assert_eq!(mine, SESSIONS_MAX);
    assert!(!world.sessions.contains_key(&anna.session), "the oldest made room");

    world.at = Millis(world.at.0 + SESSION_IDLE_MS);
    ask(&mut world, &bob, Command::EndOtherSessions {}, "not_signed_in");
    let fresh = sign_in(&mut world, bob.user, Some(1)).unwrap();
    assert!(world.sessions.contains_key(&fresh.session) && !world.sessions.contains_key(&bob.session));
}

#[test]
fn o4_a_clock_that_was_wrong_for_a_moment_ends_no_session() {
    let mut world = World::founded();
    let (anna, right) = (world.register("anna"), world.at);
    world.at = Millis(world.at.0 + 400 * 24 * 3600 * 1000);
    ask(&mut world, &anna, Command::EndOtherSessions {}, "not_signed_in");
    // Entries keep the time that was recorded, however wrong.
    world.register("bert");
    world.now = Some(right);
    ask(&mut world, &anna, Command::EndOtherSessions {}, "ok");
}

#[test]
fn use_of_a_session_is_noted_once_an_hour() {
    let mut world = World::founded();
    let anna = world.register("anna");
    let seen = Request::Seen { session: anna.session };
    for (after, noted) in [(SEEN_EVERY_MS - 1, false), (1, true), (1, false)] {
        world.at = Millis(world.at.0 + after);
        assert_eq!(!world.consider(&seen).is_without_effect(), noted, "{after}");
        world.request(&seen).unwrap();
    }
}

#[test]
fn a_new_password_ends_all_other_sessions() {
    let mut world = World::founded();
    let anna = world.register("anna");
    let phone = sign_in(&mut world, anna.user, Some(1)).unwrap();
    let change = |new: &str| Command::ChangePassword { old: "old".into(), new: new.into() };
    ask(&mut world, &anna, change("short"), "password_too_short");
    let mut wrong = world.command_request(&anna, change("long enough"));
    let Request::Command { prepared, .. } = &mut wrong else { unreachable!("just made") };
    prepared.verified = None;
    check(&mut world, &wrong, "wrong_password");
    ask(&mut world, &anna, change("long enough"), "ok");
    assert_eq!(world.credentials[&anna.user].version, 2);
    ask(&mut world, &phone, Command::EndOtherSessions {}, "not_signed_in");
    ask(&mut world, &anna, Command::EndOtherSessions {}, "ok");
    assert_eq!(
        sign_in(&mut world, anna.user, Some(1)).unwrap_err().code,
        "wrong_password",
        "checked against the old"
    );
}

#[test]
fn delicate_things_need_a_fresh_proof() {
    let mut world = World::founded();
    let boss = world.register_admin("boss");
    let change = Command::ChangeServer(ServerChange { name: Some("Ours".into()), ..ServerChange::default() });
    world.at = Millis(world.at.0 + CONFIRMATION_MS - 1);
    assert!(world.consider(&world.command_request(&boss, change.clone())).verdict.is_ok());
    world.at = Millis(world.at.0 + 1);
    ask(&mut world, &boss, change.clone(), "confirm_password");
    ask(&mut world, &boss, Command::ConfirmPassword { password: "right".into() }, "ok");
    ask(&mut world, &boss, change, "ok");
    assert_eq!(world.server.as_ref().unwrap().name, "Ours");
}

#[test]
fn no_administrator_undoes_himself() {
    let mut world = World::founded();
    let boss = world.register_admin("boss");
    let anna = world.register("anna");
    let (me, she) = (boss.user, anna.user);
    ask(&mut world, &boss, Command::Suspend { user: me, suspended: true }, "own_right");
    ask(&mut world, &boss, Command::SetAdmin { user: me, admin: false }, "own_right");
    ask(&mut world, &boss, Command::DeleteAccount { password: "right".into() }, "own_right");
    ask(&mut world, &boss, Command::SetAdmin { user: BOT, admin: true }, "built_in");
    ask(&mut world, &boss, Command::SetAdmin { user: she, admin: true }, "ok");
    ask(&mut world, &anna, Command::SetAdmin { user: me, admin: false }, "ok");
    ask(&mut world, &boss, Command::Suspend { user: she, suspended: true }, "forbidden");
    ask(&mut world, &boss, Command::DeleteAccount { password: "right".into() }, "ok");
}

#[test]
fn a_suspended_user_has_no_session_left() {
    let mut world = World::founded();
    let boss = world.register_admin("boss");
    let anna = world.register("anna");
    ask(&mut world, &boss, Command::Suspend { user: anna.user, suspended: true }, "ok");
    assert!(!world.sessions.contains_key(&anna.session));
    let again = Command::Suspend { user: anna.user, suspended: true };
    assert!(world.consider(&world.command_request(&boss, again)).is_without_effect());
    ask(&mut world, &boss, Command::Suspend { user: anna.user, suspended: false }, "ok");
    assert!(sign_in(&mut world, anna.user, Some(1)).is_ok());
}

#[test]
fn a_reset_link_works_once_and_not_for_long() {
    let mut world = World::founded();
    let boss = world.register_admin("boss");
    let anna = world.register("anna");
    ask(&mut world, &boss, Command::ResetPassword { user: anna.user }, "ok");
    let prepared = Prepared { password: Some("new hash".into()), ..Prepared::default() };
    let reset = |link| Request::Reset { link, prepared: prepared.clone() };
    check(&mut world, &reset([1; 32]), "not_found");
    let mut late = world.clone();
    late.at = Millis(late.at.0 + ONE_TIME_LIFETIME_MS);
    check(&mut late, &reset([254; 32]), "not_found");
    let request = world.register_request("carl", Some([254; 32]));
    check(&mut world, &request, "not_found");
    check(&mut world, &reset([254; 32]), "ok");
    assert_eq!(world.credentials[&anna.user].password, "new hash");
    assert!(!world.sessions.contains_key(&anna.session), "whoever held a session has to sign in again");
    check(&mut world, &reset([254; 32]), "not_found");
}

#[test]
fn a_profile_changes_as_a_whole_or_not_at_all() {
    let mut world = World::founded();
    let anna = world.register("anna");
    world.register("bob");
    let change = |handle: &str, name: &str, hue: u16| {
        Command::ChangeProfile(ProfileChange {
            handle: Some(handle.into()),
            name: Some(name.into()),
            about: None,
            hue: Some(hue),
            avatar: None,
        })
    };
    for (command, expected) in [
        (change("bob", "Anna", 1), "name_taken"),
        (change("Everyone", "Anna", 1), "name_reserved"),
        (change("anna2", "a\nb", 1), "text_malformed"),
        (change("anna2", "Anna", 360), "out_of_range"),
        (change("ANNA", "Anna B", 359), "ok"),
        (change("anya", "Anna B", 359), "ok"),
    ] {
        ask(&mut world, &anna, command, expected);
    }
    let same = world.consider(&world.command_request(&anna, change("anya", " Anna B ", 359)));
    assert!(same.verdict.is_ok() && same.is_without_effect());
    let request = world.register_request("anna", None);
    check(&mut world, &request, "ok");
}

#[test]
fn settings_are_known_words() {
    let mut world = World::founded();
    let anna = world.register("anna");
    let settings = |theme: &str, notify: &str, time_zone: &str| {
        Command::ChangeSettings(Settings {
            theme: theme.into(),
            notify: notify.into(),
            time_zone: time_zone.into(),
            ..Settings::default()
        })
    };
    for (command, expected) in [
        (settings("dark", "mentions", "Europe/Warsaw"), "ok"),
        (settings("dark", "mentions", "Etc/GMT+5"), "ok"),
        (settings("pink", "", ""), "unknown_value"),
        (settings("dark", "some", ""), "unknown_value"),
        (settings("dark", "", "../../etc/passwd"), "unknown_value"),
    ] {
        ask(&mut world, &anna, command, expected);
    }
    assert_eq!(world.users[&anna.user].settings.time_zone, "Etc/GMT+5");
}

#[test]
fn who_deletes_his_account_is_gone_and_his_name_stays_taken() {
    let mut world = World::founded();
    let (anna, bob) = (world.register("anna"), world.register("bob"));
    let club = world.create(&anna, "club", false, Posting::Everyone);
    world.add(&anna, club, bob.user, Role::Member);
    let alone = world.create(&anna, "alone", false, Posting::Everyone);
    ask(&mut world, &bob, Command::OpenDirect { user: anna.user }, "ok");
    let talk = *world.conversations.keys().next_back().unwrap();
    let delete = || Command::DeleteAccount { password: "right".into() };
    ask(&mut world, &anna, delete(), "owner_leaves");
    ask(&mut world, &anna, Command::SetRole { conversation: club, user: bob.user, role: Role::Owner }, "ok");
    ask(&mut world, &anna, delete(), "ok");

    for conversation in [EVERYONE, club, alone, talk] {
        assert!(!world.is_member(conversation, anna.user), "{conversation}");
    }
    assert!(world.conversations[&alone].closed);
    let gone = &world.users[&anna.user];
    assert_eq!((gone.name.as_str(), gone.deleted, gone.conversations), ("Deleted user", true, 0));
    assert!(!gone.handle.contains("anna") && world.credentials[&anna.user].password.is_empty());
    ask(&mut world, &anna, Command::EndOtherSessions {}, "not_signed_in");
    assert_eq!(sign_in(&mut world, anna.user, Some(1)).unwrap_err().code, "wrong_password");
    let request = world.register_request("Anna", None);
    check(&mut world, &request, "name_taken");
    ask(&mut world, &bob, Command::OpenDirect { user: anna.user }, "ok");
    ask(&mut world, &bob, Command::AddMember { conversation: club, user: anna.user }, "not_found");
}

#[test]
fn contacts_and_blocks_are_ones_own_and_repeat_without_effect() {
    let mut world = World::founded();
    let (anna, bob) = (world.register("anna"), world.register("bob"));
    let user = bob.user;
    for (command, expected, has_effect) in [
        (Command::AddContact { user: anna.user }, "oneself", false),
        (Command::AddContact { user: UserId(99) }, "not_found", false),
        (Command::RemoveContact { user }, "ok", false),
        (Command::AddContact { user }, "ok", true),
        (Command::AddContact { user }, "ok", false),
        (Command::Block { user }, "ok", true),
        (Command::Block { user }, "ok", false),
        (Command::AddContact { user }, "blocked", false),
        (Command::RemoveContact { user }, "ok", false),
        (Command::Unblock { user }, "ok", true),
        (Command::Unblock { user }, "ok", false),
        (Command::AddContact { user }, "ok", true),
    ] {
        let before = world.log(LogId::User(anna.user)).len();
        ask(&mut world, &anna, command.clone(), expected);
        let after = world.log(LogId::User(anna.user)).len();
        assert_eq!(after > before, has_effect, "{command:?}");
    }
    assert!(world.log(LogId::User(bob.user)).len() <= 2, "nobody is told");
}

#[test]
fn a_command_sent_twice_is_done_once() {
    let mut world = World::founded();
    let anna = world.register("anna");
    let post = |client_id: &str, text: &str| Command::Post {
        conversation: EVERYONE,
        client_id: client_id.into(),
        text: text.into(),
        attachments: Vec::new(),
        reply_to: None,
        thread: None,
        sent_at: None,
    };
    let first = world.command(&anna, post("a1", "hello")).unwrap();
    world.at = Millis(world.at.0 + 5_000);
    let again = world.consider(&world.command_request(&anna, post("a1", "hello")));
    assert_eq!(again.verdict, Ok(Done::Reply(first)));
    assert!(again.entries.is_empty() && again.changes.is_empty());
    ask(&mut world, &anna, post("a1", "hello!"), "client_id_reused");
    ask(&mut world, &anna, post("", "x"), "client_id_malformed");
    ask(&mut world, &anna, post(&"x".repeat(65), "x"), "client_id_malformed");
    ask(&mut world, &anna, post("a b", "x"), "client_id_malformed");
    ask(&mut world, &anna, post("ü", "x"), "client_id_malformed");
    ask(&mut world, &anna, post(&"x".repeat(64), "x"), "ok");
    let bob = world.register("bob");
    ask(&mut world, &bob, post("a1", "mine"), "ok");
    ask(&mut world, &anna, post("a2", " "), "text_empty");
    ask(&mut world, &anna, post("a2", "now"), "client_id_reused");
}

#[test]
fn a_definite_refusal_holds_for_every_later_copy() {
    let mut world = World::founded();
    let (anna, bob) = (world.register("anna"), world.register("bob"));
    let club = world.create(&anna, "club", true, Posting::Everyone);
    let secret = world.create(&anna, "secret", false, Posting::Everyone);
    let post = |client_id: &str, conversation| Command::Post {
        conversation,
        client_id: client_id.into(),
        text: "may I?".into(),
        attachments: Vec::new(),
        reply_to: None,
        thread: None,
        sent_at: None,
    };
    let wanted = |conversation| match conversation {
        Some(conversation) => post("b1", conversation),
        None => Command::CreateConversation {
            client_id: "b2".into(),
            kind: ConversationKind::Group,
            name: "Mine".into(),
            handle: Some("club".into()),
            topic: String::new(),
            public: true,
            history: Default::default(),
            posting: None,
            members: Vec::new(),
        },
    };
    for (command, code) in
        [(post("b0", secret), "not_found"), (wanted(Some(club)), "forbidden"), (wanted(None), "name_taken")]
    {
        let request = world.command_request(&bob, command);
        check(&mut world, &request, code);
        let again = world.consider(&request);
        assert_eq!(again.verdict.unwrap_err().code, code);
        assert!(again.entries.is_empty() && again.changes.is_empty(), "it is kept once");
    }
    // Now each of them would be right.
    world.add(&anna, secret, bob.user, Role::Member);
    ask(&mut world, &bob, Command::Join { conversation: club }, "ok");
    ask(&mut world, &bob, post("b0", secret), "not_found");
    ask(&mut world, &bob, wanted(Some(club)), "forbidden");
    ask(&mut world, &anna, Command::CloseConversation { conversation: club }, "ok");
    ask(&mut world, &bob, wanted(None), "name_taken");
    // A new attempt has a new id.
    ask(&mut world, &bob, post("b3", secret), "ok");
}

#[test]
fn a_refusal_half_way_leaves_only_itself() {
    let mut world = World::founded();
    let (anna, bob) = (world.register("anna"), world.register("bob"));
    ask(&mut world, &bob, Command::Block { user: anna.user }, "ok");
    let command = Command::CreateConversation {
        client_id: "c1".into(),
        kind: ConversationKind::Group,
        name: "Ours".into(),
        handle: None,
        topic: String::new(),
        public: false,
        history: Default::default(),
        posting: None,
        members: vec![bob.user],
    };
    let before = world.conversations.len();
    let outcome = world.consider(&world.command_request(&anna, command.clone()));
    let refused = outcome.verdict.unwrap_err();
    assert!(matches!(&outcome.changes[..], [Change::Sent(_)]) && outcome.entries.is_empty());
    ask(&mut world, &anna, command.clone(), &refused.code);
    assert_eq!(world.conversations.len(), before);
    ask(&mut world, &bob, Command::Unblock { user: anna.user }, "ok");
    ask(&mut world, &anna, command, &refused.code);
}

#[test]
fn an_invitations_token_is_told_once() {
    let mut world = World::founded();
    let anna = world.register("anna");
    let club = world.create(&anna, "club", false, Posting::Everyone);
    let command = || Command::CreateInvite {
        client_id: "i1".into(),
        conversation: club,
        lifetime_s: None,
        uses: None,
        role: Role::Member,
    };
    let first = world.command(&anna, command()).unwrap();
    let Reply::Invite { invite, token: Some(_) } = first else { panic!("{first:?}") };
    assert_eq!(world.command(&anna, command()).unwrap(), Reply::Invite { invite, token: None });
    assert_eq!(world.invites.len(), 1);
}

#[test]
fn a_conversation_made_twice_is_the_same() {
    let mut world = World::founded();
    let anna = world.register("anna");
    let club = world.create(&anna, "club", true, Posting::Everyone);
    assert_eq!(world.create(&anna, "club", true, Posting::Everyone), club);
    assert_eq!(world.conversations[&club].kind, ConversationKind::Group);
}
