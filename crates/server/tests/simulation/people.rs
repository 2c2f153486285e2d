//! What people do, and whether in the end all their devices know the same as one that begins now.

use std::collections::BTreeSet;

use chinwag_domain::{Actor, reading};
use chinwag_protocol::{
    Anchor, Answer, ClientFrame, ClientSignal, Command, ConversationChange, ConversationId, ConversationKind,
    History, Posting, Presence, ProfileChange, Query, Role, Seq, Settings,
};
use serde_json::Value;

use crate::{device::Draft, world::World};

impl World {
    /// One person does something on one device.
    pub(crate) fn act(&mut self) {
        let chosen = self.chance.below(self.devices.len());
        self.numbers += 1;
        let number = self.numbers;
        let (conversation, message) = self.somewhere(chosen);
        let mut out = Vec::new();
        match self.chance.below(12) {
            0..=4 => {
                let about = match self.chance.below(8) {
                    0 => (Some(message), None),
                    1 => (None, Some(message)),
                    _ => (None, None),
                };
                let about_whom = self.chance.of(&["", "", "", " @everyone", " @user0x", " @user1x @user2x"]);
                let long = if self.chance.one_in(12) { "long ".repeat(200) } else { String::new() };
                let text = format!("said {number}{about_whom} {long}").trim().to_owned();
                // Nobody goes on writing while everything he said is still waiting.
                if self.devices[chosen].drafts.len() < 6 {
                    self.devices[chosen].post(Draft::new(number, conversation, text, about));
                }
            }
            5 | 6 => self.read(chosen, conversation),
            7 => {
                let signal = match self.chance.below(3) {
                    0 => ClientSignal::Typing { conversation },
                    1 => ClientSignal::Presence {
                        presence: self.chance.of(&[Presence::Online, Presence::Away]),
                    },
                    _ => ClientSignal::Watch { users: self.users.clone() },
                };
                if self.devices[chosen].online {
                    out.push(ClientFrame::Signal(signal));
                }
            }
            _ => {
                let command = self.command(chosen, conversation, message, number);
                self.devices[chosen].command(command, &mut out);
            }
        }
        self.send(chosen, out);
    }

    /// Mostly where one is a member, and a message that is there; sometimes anywhere.
    fn somewhere(&mut self, chosen: usize) -> (ConversationId, Seq) {
        let (any, place) = (ConversationId(1 + self.chance.below(8) as u32), self.chance.next() as usize);
        let about = self.chance.next() as usize;
        let is_anywhere = self.chance.one_in(6);
        let Some(state) = self.devices[chosen].state.as_ref().filter(|_| !is_anywhere) else {
            return (any, Seq(1 + (about % 40) as u32));
        };
        let known: Vec<_> = state.conversations.values().collect();
        let Some(known) = known.get(place % known.len().max(1)) else { return (any, Seq(1)) };
        let messages: Vec<Seq> = known
            .items
            .values()
            .filter(|item| matches!(item.entry.event, chinwag_protocol::Event::Message(_)))
            .map(|item| item.entry.seq)
            .collect();
        (known.view.id, messages.get(about % messages.len().max(1)).copied().unwrap_or(known.view.head.seq))
    }

    fn read(&mut self, chosen: usize, conversation: ConversationId) {
        let head = self.devices[chosen]
            .state
            .as_ref()
            .and_then(|state| state.conversations.get(&conversation))
            .map(|known| known.view.head.seq);
        if let Some(head) = head {
            let back = if self.chance.one_in(2) { 0 } else { self.chance.below(5) as u32 };
            self.devices[chosen].mark_read(conversation, Seq(head.0.saturating_sub(back)));
        }
    }

    fn command(&mut self, chosen: usize, conversation: ConversationId, message: Seq, number: u64) -> Command {
        let user = self.chance.of(&self.users);
        let even = number.is_multiple_of(2);
        let emoji = self.chance.of(&["👍", "🎉"]).to_owned();
        match self.chance.below(34) {
            0 => Command::OpenDirect { user },
            1 | 2 => Command::CreateConversation {
                client_id: format!("k{number}"),
                kind: if even { ConversationKind::Group } else { ConversationKind::Channel },
                name: format!("Place {number}"),
                handle: None,
                topic: String::new(),
                public: !self.chance.one_in(3),
                history: if self.chance.one_in(2) { History::All } else { History::FromJoining },
                posting: None,
                members: self.users.iter().copied().filter(|_| self.chance.one_in(2)).collect(),
            },
            3 => self.conversation_change(conversation, number),
            4..=6 => Command::Join { conversation },
            7 => Command::Leave { conversation },
            8 | 9 => Command::AddMember { conversation, user },
            10 | 11 => Command::RemoveMember { conversation, user, ban: self.chance.one_in(4) },
            12 => Command::Unban { conversation, user },
            13 => {
                let role = self.chance.of(&[Role::Member, Role::Admin, Role::Owner]);
                Command::SetRole { conversation, user, role }
            }
            14 => Command::Mute { conversation, until: None },
            15 | 16 => Command::Edit { conversation, message, text: format!("edited {number}") },
            17 | 18 => Command::Delete { conversation, message },
            19..=21 => Command::React { conversation, message, emoji },
            22 => Command::Unreact { conversation, message, emoji },
            23 => Command::Pin { conversation, message },
            24 => Command::Unpin { conversation, message },
            25 => Command::Block { user },
            26 => Command::Unblock { user },
            27 => Command::AddContact { user },
            28 => Command::ChangeSettings(Settings {
                theme: "dark".into(),
                invisible: even,
                hide_read: self.chance.one_in(3),
                ..Settings::default()
            }),
            29 | 30 => Command::ChangeProfile(ProfileChange {
                about: Some(format!("at {number}")),
                ..ProfileChange::default()
            }),
            31 | 32 => {
                let mine = self.devices[chosen].user;
                let others: Vec<usize> =
                    (0..self.devices.len()).filter(|other| self.devices[*other].user == mine).collect();
                let other = self.chance.of(&others);
                Command::EndSession { session: self.session(other) }
            }
            _ if self.chance.one_in(4) => Command::CloseConversation { conversation },
            _ => Command::EndOtherSessions {},
        }
    }

