//! The table driven through the rules: every role tries every action that has a command, over a small world.
//!
//! What is allowed happens. What is denied changes nothing. What is hidden is refused in the very words used for
//! a thing that does not exist.

use std::sync::Arc;

use chinwag_protocol::{
    Attach, CallMedia, Command, ConversationChange, ConversationId, FileId, InviteId, Kind, NewAvatar,
    Posting, ProfileChange, Refused, Reply, Role, Seq, ServerChange, Settings, UserId, UserKind,
};

use super::{Action, Grounds, Verdict, Who, permit};
use crate::{
    port::{Actor, Request},
    record::Holding,
    rules::invite::token_hash,
    testing::World,
};

/// A conversation with one of everybody, and what each may act on.
struct Scene {
    conversation: ConversationId,
    public: bool,
    /// A message of each asker who was ever a member.
    own: Vec<(Who, Seq)>,
    /// A message of the other member.
    other: Seq,
    /// A call of the other member.
    call: Seq,
    invite: InviteId,
}

struct Cast {
    world: World,
    actors: Vec<(Who, Actor)>,
    /// A member like any other, on whom the askers act.
    other: UserId,
    /// Somebody who is nowhere a member.
    outsider: UserId,
    scenes: Vec<Scene>,
}

const NOWHERE: ConversationId = ConversationId(9_999);
/// A file that everybody has uploaded.
const FILE: FileId = FileId([7; 32]);
const NOBODY: UserId = UserId(9_999);

/// Members of the scenes, before some of them are sent away.
const INSIDE: [(Who, Role); 7] = [
    (Who::Member, Role::Member),
    (Who::Admin, Role::Admin),
    (Who::Guest, Role::Member),
    (Who::Former, Role::Member),
    (Who::Banned, Role::Member),
    (Who::Suspended, Role::Member),
    (Who::Door, Role::Member),
];

fn cast() -> Cast {
    let mut world = World::founded();
    let operator = world.register_admin("operator");
    let owner = world.register("owner");
    let mut actors = vec![(Who::Operator, operator), (Who::Owner, owner.clone())];
    for (who, _) in INSIDE {
        actors.push((who, world.register(&format!("{who:?}x"))));
    }
    actors.push((Who::Stranger, world.register("stranger")));
    let other = world.register("other");
    let outsider = world.register("outsider");
    let scenes = [
        ("open", true, Posting::Everyone),
        ("secret", false, Posting::Everyone),
        ("news", true, Posting::Admins),
    ];
    let scenes = scenes
        .map(|(name, public, posting)| scene(&mut world, &actors, &owner, &other, (name, public, posting)));

    let of = |wanted: Who| actors.iter().find(|(who, _)| *who == wanted).unwrap().1.clone();
    world.change_user(of(Who::Guest).user, |user| user.kind = UserKind::Guest);
    world.change_user(of(Who::Suspended).user, |user| user.suspended = true);
    for (who, actor) in &mut actors {
        if *who == Who::Door {
            actor.door = Some("tcp_json".into());
        }
    }
    for (_, actor) in &actors {
        let user = actor.user;
        let waits_since = Some(world.at);
        let held =
            Holding { user, file: FILE, size: 1, media_type: "image/png".into(), waits_since, messages: 0 };
        world.holdings.insert((user, FILE), Arc::new(held));
    }
    let no_session = Actor { user: NOBODY, session: chinwag_protocol::SessionId(9_999), door: None };
    actors.push((Who::Anonymous, no_session));
    Cast { world, actors, other: other.user, outsider: outsider.user, scenes: scenes.into() }
}

