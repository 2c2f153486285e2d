//! What becomes of calls: facts, command, what comes of it.

use std::sync::atomic::{AtomicU32, Ordering};

use chinwag_protocol::{
    CallEnd, CallMedia, Command, ConversationId, ConversationKind, Event, Kind, LogId, Posting, Refused,
    Reply, Role, Seq,
};

use crate::{
    facts::Facts,
    limits::{CALL_LASTS_MS, CALL_RINGS_MS},
    port::{Actor, Request},
    testing::World,
};

/// A refusal is remembered under the id of its command, so each has one of its own.
fn fresh_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("call-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

struct Cast {
    world: World,
    anna: Actor,
    ben: Actor,
    direct: ConversationId,
    group: ConversationId,
}

fn cast() -> Cast {
    let mut world = World::founded();
    let (anna, ben) = (world.register("anna"), world.register("ben"));
    let direct = match world.command(&anna, Command::OpenDirect { user: ben.user }).unwrap() {
        Reply::Conversation { conversation } => conversation,
        other => panic!("{other:?}"),
    };
    let group = world.create(&anna, "Lab", false, Posting::Everyone);
    world.add(&anna, group, ben.user, Role::Member);
    Cast { world, anna, ben, direct, group }
}

fn start(world: &mut World, by: &Actor, conversation: ConversationId) -> Result<Seq, Refused> {
    let client_id = fresh_id();
    match world.command(by, Command::StartCall { conversation, client_id, media: CallMedia::Audio })? {
        Reply::Call { call, .. } => Ok(call),
        other => panic!("{other:?}"),
    }
}

fn answer(
    world: &mut World,
    by: &Actor,
    conversation: ConversationId,
    call: Seq,
    accept: bool,
) -> Result<Reply, Refused> {
    world.command(by, Command::AnswerCall { conversation, call, accept })
}

fn end(world: &mut World, by: &Actor, conversation: ConversationId, call: Seq) -> Result<Reply, Refused> {
    world.command(by, Command::EndCall { conversation, call })
}

/// Why the last call of a conversation ended, if it has.
fn ended(world: &World, conversation: ConversationId) -> Option<CallEnd> {
    let reason =
        world.log(LogId::Conversation(conversation)).iter().rev().find_map(|entry| match entry.event {
            Event::CallEnded { reason, .. } => Some(Some(reason)),
            Event::CallStarted { .. } => Some(None),
            _ => None,
        });
    assert_eq!(world.call(conversation).unwrap().is_none(), reason != Some(None), "log and record agree");
    reason.flatten()
}

#[test]
fn a_call_is_started_answered_and_ended_once_each() {
    let Cast { mut world, anna, ben, direct, .. } = cast();
    let call = start(&mut world, &anna, direct).unwrap();
    assert_eq!(start(&mut world, &ben, direct).unwrap_err().code, "call_open");
    assert_eq!(answer(&mut world, &anna, direct, call, true).unwrap_err().code, "own_call");
    answer(&mut world, &ben, direct, call, true).unwrap();
    let head = world.head(LogId::Conversation(direct)).unwrap();
    answer(&mut world, &ben, direct, call, true).unwrap();
    answer(&mut world, &ben, direct, call, false).unwrap();
    assert_eq!(world.head(LogId::Conversation(direct)).unwrap(), head, "an answer is given once");
    assert_eq!(world.call(direct).unwrap().unwrap().view.accepted, [ben.user]);
    end(&mut world, &ben, direct, call).unwrap();
    assert_eq!(ended(&world, direct), Some(CallEnd::Ended));
    end(&mut world, &anna, direct, call).unwrap();
    assert_eq!(answer(&mut world, &ben, direct, call, true).unwrap_err().code, "call_over");
    start(&mut world, &ben, direct).unwrap();
}

#[test]
fn a_declined_call_is_over_when_nobody_is_left_to_answer() {
    let Cast { mut world, anna, ben, direct, group } = cast();
    let call = start(&mut world, &anna, direct).unwrap();
    answer(&mut world, &ben, direct, call, false).unwrap();
    assert_eq!(ended(&world, direct), Some(CallEnd::Declined));

    let cleo = world.register("cleo");
    world.add(&anna, group, cleo.user, Role::Member);
    let call = start(&mut world, &anna, group).unwrap();
    answer(&mut world, &ben, group, call, false).unwrap();
    assert_eq!(ended(&world, group), None, "cleo may still answer");
    answer(&mut world, &ben, group, call, true).unwrap();
    answer(&mut world, &cleo, group, call, false).unwrap();
    assert_eq!(ended(&world, group), None, "ben thought better of it");
}

#[test]
fn who_hangs_up_before_the_answer_says_why_it_ended() {
    let Cast { mut world, anna, ben, direct, .. } = cast();
    for (by, reason) in [(&anna, CallEnd::Missed), (&ben, CallEnd::Declined)] {
        let call = start(&mut world, &anna, direct).unwrap();
        end(&mut world, by, direct, call).unwrap();
        assert_eq!(ended(&world, direct), Some(reason));
    }
}

#[test]
fn in_a_group_only_the_caller_and_admins_end_a_call() {
    let Cast { mut world, anna, ben, group, .. } = cast();
    let call = start(&mut world, &anna, group).unwrap();
    answer(&mut world, &ben, group, call, true).unwrap();
    assert_eq!(end(&mut world, &ben, group, call).unwrap_err().kind, Kind::Forbidden);
    end(&mut world, &anna, group, call).unwrap();
    let call = start(&mut world, &ben, group).unwrap();
    end(&mut world, &anna, group, call).unwrap();
    assert_eq!(ended(&world, group), Some(CallEnd::Declined));
}

#[test]
fn a_call_that_nobody_answers_is_missed_after_a_minute() {
    let Cast { mut world, anna, ben, direct, .. } = cast();
    let call = start(&mut world, &anna, direct).unwrap();
    let expire = Request::ExpireCall { conversation: direct, call };
    world.at.0 += CALL_RINGS_MS - 1;
    world.request(&expire).unwrap();
    assert_eq!(ended(&world, direct), None);
    world.at.0 += 1;
    world.request(&expire).unwrap();
    world.request(&expire).unwrap();
    assert_eq!(ended(&world, direct), Some(CallEnd::Missed));

    let call = start(&mut world, &anna, direct).unwrap();
    answer(&mut world, &ben, direct, call, true).unwrap();
    world.at.0 += CALL_RINGS_MS;
    world.request(&Request::ExpireCall { conversation: direct, call }).unwrap();
    assert_eq!(ended(&world, direct), None, "an answered call goes on");
    world.at.0 += CALL_LASTS_MS;
    world.request(&Request::ExpireCall { conversation: direct, call }).unwrap();
    assert_eq!(ended(&world, direct), Some(CallEnd::Failed));
}

#[test]
fn a_call_does_not_outlive_its_caller_nor_its_conversation() {
    let Cast { mut world, anna, ben, group, .. } = cast();
    let call = start(&mut world, &ben, group).unwrap();
    world.command(&ben, Command::Leave { conversation: group }).unwrap();
    assert_eq!(ended(&world, group), Some(CallEnd::Missed));
    world.add(&anna, group, ben.user, Role::Member);
    let again = start(&mut world, &anna, group).unwrap();
    assert!(again > call);
    answer(&mut world, &ben, group, again, true).unwrap();
    world.command(&anna, Command::RemoveMember { conversation: group, user: ben.user, ban: false }).unwrap();
    assert_eq!(ended(&world, group), Some(CallEnd::Ended), "nobody is left in it");
    world.add(&anna, group, ben.user, Role::Member);
    start(&mut world, &anna, group).unwrap();
    world.command(&anna, Command::CloseConversation { conversation: group }).unwrap();
    assert_eq!(ended(&world, group), Some(CallEnd::Ended));
}

#[test]
fn whoever_may_not_speak_may_not_call_either() {
    let Cast { mut world, anna, ben, direct, .. } = cast();
    world.command(&ben, Command::Block { user: anna.user }).unwrap();
    assert_eq!(start(&mut world, &anna, direct).unwrap_err(), Refused::not_found());
    let channel = world.create(&anna, "News", false, Posting::Admins);
    assert_eq!(start(&mut world, &anna, channel).unwrap_err().code, "nobody_there");
    let cleo = world.register("cleo");
    world.add(&anna, channel, cleo.user, Role::Member);
    assert_eq!(start(&mut world, &cleo, channel).unwrap_err().kind, Kind::Forbidden);
    let stranger = world.register("stranger");
    assert_eq!(start(&mut world, &stranger, channel).unwrap_err(), Refused::not_found());
    let notes = match world.command(&anna, Command::OpenDirect { user: anna.user }).unwrap() {
        Reply::Conversation { conversation } => conversation,
        other => panic!("{other:?}"),
    };
    assert_eq!(world.conversation(notes).unwrap().unwrap().kind, ConversationKind::Direct);
    assert_eq!(start(&mut world, &anna, notes).unwrap_err().code, "nobody_there");
}

#[test]
fn a_call_through_a_door_says_so() {
    let Cast { mut world, anna, direct, .. } = cast();
    let door = Actor { door: Some("tag_json".into()), ..anna };
    start(&mut world, &door, direct).unwrap();
    assert_eq!(world.call(direct).unwrap().unwrap().view.via.as_deref(), Some("tag_json"));
}