    fn conversation_change(&mut self, conversation: ConversationId, number: u64) -> Command {
        let mut change = ConversationChange::default();
        match self.chance.below(4) {
            0 => change.name = Some(format!("Name {number}")),
            1 => change.topic = Some(format!("topic {number}")),
            2 => change.history = Some(self.chance.of(&[History::All, History::FromJoining])),
            _ => change.posting = Some(self.chance.of(&[Posting::Everyone, Posting::Admins])),
        }
        Command::ChangeConversation { conversation, change }
    }

    /// L3, L4, L6: every device knows what one knows that begins now.
    pub(crate) fn compare_all(&mut self) {
        for chosen in 0..self.devices.len() {
            self.compare(chosen);
            self.compare_items(chosen);
            if self.oracle.broken.is_some() {
                return;
            }
        }
    }

    fn compare(&mut self, chosen: usize) {
        let user = self.devices[chosen].user;
        let fresh = self.fresh(chosen);
        let (mut old, mut new) = match &self.devices[chosen].state {
            Some(state) => (state.document(), fresh.document()),
            None => return self.oracle.blame(|| format!("L6: device {chosen} never had a welcome")),
        };
        canonical(&mut old);
        canonical(&mut new);
        let conversations: Vec<String> = old["conversations"].as_object().unwrap().keys().cloned().collect();
        for id in conversations {
            // Said before one entered: asked for as history.
            let last = old["conversations"][&id].get("last").cloned();
            if last.is_none() {
                remove(&mut new["conversations"][&id], "last");
            }
        }
        let known: BTreeSet<String> = old["users"].as_object().unwrap().keys().cloned().collect();
        new["users"].as_object_mut().unwrap().retain(|id, _| known.contains(id));
        let both: BTreeSet<String> = new["users"].as_object().unwrap().keys().cloned().collect();
        old["users"].as_object_mut().unwrap().retain(|id, _| both.contains(id));
        if old != new {
            let differences = differences("", &old, &new);
            self.oracle.blame(|| {
                format!(
                    "L3: device {chosen} of user {user} differs from a fresh one:\n{}",
                    differences.join("\n")
                )
            });
        }
    }

    /// O5: what the device made of its timeline is what the server's own pages of history say.
    fn compare_items(&mut self, chosen: usize) {
        let device = &self.devices[chosen];
        let actor = Actor { user: device.user, session: device.session, door: None };
        let Some(state) = &device.state else { return };
        for (id, known) in &state.conversations {
            if known.view.closed {
                continue;
            }
            let query = Query::History { conversation: *id, anchor: Anchor::Latest, limit: 200 };
            let answer = self.disk.look(|reader| reading::answer(reader, &actor, &query, self.now()));
            let Ok(Answer::History(page)) = answer else { continue };
            for item in &page.items {
                let mine = known.items.get(&item.entry.seq);
                if let Some(mine) = mine.filter(|mine| *mine != item) {
                    let what = format!("O5: device {chosen} has {mine:?}\nwhere history has {item:?}");
                    return self.oracle.blame(|| what);
                }
            }
        }
    }
}

fn remove(value: &mut Value, key: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(key);
    }
}

/// Takes away what a snapshot does not hold.
fn canonical(document: &mut Value) {
    for passing in ["items", "cursors", "presence", "unknown_users"] {
        remove(document, passing);
    }
    let conversations = document["conversations"].as_object_mut().unwrap();
    conversations.retain(|_, view| view.get("closed").is_none());
    let open: BTreeSet<String> = conversations.keys().map(|id| format!("c{id}")).collect();
    let positions = document["positions"].as_object_mut().unwrap();
    positions.retain(|log, _| !log.starts_with('c') || open.contains(log));
}

fn differences(path: &str, old: &Value, new: &Value) -> Vec<String> {
    match (old, new) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let below = |key: &String| {
                let none = Value::Null;
                let (old, new) = (one.get(key).unwrap_or(&none), other.get(key).unwrap_or(&none));
                differences(&format!("{path}.{key}"), old, new)
            };
            keys.into_iter().flat_map(below).collect()
        }
        _ if old == new => Vec::new(),
        _ => vec![format!("{path}: {old}, fresh {new}")],
    }
}
