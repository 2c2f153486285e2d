//! Records: kept whole, found by what they are looked up with.

use std::sync::Arc;

use chinwag_domain::{
    facts::Facts,
    record::{
        AppPassword, Call, Change, Conversation, Counter, Credentials, GuestFrom, Holding, Invite, Member,
        Name, OneTime, Owner, Purpose, Relation, Server, Session, Standing, User,
    },
};
use chinwag_protocol::{
    AppPasswordId, CallMedia, CallView, ConversationId, FileId, InviteId, Millis, Registration, Role, Seq,
    SessionId, UserId,
};

use super::bed::{Bed, group_named, member, user_named};

const C1: ConversationId = ConversationId(1);

fn keep(bed: &Bed, changes: Vec<Change>) {
    bed.does(move |plan| {
        for change in changes.clone() {
            plan.keep(change);
        }
        Ok(())
    });
}

fn session(id: u32, user: u32, token: u8) -> Change {
    Change::Session(Arc::new(Session {
        id: SessionId(id),
        user: UserId(user),
        token: [token; 32],
        device: "a device".into(),
        door: String::new(),
        app_password: (id == 2).then_some(AppPasswordId(1)),
        bound: false,
        started_at: Millis(1),
        confirmed_at: Millis(2),
        seen_at: Millis(3),
    }))
}

fn invite(id: u32, conversation: u32, expires_at: i64, uses_left: u32, revoked: bool) -> Change {
    Change::Invite(Arc::new(Invite {
        id: InviteId(id),
        conversation: ConversationId(conversation),
        token: [u8::try_from(id).unwrap(); 32],
        by: UserId(1),
        role: Role::Member,
        expires_at: Millis(expires_at),
        uses_left,
        revoked,
    }))
}

fn name(key: &str, skeleton: &str, owner: Owner) -> Change {
    Change::Name(Arc::new(Name { key: key.into(), skeleton: skeleton.into(), owner }))
}

pub(super) fn records_are_kept_whole(bed: &mut Bed) {
    let user = User { about: "says \"hi\" ☃\n".into(), admin: true, hue: 300, ..user_named(7, "Änne") };
    let group = Conversation { topic: "about 'it'".into(), members: 3, ..group_named(5, "Gruppe") };
    let gone = Member { until: Some(chinwag_protocol::Seq(9)), ..member(5, 7, Standing::Gone) };
    let server = Server {
        name: "here".into(),
        registration: Registration::Invite,
        everyone: Some(C1),
        join_everyone: true,
        bot: UserId(1),
        has_admin: false,
    };
    let app_password = AppPassword {
        id: AppPasswordId(2),
        door: "tcp_json".into(),
        name: "old \"laptop\" ☃".into(),
        secret: [7; 32],
        created_at: Millis(5),
        used_at: Some(Millis(6)),
    };
    let secret = Credentials {
        user: UserId(7),
        password: "$argon2id$".into(),
        version: 3,
        guest: Some(GuestFrom { address: "2001:db8::1".into(), door: "udp_ack".into() }),
        app_passwords: vec![AppPassword { used_at: None, ..app_password.clone() }, app_password],
        app_passwords_made: 2,
        imported: true,
        change_password: true,
    };
    keep(
        bed,
        vec![
            Change::User(Arc::new(user.clone())),
            Change::Conversation(Arc::new(group.clone())),
            Change::Member(Arc::new(gone.clone())),
            Change::Server(Arc::new(server.clone())),
            Change::Credentials(Arc::new(secret.clone())),
        ],
    );
    let check = |bed: &Bed| {
        let (user, group, gone) = (user.clone(), group.clone(), gone.clone());
        let (server, secret) = (server.clone(), secret.clone());
        bed.does(move |plan| {
            assert_eq!(plan.user(UserId(7))?.as_deref(), Some(&user));
            assert_eq!(plan.user(UserId(8))?, None);
            assert_eq!(plan.conversation(group.id)?.as_deref(), Some(&group));
            assert_eq!(plan.conversation(C1)?, None);
            assert_eq!(plan.member(group.id, UserId(7))?.as_deref(), Some(&gone));
            assert_eq!(plan.member(group.id, UserId(8))?, None);
            assert_eq!(plan.server()?.as_deref(), Some(&server));
            assert!(plan.credentials(UserId(7))?.as_deref() == Some(&secret));
            assert!(plan.credentials(UserId(8))?.is_none());
            Ok(())
        });
    };
    check(bed);
    bed.reopen();
    check(bed);
    let renamed = User { handle: "Anne".into(), ..user.clone() };
    keep(bed, vec![Change::User(Arc::new(user)), Change::User(Arc::new(renamed.clone()))]);
    bed.reopen();
    let found = bed.read(|reader| reader.user(UserId(7)).unwrap());
    assert_eq!(found.as_deref(), Some(&renamed), "the last one of a plan counts");
}