fn scene(
    world: &mut World,
    actors: &[(Who, Actor)],
    owner: &Actor,
    other: &Actor,
    (name, public, posting): (&str, bool, Posting),
) -> Scene {
    let conversation = world.create(owner, name, public, Posting::Everyone);
    let of = |wanted: Who| &actors.iter().find(|(who, _)| *who == wanted).unwrap().1;
    let mut own = vec![(Who::Owner, world.post(owner, conversation, "mine"))];
    world.add(owner, conversation, other.user, Role::Member);
    for (who, role) in INSIDE {
        world.add(owner, conversation, of(who).user, role);
        own.push((who, world.post(of(who), conversation, "mine")));
    }
    let start =
        Command::StartCall { conversation, client_id: format!("call-{name}"), media: CallMedia::Audio };
    let call = match world.command(other, start).unwrap() {
        Reply::Call { call, .. } => call,
        reply => panic!("{reply:?}"),
    };
    let other = world.post(other, conversation, "of another");
    for (who, ban) in [(Who::Former, false), (Who::Banned, true)] {
        let command = Command::RemoveMember { conversation, user: of(who).user, ban };
        world.command(owner, command).unwrap();
    }
    let change = ConversationChange { posting: Some(posting), ..ConversationChange::default() };
    world.command(owner, Command::ChangeConversation { conversation, change }).unwrap();
    let invite = invite(world, owner, conversation, name);
    Scene { conversation, public, own, other, call, invite }
}

/// An invitation whose token is its conversation's name.
fn invite(world: &mut World, owner: &Actor, conversation: ConversationId, name: &str) -> InviteId {
    let client_id = format!("invite-{name}");
    let command =
        Command::CreateInvite { client_id, conversation, lifetime_s: None, uses: None, role: Role::Member };
    let mut request = world.command_request(owner, command);
    if let Request::Command { prepared, .. } = &mut request {
        let token = prepared.token.as_mut().unwrap();
        token.hash = token_hash(&format!("token-{}", conversation.0));
    }
    world.request(&request).unwrap();
    *world.invites.keys().next_back().unwrap()
}

