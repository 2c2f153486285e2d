//! The groups of a client: its list, making, joining and leaving them, and what it says in them.

use chinwag_protocol::{
    Anchor, Answer, Command, ConversationId, ConversationKind, ConversationView, Event, History, HistoryPage,
    Kind, MemberView, Millis, Query, Refused, Reply, Role, Seq, UserId,
};
use serde_json::{Value, json};

use super::{
    Shared,
    said::Said,
    session::{Doing, Session},
    told::{conversation_of, group_id},
    wire::{Request, frame},
};
use crate::{
    Given, Room,
    desk::{post, shown},
    people::fold,
};

/// Entries of history looked at at once.
const PAGE: u16 = 200;

/// Members looked at at once.
const MEMBERS: u16 = 1_000;

/// Conversations found by a part of their name, of which one has the whole.
const FOUND_MAX: u16 = 200;

/// The longest handle.
const HANDLE_CHARACTERS_MAX: usize = 32;

/// Joining: what the client calls it, and how far that is.
pub(super) struct Joining {
    name: String,
    step: JoinStep,
}

enum JoinStep {
    /// Whom `@handle` names.
    Person,
    /// Which conversation has this name.
    Name,
    /// Which one has the handle that is made of this name.
    Handle,
    Open,
    Join(ConversationId),
}

/// Leaving also "deletes the leaver's own messages of that group". First it is found out whether he may leave:
/// nothing is deleted of one who stays.
pub(super) struct Leaving {
    name: String,
    conversation: ConversationId,
    is_owner: bool,
    /// Who is to own the group after him.
    heir: Option<(Role, Millis, UserId)>,
    /// His own messages on the page of history that was looked at, and from where to look on.
    own: Vec<Seq>,
    before: Option<Seq>,
    step: LeaveStep,
}

enum LeaveStep {
    Members,
    Bequeathing,
    Looking,
    Deleting,
    Leaving,
}

impl Session {
    /// "Every group and channel of the user, `Everyone` included, and each direct conversation as `@handle`."
    pub(super) fn load_history(&mut self, shared: &mut Shared) {
        let Some(place) = &mut self.place else { return };
        let rooms: Vec<Room> = place.seat.rooms().filter(|room| !room.closed).cloned().collect();
        for room in &rooms {
            place.spell(room, None, shared);
        }
        let list: Vec<Value> =
            rooms.iter().map(|room| json!([group_id(room.id), place.spelled[&room.id]])).collect();
        let said = |list: &[Value]| {
            let result = Some(Value::Array(list.to_vec()));
            frame(&Said { action: "load_history", status: Some(true), result, ..Said::default() })
        };
        let mut count = list.len();
        let bytes = loop {
            match said(&list[..count]) {
                Some(bytes) => break bytes,
                None => count = count * 9 / 10,
            }
        };
        // What does not fit the client has not seen; it can still join it by name.
        for room in &rooms[count..] {
            place.spelled.remove(&room.id);
        }
        shared.desk.send(self.link, bytes);
        self.tell_missed(shared);
    }

    /// A request that names a group.
    pub(super) fn about_group(&mut self, action: &str, name: &str, shared: &mut Shared) {
        match action {
            "create_group" => self.create(name, shared),
            "join_group" => self.join(name, shared),
            _ => self.leave(name, shared),
        }
    }

    fn create(&mut self, name: &str, shared: &mut Shared) {
        // `@handle` is how a direct conversation is joined, so nobody could join a group of such a name.
        if name.starts_with('@') {
            let message = "The name of a group may not begin with @.";
            return self.say(&Said::group("create_group", false, name, message), shared);
        }
        let Some(place) = &mut self.place else { return };
        let command = Command::CreateConversation {
            client_id: place.client_id(),
            kind: ConversationKind::Group,
            name: name.to_owned(),
            // "A name is taken when its handle is": without one the server would find a handle that is free.
            handle: Some(handle_of(name)).filter(|handle| !handle.is_empty()),
            topic: String::new(),
            public: true,
            history: History::All,
            posting: None,
            members: Vec::new(),
        };
        self.command(Doing::Create { name: name.to_owned() }, command, shared);
    }

    pub(super) fn created(&self, name: &str, refused: Option<Refused>, shared: &mut Shared) {
        let (status, message) = match refused {
            None => (true, format!("group: '{name}' has been created.")),
            Some(refused) if refused.kind == Kind::Conflict => {
                (false, format!("group name: '{name}' has been used."))
            }
            Some(refused) => (false, refused.message),
        };
        self.say(&Said::group("create_group", status, name, &message), shared);
    }