pub(super) fn names_are_found_by_key_and_by_skeleton(bed: &mut Bed) {
    let (anna, group) = (Owner::User(UserId(1)), Owner::Conversation(C1));
    keep(bed, vec![name("anna", "anna-like", anna), name("lab", "lab-like", group)]);
    let owner = |bed: &Bed, key: &'static str| {
        bed.read(move |reader| reader.name(key).unwrap().map(|name| name.owner))
    };
    let like = |bed: &Bed, skeleton: &'static str| {
        bed.read(move |reader| reader.name_like(skeleton).unwrap().map(|name| name.owner))
    };
    assert_eq!((owner(bed, "anna"), owner(bed, "lab"), owner(bed, "x")), (Some(anna), Some(group), None));
    assert_eq!((like(bed, "anna-like"), like(bed, "anna")), (Some(anna), None));
    // A rename in one plan; and a name that changes hands is one row, never two.
    keep(
        bed,
        vec![
            Change::NameFreed("anna".into()),
            name("anne", "anne-like", anna),
            name("lab", "lab-like", anna),
        ],
    );
    bed.reopen();
    assert_eq!((owner(bed, "anna"), owner(bed, "anne"), owner(bed, "lab")), (None, Some(anna), Some(anna)));
    assert_eq!(like(bed, "anna-like"), None);
    keep(bed, vec![name("anna", "anna-like", group), Change::NameFreed("anna".into())]);
    assert_eq!(owner(bed, "anna"), None);
}

pub(super) fn sessions_are_found_by_token_until_they_end(bed: &mut Bed) {
    keep(bed, vec![session(1, 1, 11), session(2, 1, 12), session(3, 2, 13)]);
    let by_token = |bed: &Bed, token: u8| {
        bed.read(move |reader| reader.session_by_token(&[token; 32]).unwrap().map(|session| session.id.0))
    };
    let of = |bed: &Bed, user: u32| {
        bed.read(move |reader| {
            let sessions = reader.sessions(UserId(user)).unwrap();
            sessions.iter().map(|session| session.id.0).collect::<Vec<_>>()
        })
    };
    assert_eq!((by_token(bed, 11), by_token(bed, 13), by_token(bed, 14)), (Some(1), Some(3), None));
    assert_eq!((of(bed, 1), of(bed, 2), of(bed, 3)), (vec![1, 2], vec![3], vec![]));
    keep(bed, vec![Change::SessionEnded(SessionId(1))]);
    bed.does(|plan| {
        assert!(plan.session(SessionId(1))?.is_none());
        assert!(plan.session(SessionId(2))?.is_some());
        Ok(())
    });
    bed.reopen();
    assert_eq!((by_token(bed, 11), by_token(bed, 12)), (None, Some(2)));
    assert_eq!(of(bed, 1), [2]);
}

pub(super) fn members_are_paged_by_user(bed: &mut Bed) {
    let mut changes: Vec<Change> =
        (1..=9).map(|user| Change::Member(Arc::new(member(1, user, Standing::Active)))).collect();
    changes.push(Change::Member(Arc::new(member(1, 4, Standing::Gone))));
    changes.push(Change::Member(Arc::new(member(2, 4, Standing::Active))));
    keep(bed, changes);
    bed.reopen();
    let page = |after: u32, limit: usize| {
        bed.read(move |reader| {
            let members = reader.members(C1, UserId(after), limit).unwrap();
            members.iter().map(|member| member.user.0).collect::<Vec<_>>()
        })
    };
    assert_eq!(page(0, 3), [1, 2, 3]);
    assert_eq!(page(3, 3), [5, 6, 7]);
    assert_eq!(page(7, 3), [8, 9]);
    assert!(page(9, 3).is_empty());
    let of = |user: u32| {
        bed.read(move |reader| {
            let members = reader.memberships(UserId(user)).unwrap();
            members.iter().map(|member| member.conversation.0).collect::<Vec<_>>()
        })
    };
    assert_eq!((of(4), of(5), of(10)), (vec![2], vec![1], vec![]));
    let all = bed.read(|reader| {
        let members = reader.all_memberships().unwrap();
        members.iter().map(|member| (member.conversation.0, member.user.0)).collect::<Vec<_>>()
    });
    assert_eq!(all, [(1, 1), (1, 2), (1, 3), (1, 5), (1, 6), (1, 7), (1, 8), (1, 9), (2, 4)]);
}