/// The commands that are this action in a scene, each with the same about something that does not exist.
fn in_a_scene(cast: &Cast, scene: &Scene, who: Who, action: Action) -> Vec<(Command, Command)> {
    let id = scene.conversation;
    let client_id = || "try".to_owned();
    let posts = scene.conversation == cast.scenes[2].conversation;
    let own = scene.own.iter().find(|(author, _)| *author == who).map(|(_, seq)| *seq);
    let about = |command: fn(ConversationId, Seq) -> Command, seq: Seq| {
        vec![(command(id, seq), command(NOWHERE, seq)), (command(id, seq), command(NOWHERE, Seq(9_999)))]
    };
    let on_user = |command: fn(ConversationId, UserId) -> Command, user: UserId| {
        vec![(command(id, user), command(NOWHERE, user))]
    };
    let edit: fn(ConversationId, Seq) -> Command =
        |conversation, message| Command::Edit { conversation, message, text: "new".into() };
    let delete: fn(ConversationId, Seq) -> Command =
        |conversation, message| Command::Delete { conversation, message };
    match action {
        Action::KnowPublic if scene.public => {
            vec![(Command::Join { conversation: id }, Command::Join { conversation: NOWHERE })]
        }
        Action::KnowPrivate if !scene.public => {
            vec![(Command::Join { conversation: id }, Command::Join { conversation: NOWHERE })]
        }
        Action::Hear => {
            let mute =
                |conversation| Command::Mute { conversation, until: Some(chinwag_protocol::Millis(1)) };
            vec![(mute(id), mute(NOWHERE))]
        }
        Action::Post | Action::PostAsAdmin if posts == (action == Action::PostAsAdmin) => {
            let post = |conversation| Command::Post {
                conversation,
                client_id: client_id(),
                text: "hello".into(),
                attachments: Vec::new(),
                reply_to: None,
                thread: None,
                sent_at: None,
            };
            vec![(post(id), post(NOWHERE))]
        }
        Action::EditOwn => own.map(|seq| about(edit, seq)).unwrap_or_default(),
        Action::EditOther => about(edit, scene.other),
        Action::DeleteOwn => own.map(|seq| about(delete, seq)).unwrap_or_default(),
        Action::DeleteOther => about(delete, scene.other),
        Action::React => about(
            |conversation, message| Command::React { conversation, message, emoji: "👍".into() },
            scene.other,
        ),
        Action::Pin => about(|conversation, message| Command::Pin { conversation, message }, scene.other),
        Action::Attach if !posts => {
            let post = |conversation| Command::Post {
                conversation,
                client_id: client_id(),
                text: String::new(),
                attachments: vec![Attach { file: FILE, name: "a file".into(), of: None }],
                reply_to: None,
                thread: None,
                sent_at: None,
            };
            vec![(post(id), post(NOWHERE))]
        }
        Action::Call => {
            about(|conversation, call| Command::AnswerCall { conversation, call, accept: true }, scene.call)
        }
        Action::ModerateCall => {
            about(|conversation, call| Command::EndCall { conversation, call }, scene.call)
        }
        Action::AddMember => {
            let invite = |conversation| Command::CreateInvite {
                client_id: client_id(),
                conversation,
                lifetime_s: None,
                uses: None,
                role: Role::Member,
            };
            let revoke = |conversation| Command::RevokeInvite { conversation, invite: scene.invite };
            let mut all =
                on_user(|conversation, user| Command::AddMember { conversation, user }, cast.outsider);
            all.extend([(invite(id), invite(NOWHERE)), (revoke(id), revoke(NOWHERE))]);
            all
        }
        Action::UseInvite => {
            let token = |token: u32| Command::UseInvite { token: format!("token-{token}") };
            vec![(token(id.0), token(9_999))]
        }
        Action::RemoveMember => {
            let remove = |conversation, user| Command::RemoveMember { conversation, user, ban: false };
            let ban = |conversation, user| Command::RemoveMember { conversation, user, ban: true };
            let unban = |conversation, user| Command::Unban { conversation, user };
            let mut all = on_user(remove, cast.other);
            all.extend(on_user(ban, cast.other));
            all.extend(on_user(unban, cast.outsider));
            all
        }
        Action::SetRole if who == Who::Admin => {
            // An admin makes nobody his equal; taking away what is below him leaves nothing to take.
            on_user(
                |conversation, user| Command::SetRole { conversation, user, role: Role::Member },
                cast.other,
            )
        }
        Action::SetRole => on_user(
            |conversation, user| Command::SetRole { conversation, user, role: Role::Admin },
            cast.other,
        ),
        Action::Dispose => {
            let give = |conversation, user| Command::SetRole { conversation, user, role: Role::Owner };
            let mut all = on_user(give, cast.other);
            let close = |conversation| Command::CloseConversation { conversation };
            all.push((close(id), close(NOWHERE)));
            all
        }
        Action::Change => {
            let none = ConversationChange::default;
            let topic = ConversationChange { topic: Some("new".into()), ..none() };
            let avatar = ConversationChange { avatar: Some(NewAvatar { file: Some(FILE) }), ..none() };
            let change = |change: ConversationChange| {
                let of = |conversation| Command::ChangeConversation { conversation, change: change.clone() };
                (of(id), of(NOWHERE))
            };
            vec![change(topic), change(avatar)]
        }
        Action::Leave => {
            vec![(Command::Leave { conversation: id }, Command::Leave { conversation: NOWHERE })]
        }
        _ => Vec::new(),
    }
}

