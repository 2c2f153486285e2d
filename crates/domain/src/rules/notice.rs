//! What the built-in bot tells a user of its own accord, in their direct conversation.

use chinwag_protocol::{Refused, UserId};

use super::{import, missing};
use crate::{
    facts::{Facts, Known},
    plan::Plan,
    port::Done,
};

/// Tells somebody something, unless he was told before or does not want to hear the bot.
pub fn tell(plan: &mut Plan<'_>, user: UserId, client_id: &str, text: &str) -> Known<Done> {
    let server = plan.server()?.ok_or_else(|| missing("settings of the server", ""))?;
    let bot = plan.user(server.bot)?.ok_or_else(|| missing("user", server.bot))?;
    let receiver = plan.user(user)?.filter(|user| user.is_active() && user.id != server.bot);
    let receiver = receiver.ok_or_else(Refused::not_found)?;
    if plan.relation(user, server.bot)?.blocked {
        return Err(Refused::forbidden("blocked", "the receiver has blocked the sender").into());
    }
    import::said_once(plan, &bot, &receiver, client_id, text)
}

#[cfg(test)]
mod tests {
    use chinwag_protocol::{ConversationId, Event, LogId, UserId};

    use crate::{
        port::{Prepared, Request},
        testing::World,
    };

    fn notify(user: u32, client_id: &str, text: &str) -> Request {
        Request::Notify { user: UserId(user), client_id: client_id.into(), text: text.into() }
    }

    #[test]
    fn a_notice_stands_once_in_the_conversation_with_the_bot() {
        let mut world = World::founded();
        let prepared = Prepared { password: Some("hash".into()), ..Prepared::default() };
        let (handle, about) = ("anna".into(), String::new());
        world.request(&Request::ImportUser { handle, about, prepared }).unwrap();
        for (client_id, text) in [("a", "one"), ("a", "one"), ("b", "two")] {
            world.request(&notify(2, client_id, text)).unwrap();
        }
        // Another text under the same name is refused: within the hour he was told.
        assert_eq!(
            world.consider(&notify(2, "a", "three")).verdict.as_ref().unwrap_err().code,
            "client_id_reused"
        );
        let log = world.log(LogId::Conversation(ConversationId(2))).iter();
        let said = log.filter_map(|entry| match &entry.event {
            Event::Message(body) => Some((entry.by, body.text.clone())),
            _ => None,
        });
        let said: Vec<_> = said.collect();
        assert_eq!(said, [(UserId(1), "one".to_owned()), (UserId(1), "two".to_owned())]);
        assert!(world.is_member(ConversationId(2), UserId(2)));
    }

    #[test]
    fn nobody_is_told_what_nobody_hears() {
        let world = World::founded();
        for user in [1, 2] {
            let refused = world.consider(&notify(user, "a", "one"));
            assert_eq!(refused.verdict.as_ref().unwrap_err().code, "not_found");
            assert!(refused.is_without_effect());
        }
    }
}