pub(super) fn bans_are_listed(bed: &mut Bed) {
    let standings = [Standing::Banned, Standing::Active, Standing::Gone, Standing::Banned];
    let changes = standings.into_iter().zip(1..).map(|(standing, user)| member(1, user, standing));
    keep(bed, changes.map(|member| Change::Member(Arc::new(member))).collect());
    let banned = |bed: &Bed| {
        bed.read(|reader| reader.bans(C1).unwrap().iter().map(|member| member.user.0).collect::<Vec<_>>())
    };
    assert_eq!(banned(bed), [1, 4]);
    keep(bed, vec![Change::Member(Arc::new(member(1, 1, Standing::Gone)))]);
    assert_eq!(banned(bed), [4]);
}

pub(super) fn relations_are_listed(bed: &mut Bed) {
    let contact = Relation { contact: true, blocked: false };
    let blocked = Relation { contact: false, blocked: true };
    let relate = |of: u32, to: u32, relation| Change::Relation(UserId(of), UserId(to), relation);
    keep(
        bed,
        vec![relate(1, 3, contact), relate(1, 2, blocked), relate(2, 1, contact), relate(1, 4, contact)],
    );
    keep(bed, vec![relate(1, 4, Relation::default())]);
    bed.reopen();
    let of = |user: u32| bed.read(move |reader| reader.relations(UserId(user)).unwrap());
    assert_eq!(of(1), [(UserId(2), blocked), (UserId(3), contact)]);
    assert_eq!(of(3), []);
    bed.does(move |plan| {
        assert_eq!(plan.relation(UserId(1), UserId(2))?, blocked);
        assert_eq!(plan.relation(UserId(2), UserId(3))?, Relation::default());
        Ok(())
    });
}

pub(super) fn invites_are_found_and_counted(bed: &mut Bed) {
    keep(
        bed,
        vec![
            invite(1, 1, 5_000, 3, false),
            invite(2, 1, 5_000, 0, false),
            invite(3, 1, 5_000, 3, true),
            invite(4, 1, 4_000, 1, false),
            invite(5, 2, 5_000, 3, false),
        ],
    );
    bed.reopen();
    let listed = bed.read(|reader| {
        let invites = reader.invites(C1).unwrap();
        invites.iter().map(|invite| invite.id.0).collect::<Vec<_>>()
    });
    assert_eq!(listed, [1, 4], "also what has expired: the reader of the list decides");
    bed.does(|plan| {
        assert_eq!(plan.open_invites(C1, Millis(3_999))?, 2);
        assert_eq!(plan.open_invites(C1, Millis(4_000))?, 1);
        assert_eq!(plan.open_invites(C1, Millis(5_000))?, 0);
        assert_eq!(plan.invite_by_token(&[3; 32])?.map(|invite| invite.id), Some(InviteId(3)));
        assert!(plan.invite_by_token(&[9; 32])?.is_none());
        assert_eq!(plan.invite(InviteId(5))?.map(|invite| invite.conversation.0), Some(2));
        assert!(plan.invite(InviteId(6))?.is_none());
        Ok(())
    });
}

pub(super) fn one_time_links_are_used_once(bed: &mut Bed) {
    let link = |token: u8, purpose| {
        Change::OneTime(Arc::new(OneTime { token: [token; 32], purpose, expires_at: Millis(9) }))
    };
    keep(bed, vec![link(1, Purpose::Setup), link(2, Purpose::Reset(UserId(4)))]);
    bed.reopen();
    let purpose = |bed: &Bed, token: u8| {
        bed.read(move |reader| reader.one_time(&[token; 32]).unwrap().map(|link| link.purpose))
    };
    assert_eq!(purpose(bed, 1), Some(Purpose::Setup));
    assert_eq!(purpose(bed, 2), Some(Purpose::Reset(UserId(4))));
    keep(bed, vec![Change::OneTimeUsed([1; 32])]);
    assert_eq!((purpose(bed, 1), purpose(bed, 3)), (None, None));
    assert!(purpose(bed, 2).is_some());
}