/// The commands that are this action towards the server, with the same about a user who does not exist.
fn on_the_server(cast: &Cast, action: Action) -> Vec<(Command, Option<Command>)> {
    let avatar = Some(NewAvatar { file: Some(FILE) });
    let on = |command: fn(UserId) -> Command| (command(cast.other), Some(command(NOBODY)));
    match action {
        Action::StartDirect => vec![on(|user| Command::OpenDirect { user })],
        Action::OwnAccount => vec![
            (Command::ChangeSettings(Settings { theme: "dark".into(), ..Settings::default() }), None),
            (Command::EndOtherSessions {}, None),
            (Command::ConfirmPassword { password: "right".into() }, None),
        ],
        Action::OwnProfile => vec![
            (Command::ChangeProfile(ProfileChange { hue: Some(7), ..ProfileChange::default() }), None),
            (Command::ChangeProfile(ProfileChange { avatar, ..ProfileChange::default() }), None),
            on(|user| Command::AddContact { user }),
            on(|user| Command::RemoveContact { user }),
            on(|user| Command::Block { user }),
            on(|user| Command::Unblock { user }),
        ],
        Action::OwnSecrets => {
            let (client_id, door) = ("app".into(), "tcp_json".into());
            vec![
                (Command::ChangePassword { old: "right".into(), new: "long enough".into() }, None),
                (Command::CreateAppPassword { client_id, door, name: String::new() }, None),
            ]
        }
        Action::ManageUsers => vec![
            on(|user| Command::Suspend { user, suspended: true }),
            on(|user| Command::SetAdmin { user, admin: true }),
            on(|user| Command::ResetPassword { user }),
            on(|user| Command::EndSessionsOf { user }),
        ],
        Action::ManageServer => {
            vec![(
                Command::ChangeServer(ServerChange { everyone: Some(false), ..ServerChange::default() }),
                None,
            )]
        }
        _ => Vec::new(),
    }
}

fn grounds(who: Who, public: bool) -> Grounds {
    Grounds {
        public,
        member: matches!(who, Who::Member | Who::Admin | Who::Owner | Who::Guest | Who::Door),
        admin_there: matches!(who, Who::Admin | Who::Owner),
        outranks: matches!(who, Who::Admin | Who::Owner),
        shares: true,
        fresh: true,
        elsewhere: (who == Who::Door).then_some(Who::Member),
        ..Grounds::default()
    }
}

/// Asks, and compares with what the table says. `random` is the same about something that is not there.
fn check(
    cast: &Cast,
    who: Who,
    actor: &Actor,
    expected: Verdict,
    command: &Command,
    random: Option<&Command>,
) {
    let at = format!("{who:?} asks {command:?}");
    let outcome = cast.world.consider(&cast.world.command_request(actor, command.clone()));
    let refused = match (expected, &outcome.verdict) {
        (Verdict::Allow, verdict) => {
            assert!(verdict.is_ok(), "{at}: {verdict:?}");
            return;
        }
        (_, verdict) => verdict.as_ref().expect_err(&at),
    };
    assert!(outcome.is_without_effect(), "{at}: refused, but {} entries", outcome.entries.len());
    let unknown = random.map(|random| {
        cast.world
            .consider(&cast.world.command_request(actor, random.clone()))
            .verdict
            .expect_err("nothing is there")
    });
    if matches!(who, Who::Anonymous | Who::Suspended) {
        assert_eq!(refused, &Refused::not_signed_in(), "{at}");
        assert!(unknown.is_none_or(|unknown| unknown == *refused), "{at}");
        return;
    }
    match expected {
        Verdict::Hide => {
            assert_eq!(refused.kind, Kind::NotFound, "{at}");
            assert_eq!(Some(refused), unknown.as_ref(), "{at}: a refusal tells that something is there");
        }
        _ => assert_eq!(refused.kind, Kind::Forbidden, "{at}"),
    }
}