    fn join(&mut self, name: &str, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        if let Some(id) = place.called(name) {
            let message = format!("user: '{}' has already joined group: '{name}'.", self.me(shared));
            let group_id = Some(group_id(id).into());
            return self.say(&Said { group_id, ..Said::group("join_group", false, name, &message) }, shared);
        }
        let joining = |step| Doing::Join(Joining { name: name.to_owned(), step });
        if let Some(handle) = name.strip_prefix('@') {
            let query = Query::Handle { handle: handle.to_owned() };
            return self.query(joining(JoinStep::Person), query, shared);
        }
        // His own group that he has just made, or one that appeared after the list: he is in it already.
        let is_new = |room: &&Room| {
            room.peer.is_none() && !place.spelled.contains_key(&room.id) && is_called(room, name)
        };
        let own = place.seat.rooms().find(is_new).map(|room| room.id);
        if let Some(conversation) = own {
            return self.joined(name, conversation, shared);
        }
        let query = Query::FindConversations { text: name.to_owned(), limit: FOUND_MAX };
        self.query(joining(JoinStep::Name), query, shared);
    }

    pub(super) fn join_on(&mut self, joining: Joining, result: Result<Given, Refused>, shared: &mut Shared) {
        let Joining { name, step } = joining;
        match (step, result) {
            (JoinStep::Person, Ok(Given::Answer(Answer::User(profile)))) => {
                let command = Command::OpenDirect { user: profile.id };
                self.command(Doing::Join(Joining { name, step: JoinStep::Open }), command, shared);
            }
            (JoinStep::Name, Ok(Given::Answer(Answer::Conversations(views)))) => {
                match views.iter().find(|view| view_is_called(view, &name)) {
                    Some(view) => self.join_this(name, view.id, shared),
                    None => {
                        // Another one may be found by a part of it, more often than is looked at.
                        let query = Query::Handle { handle: handle_of(&name) };
                        self.query(Doing::Join(Joining { name, step: JoinStep::Handle }), query, shared);
                    }
                }
            }
            (JoinStep::Handle, Ok(Given::Answer(Answer::Conversation(view))))
                if view.direct.is_none() && view_is_called(&view, &name) =>
            {
                self.join_this(name, view.id, shared);
            }
            (JoinStep::Open, Ok(Given::Reply(Reply::Conversation { conversation })))
            | (
                JoinStep::Join(conversation),
                Ok(Given::Reply(Reply::Conversation { conversation: _ } | Reply::Done {})),
            ) => {
                self.joined(&name, conversation, shared);
            }
            (_, Err(refused)) if refused.kind == Kind::TooMany => {
                self.say(&Said::group("join_group", false, &name, &refused.message), shared);
            }
            // "A private group answers as if it did not exist."
            _ => self.no_such_group("join_group", &name, shared),
        }
    }

    fn join_this(&mut self, name: String, conversation: ConversationId, shared: &mut Shared) {
        let joining = Joining { name, step: JoinStep::Join(conversation) };
        self.command(Doing::Join(joining), Command::Join { conversation }, shared);
    }

    fn joined(&mut self, name: &str, conversation: ConversationId, shared: &mut Shared) {
        let me = self.me(shared);
        let Some(place) = &mut self.place else { return };
        // "`group_name` in answers is spelled exactly as where the client first saw it": here, as it asked.
        place.spell_freely(conversation, name);
        let spelled = place.spelled[&conversation].clone();
        let message = format!("{me} has joined group #{}", group_id(conversation));
        let group_id = Some(group_id(conversation).into());
        self.say(&Said { group_id, ..Said::group("join_group", true, &spelled, &message) }, shared);
        self.tell_missed(shared);
    }

    fn no_such_group(&self, action: &str, name: &str, shared: &mut Shared) {
        let message = format!("group: '{name}' does not exist.");
        self.say(&Said::group(action, false, name, &message), shared);
    }

    /// "None; everybody in the group incl. sender gets `recv_chat`."
    pub(super) fn send_chat(&mut self, request: &Request, shared: &mut Shared) {
        let (Some(place), Some(text)) = (&mut self.place, request.text("message")) else { return };
        let Some(conversation) = request.positive("send_to").and_then(conversation_of) else { return };
        if place.seat.room(conversation).is_none() {
            return;
        }
        let question = post(conversation, place.client_id(), shown(text.trim_end()));
        shared.desk.ask(self.link, Doing::Nothing, question);
    }

    fn leave(&mut self, name: &str, shared: &mut Shared) {
        let Some(place) = &self.place else { return };
        let own = || place.seat.rooms().find(|room| is_called(room, name)).map(|room| room.id);
        let Some(conversation) = place.called(name).or_else(own) else {
            return self.no_such_group("leave_group", name, shared);
        };
        if place.seat.room(conversation).is_some_and(|room| room.peer.is_some()) {
            let message = "A direct conversation cannot be left.";
            return self.say(&Said::group("leave_group", false, name, message), shared);
        }
        let leaving = Leaving {
            name: name.to_owned(),
            conversation,
            is_owner: false,
            heir: None,
            own: Vec::new(),
            before: None,
            step: LeaveStep::Members,
        };
        self.look_at_members(leaving, UserId(0), shared);
    }

    fn look_at_members(&mut self, leaving: Leaving, after: UserId, shared: &mut Shared) {
        let query = Query::Members { conversation: leaving.conversation, after, limit: MEMBERS };
        self.query(Doing::Leave(leaving), query, shared);
    }