pub(super) fn the_direct_conversation_of_two(bed: &mut Bed) {
    let of = |id: u32, one: u32, other: u32| {
        let direct = Some((UserId(one), UserId(other)));
        Change::Conversation(Arc::new(Conversation { direct, ..group_named(id, "") }))
    };
    keep(bed, vec![of(1, 1, 2), of(2, 1, 3), of(3, 2, 2)]);
    bed.reopen();
    bed.does(|plan| {
        let direct = |one: u32, other: u32| plan.direct((UserId(one), UserId(other)));
        assert_eq!(direct(1, 2)?, Some(ConversationId(1)));
        assert_eq!(direct(2, 2)?, Some(ConversationId(3)));
        assert_eq!((direct(2, 1)?, direct(2, 3)?), (None, None));
        Ok(())
    });
}

pub(super) fn numbers_are_never_handed_out_twice(bed: &mut Bed) {
    let next = |bed: &Bed| {
        bed.read(|reader| {
            let counters = [Counter::User, Counter::Conversation, Counter::Session, Counter::Invite];
            counters.map(|counter| reader.next(counter).unwrap())
        })
    };
    assert_eq!(next(bed), [1, 1, 1, 1]);
    keep(
        bed,
        vec![
            Change::User(Arc::new(user_named(2, "two"))),
            Change::User(Arc::new(user_named(1, "one"))),
            Change::Conversation(Arc::new(group_named(4, "four"))),
            session(8, 1, 1),
            invite(3, 4, 0, 0, true),
        ],
    );
    assert_eq!(next(bed), [3, 5, 9, 4]);
    keep(bed, vec![Change::SessionEnded(SessionId(8)), Change::User(Arc::new(user_named(1, "uno")))]);
    bed.reopen();
    assert_eq!(next(bed), [3, 5, 9, 4], "an ended session's number is not used again");
    bed.does(|plan| {
        assert_eq!(plan.next(Counter::Session)?, 9);
        plan.keep(session(9, 1, 2));
        assert_eq!(plan.next(Counter::Session)?, 10);
        Ok(())
    });
    bed.does(|plan| {
        assert_eq!(plan.next(Counter::Session)?, 10);
        Ok(())
    });
}

pub(super) fn users_are_found_by_their_beginning_first(bed: &mut Bed) {
    let named = |id: u32, handle: &str, name: &str| {
        Change::User(Arc::new(User { name: name.into(), ..user_named(id, handle) }))
    };
    keep(
        bed,
        vec![
            named(1, "johanna", ""),
            named(2, "Änne", ""),
            named(3, "bob", "Anna the Second"),
            named(4, "anna", "Somebody"),
            named(5, "zoe", "Zoë 100%_"),
        ],
    );
    bed.reopen();
    let find = |text: &'static str, limit: usize| {
        bed.read(move |reader| {
            let users = reader.find_users(text, limit).unwrap();
            users.iter().map(|user| user.id.0).collect::<Vec<_>>()
        })
    };
    assert_eq!(find("ann", 10), [4, 2, 3, 1]);
    assert_eq!(find("ann", 2), [4, 2]);
    assert_eq!(find("second", 10), [3]);
    assert_eq!(find("zoe", 10), [5]);
    assert_eq!(find("%", 10), [5], "no character is special");
    assert_eq!(find("_", 10), [5]);
    assert_eq!(find("", 10), [4, 2, 3, 1, 5]);
    assert!(find("nobody", 10).is_empty());
}

pub(super) fn public_conversations_are_found(bed: &mut Bed) {
    let public = |id: u32, handle: &str, name: &str, topic: &str| Conversation {
        handle: Some(handle.into()),
        topic: topic.into(),
        public: true,
        ..group_named(id, name)
    };
    keep(
        bed,
        vec![
            Change::Conversation(Arc::new(public(1, "lab", "The Laboratory", "glass"))),
            Change::Conversation(Arc::new(public(2, "kitchen", "Küche", "plates and glasses"))),
            Change::Conversation(Arc::new(group_named(3, "private glass"))),
            Change::Conversation(Arc::new(Conversation { closed: true, ..public(4, "old", "glass", "") })),
        ],
    );
    bed.reopen();
    let find = |text: &'static str| {
        bed.read(move |reader| {
            let found = reader.find_conversations(text, 10).unwrap();
            found.iter().map(|conversation| conversation.id.0).collect::<Vec<_>>()
        })
    };
    assert_eq!(find("glass"), [2, 1]);
    assert_eq!(find("kuche"), [2]);
    assert_eq!(find("lab"), [1]);
    assert_eq!(find(""), [2, 1]);
}