#[test]
fn every_role_may_do_in_a_conversation_what_the_table_says() {
    let cast = cast();
    let mut tried = 0;
    for scene in &cast.scenes {
        for (who, actor) in &cast.actors {
            for action in Action::ALL {
                for (command, random) in in_a_scene(&cast, scene, *who, action) {
                    let inside = grounds(*who, scene.public).member;
                    if inside
                        && matches!(action, Action::UseInvite | Action::KnowPublic | Action::KnowPrivate)
                    {
                        // Who is a member, and were it a guest, may ask to join again: nothing happens.
                        let outcome = cast.world.consider(&cast.world.command_request(actor, command));
                        assert!(outcome.verdict.is_ok() && outcome.is_without_effect(), "{who:?}");
                        continue;
                    }
                    let expected = permit(*who, action, &grounds(*who, scene.public));
                    check(&cast, *who, actor, expected, &command, Some(&random));
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 700, "only {tried} cases were tried");
}

#[test]
fn every_role_may_do_on_the_server_what_the_table_says() {
    let cast = cast();
    for (who, actor) in &cast.actors {
        for action in Action::ALL {
            for (command, random) in on_the_server(&cast, action) {
                let expected = permit(*who, action, &grounds(*who, false));
                check(&cast, *who, actor, expected, &command, random.as_ref());
            }
        }
    }
}

/// Every action has a command here, or is one of those that are asked elsewhere.
#[test]
fn no_action_is_forgotten() {
    let elsewhere = [
        // Queries and subscriptions: the reading side.
        Action::ReadPublic,
        Action::ReadPrivate,
        Action::SeeMembers,
        Action::ListUsers,
        // Not a command: registering has no actor.
        Action::CreateAccount,
        // Depends on the message that is named: see the tests of `rules::file`.
        Action::AttachForeign,
        // Not built yet.
        Action::Export,
        // Every refusal of a former member here, and the hub.
        Action::ActAfterRemoval,
    ];
    let cast = cast();
    for action in Action::ALL {
        let here = cast.scenes.iter().any(|scene| !in_a_scene(&cast, scene, Who::Member, action).is_empty());
        let here = here || !on_the_server(&cast, action).is_empty();
        assert_eq!(here, !elsewhere.contains(&action), "{action:?}");
    }
}

#[test]
fn a_guest_who_is_not_a_member_finds_nothing() {
    let mut cast = cast();
    let guest = cast.world.register("visitor");
    cast.world.command(&guest, Command::Leave { conversation: ConversationId(1) }).unwrap();
    cast.world.change_user(guest.user, |user| user.kind = UserKind::Guest);
    for scene in &cast.scenes {
        for action in Action::ALL {
            for (command, random) in in_a_scene(&cast, scene, Who::Guest, action) {
                let expected = if action == Action::UseInvite { Verdict::Allow } else { Verdict::Hide };
                check(&cast, Who::Guest, &guest, expected, &command, Some(&random));
            }
        }
    }
}

#[test]
fn nobody_acts_on_an_equal_or_higher_role() {
    let mut cast = cast();
    let of = |wanted: Who| cast.actors.iter().find(|(who, _)| *who == wanted).unwrap().1.clone();
    let (owner, admin) = (of(Who::Owner), of(Who::Admin));
    let conversation = cast.scenes[1].conversation;
    let second = cast.outsider;
    cast.world.add(&owner, conversation, second, Role::Admin);
    let remove = |user, ban| Command::RemoveMember { conversation, user, ban };
    let set = |user, role| Command::SetRole { conversation, user, role };
    for (actor, command, allowed) in [
        (&admin, remove(second, false), false),
        (&admin, remove(second, true), false),
        (&admin, remove(owner.user, false), false),
        (&admin, set(second, Role::Member), false),
        (&admin, set(owner.user, Role::Member), false),
        (&admin, set(cast.other, Role::Admin), false),
        (&admin, set(cast.other, Role::Owner), false),
        (&admin, set(admin.user, Role::Owner), false),
        (&admin, remove(cast.other, true), true),
        (&owner, remove(second, false), true),
        (&owner, set(second, Role::Member), true),
        (&owner, set(cast.other, Role::Admin), true),
        (&owner, set(second, Role::Owner), true),
    ] {
        let outcome = cast.world.consider(&cast.world.command_request(actor, command.clone()));
        match outcome.verdict {
            Ok(_) => assert!(allowed && !outcome.is_without_effect(), "{command:?}"),
            Err(refused) => {
                let expected = (false, Kind::Forbidden, true);
                assert_eq!((allowed, refused.kind, outcome.entries.is_empty()), expected, "{command:?}");
            }
        }
    }
}