    fn look_back(&mut self, mut leaving: Leaving, shared: &mut Shared) {
        leaving.step = LeaveStep::Looking;
        let anchor = leaving.before.take().map_or(Anchor::Latest, Anchor::Before);
        let query = Query::History { conversation: leaving.conversation, anchor, limit: PAGE };
        self.query(Doing::Leave(leaving), query, shared);
    }

    pub(super) fn leave_on(
        &mut self,
        mut leaving: Leaving,
        result: Result<Given, Refused>,
        shared: &mut Shared,
    ) {
        let Some(place) = &mut self.place else { return };
        let me = place.seat.me;
        match (&leaving.step, result) {
            (LeaveStep::Members, Ok(Given::Answer(Answer::Members(members)))) => {
                leaving.look_at(&members, me);
                match members.last() {
                    Some(last) if members.len() >= usize::from(MEMBERS) => {
                        self.look_at_members(leaving, last.profile.id, shared);
                    }
                    _ => self.bequeath(leaving, shared),
                }
            }
            (LeaveStep::Bequeathing, Ok(_)) => self.look_back(leaving, shared),
            (LeaveStep::Looking, Ok(Given::Answer(Answer::History(page)))) => {
                place.leaving = Some(leaving.conversation);
                leaving.own = own_messages(&page, me).collect();
                let first = page.items.first().map(|item| item.entry.seq);
                leaving.before = first.filter(|_| page.more_before);
                self.delete_next(leaving, shared);
            }
            // A message that can no longer be deleted stays; one leaves all the same.
            (LeaveStep::Deleting, _) => self.delete_next(leaving, shared),
            (LeaveStep::Leaving, Ok(_)) => self.left(&leaving, shared),
            (_, result) => {
                place.leaving = None;
                let why = result.err().map_or_else(String::new, |refused| refused.message);
                self.say(&Said::group("leave_group", false, &leaving.name, &why), shared);
            }
        }
    }

    /// A group that others are in has an owner: whoever was its admin, or else its member, for longest.
    fn bequeath(&mut self, mut leaving: Leaving, shared: &mut Shared) {
        let Some((_, _, user)) = leaving.heir.take().filter(|_| leaving.is_owner) else {
            return self.look_back(leaving, shared);
        };
        leaving.step = LeaveStep::Bequeathing;
        let command = Command::SetRole { conversation: leaving.conversation, user, role: Role::Owner };
        self.command(Doing::Leave(leaving), command, shared);
    }

    fn delete_next(&mut self, mut leaving: Leaving, shared: &mut Shared) {
        let conversation = leaving.conversation;
        let command = if let Some(message) = leaving.own.pop() {
            leaving.step = LeaveStep::Deleting;
            Command::Delete { conversation, message }
        } else if leaving.before.is_some() {
            return self.look_back(leaving, shared);
        } else {
            leaving.step = LeaveStep::Leaving;
            Command::Leave { conversation }
        };
        self.command(Doing::Leave(leaving), command, shared);
    }

    fn left(&mut self, leaving: &Leaving, shared: &mut Shared) {
        let me = self.me(shared);
        let Some(place) = &mut self.place else { return };
        place.leaving = None;
        place.spelled.remove(&leaving.conversation);
        let message = format!("{me} has left group #{}", group_id(leaving.conversation));
        self.say(&Said::group("leave_group", true, &leaving.name, &message), shared);
    }
}

impl Leaving {
    /// Who of these would own the group best; the longest-standing admin, else the longest-standing member.
    fn look_at(&mut self, members: &[MemberView], me: UserId) {
        for member in members {
            if member.profile.id == me {
                self.is_owner = member.role == Role::Owner;
                continue;
            }
            let (role, since, _) = self.heir.unwrap_or((Role::Member, Millis(i64::MAX), me));
            if member.role > role || member.role == role && member.joined_at < since {
                self.heir = Some((member.role, member.joined_at, member.profile.id));
            }
        }
    }
}

fn is_called(room: &Room, name: &str) -> bool {
    fold(&room.name) == fold(name) || room.handle.as_deref().is_some_and(|handle| fold(handle) == fold(name))
}

fn view_is_called(view: &ConversationView, name: &str) -> bool {
    let handle = view.handle.as_deref().map(fold);
    fold(&view.name) == fold(name) || handle == Some(fold(name)) || handle == Some(fold(&handle_of(name)))
}

/// "Its handle is derived from it: white space to `-`, forbidden characters dropped." No longer than a handle may be.
fn handle_of(name: &str) -> String {
    let plain = |word: &str| word.chars().filter(|c| c.is_alphanumeric() || "-_.".contains(*c)).collect();
    let words: Vec<String> =
        name.split_whitespace().map(plain).filter(|word: &String| !word.is_empty()).collect();
    let handle: String = words.join("-").chars().take(HANDLE_CHARACTERS_MAX).collect();
    handle.trim_matches('-').to_owned()
}

fn own_messages(page: &HistoryPage, me: UserId) -> impl Iterator<Item = Seq> {
    page.items
        .iter()
        .filter(move |item| {
            item.entry.by == me
                && matches!(item.entry.event, Event::Message(_))
                && !item.state.as_ref().is_some_and(|state| state.deleted)
        })
        .map(|item| item.entry.seq)
}