pub(super) fn a_plan_sees_what_it_decided(bed: &mut Bed) {
    // One plan after the other in one batch or in several: each sees what the one before it kept.
    for number in 1..=20 {
        bed.does(move |plan| {
            let before = plan.user(UserId(1))?.map_or(0, |user| user.conversations);
            assert_eq!(before, number - 1);
            plan.keep(Change::User(Arc::new(User { conversations: number, ..user_named(1, "one") })));
            assert_eq!(plan.user(UserId(1))?.map(|user| user.conversations), Some(number));
            Ok(())
        });
    }
}

fn held(user: u32, file: u8, size: u64, waits_since: Option<i64>, messages: u32) -> Change {
    Change::Holding(Arc::new(Holding {
        user: UserId(user),
        file: FileId([file; 32]),
        size,
        media_type: "image/png".into(),
        waits_since: waits_since.map(Millis),
        messages,
    }))
}

pub(super) fn files_are_held_until_let_go(bed: &mut Bed) {
    keep(
        bed,
        vec![
            held(1, 1, 100, Some(5), 0),
            held(1, 2, 20, Some(3), 0),
            held(1, 3, 3, Some(1), 2),
            held(2, 1, 7_000_000_000, None, 1),
        ],
    );
    bed.reopen();
    let idle = |bed: &Bed, before: i64, limit: usize| -> Vec<(u32, u8)> {
        bed.read(move |reader| reader.idle_holdings(Millis(before), limit).unwrap())
            .iter()
            .map(|held| (held.user.0, held.file.0[0]))
            .collect()
    };
    let bytes = |bed: &Bed, user: u32| bed.read(move |reader| reader.held_bytes(UserId(user)).unwrap());
    let is_held = |bed: &Bed, file: u8| bed.read(move |reader| reader.is_held(FileId([file; 32])).unwrap());
    let found = bed.read(|reader| reader.holding(UserId(2), FileId([1; 32])).unwrap().unwrap());
    assert_eq!((found.size, found.messages, found.waits_since), (7_000_000_000, 1, None));
    assert_eq!((bytes(bed, 1), bytes(bed, 2), bytes(bed, 3)), (123, 7_000_000_000, 0));
    assert_eq!(
        idle(bed, 5, 10),
        [(1, 2)],
        "what waits since then waits long enough; a message needs no hurry"
    );
    assert_eq!(idle(bed, 6, 10).len(), 2);
    assert_eq!(idle(bed, 6, 1).len(), 1);
    bed.does(|plan| {
        plan.keep(Change::HoldingGone(UserId(1), FileId([1; 32])));
        assert_eq!((plan.held_bytes(UserId(1))?, plan.holding(UserId(1), FileId([1; 32]))?), (23, None));
        Ok(())
    });
    keep(bed, vec![held(1, 2, 20, None, 1), Change::HoldingGone(UserId(1), FileId([3; 32]))]);
    bed.reopen();
    assert_eq!((bytes(bed, 1), idle(bed, 1_000, 10)), (20, vec![]));
    assert_eq!((is_held(bed, 1), is_held(bed, 2), is_held(bed, 3)), (true, true, false));
}

pub(super) fn a_conversation_has_one_call(bed: &mut Bed) {
    let call = |conversation: u32, seq: u32| Call {
        conversation: ConversationId(conversation),
        view: CallView {
            call: Seq(seq),
            by: UserId(1),
            at: Millis(9),
            media: CallMedia::Video,
            via: Some("tag_json".into()),
            accepted: vec![UserId(2)],
            declined: vec![UserId(3)],
        },
    };
    keep(
        bed,
        vec![1, 2, 1].into_iter().zip(5..).map(|(c, seq)| Change::Call(Arc::new(call(c, seq)))).collect(),
    );
    bed.reopen();
    let open = |bed: &Bed| -> Vec<Call> {
        bed.read(|reader| reader.open_calls().unwrap()).iter().map(|call| Call::clone(call)).collect()
    };
    assert_eq!(open(bed), [call(1, 7), call(2, 6)]);
    bed.does(move |plan| {
        assert_eq!(plan.call(C1)?.as_deref(), Some(&call(1, 7)));
        plan.keep(Change::CallOver(C1));
        assert_eq!(plan.call(C1)?, None);
        Ok(())
    });
    bed.reopen();
    assert_eq!(open(bed), [call(2, 6)]);
    assert_eq!(bed.read(|reader| reader.call(C1).unwrap()), None);
}
