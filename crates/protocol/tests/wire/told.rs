//! Examples of what the server sends.

use chinwag_protocol::{
    Answer, AppPasswordId, AppPasswordView, Attachment, CallEnd, CallMedia, CallView, Closing,
    ConversationChange, ConversationId, ConversationKind, ConversationView, CursorMoved, Entry, Event,
    FileId, History, HistoryPage, InviteId, InviteInfo, Item, JoinedBy, Kind, LogId, MemberView, MessageBody,
    MessageInfo, MessageState, Millis, MyMembership, NewAvatar, PROTOCOL_VERSION, Position, Posted, Posting,
    Presence, PresenceOf, Profile, Reaction, Refused, Registration, Reply, Resumed, Role, SearchHit,
    SearchPage, Seq, ServerFrame, ServerInfo, ServerSignal, SessionId, SessionView, Settings, SignedIn,
    Snapshot, UserId, UserKind, Welcome,
};

const GROUP: ConversationId = ConversationId(7);
const ANNA: UserId = UserId(2);
const BEN: UserId = UserId(3);
const AT: Millis = Millis(1_790_000_000_000);
const MESSAGE: Seq = Seq(12);

fn text(text: &str) -> String {
    text.to_owned()
}

fn anna() -> Profile {
    Profile {
        id: ANNA,
        handle: text("anna"),
        name: text("Anna"),
        about: String::new(),
        hue: 210,
        avatar: None,
        kind: UserKind::Person,
        admin: false,
        inactive: false,
    }
}

fn administrator() -> Profile {
    let avatar = Some(FileId([0xcd; 32]));
    Profile { about: text("keeps the server"), avatar, admin: true, inactive: true, ..anna() }
}

fn body() -> MessageBody {
    MessageBody { text: text("hello"), number: 8, ..MessageBody::default() }
}

fn full_body() -> MessageBody {
    MessageBody {
        text: text("@ben tea?"),
        number: 9,
        reply_to: Some(MESSAGE),
        thread: Some(Seq(3)),
        attachments: Vec::new(),
        mentions: vec![BEN],
        mentions_all: true,
        via: Some(text("tcp_json")),
        sent_at: Some(Millis(AT.0 - 1_000)),
    }
}

fn with_files() -> MessageBody {
    let picture = Attachment {
        file: FileId([0xab; 32]),
        name: text("tea.png"),
        size: 1_234,
        media_type: text("image/png"),
    };
    MessageBody { number: 10, attachments: vec![picture], ..MessageBody::default() }
}

fn open_call() -> CallView {
    CallView {
        call: Seq(2),
        by: ANNA,
        at: AT,
        media: CallMedia::Video,
        via: Some(text("tag_json")),
        accepted: vec![BEN],
        declined: vec![UserId(4)],
    }
}

fn entry() -> Entry {
    let event = Event::Message(body());
    Entry {
        log: LogId::Conversation(GROUP),
        seq: MESSAGE,
        at: AT,
        by: ANNA,
        client_id: Some(text("c-5")),
        event,
    }
}

fn item() -> Item {
    Item { entry: entry(), state: None }
}

fn changed_item() -> Item {
    let state = MessageState {
        text: Some(text("hello!")),
        edited_at: Some(AT),
        deleted: false,
        reactions: vec![Reaction { emoji: text("\u{1F44D}"), users: vec![BEN, ANNA] }],
        pinned: true,
        replies: 2,
        changed: Seq(15),
    };
    Item { entry: entry(), state: Some(state) }
}

fn deleted_item() -> Item {
    let mut entry = entry();
    entry.event = Event::Message(MessageBody { text: String::new(), ..body() });
    let state = MessageState { deleted: true, changed: Seq(16), ..MessageState::default() };
    Item { entry, state: Some(state) }
}

fn direct() -> ConversationView {
    ConversationView {
        id: ConversationId(8),
        kind: ConversationKind::Direct,
        handle: None,
        name: String::new(),
        topic: String::new(),
        avatar: None,
        public: false,
        history: History::All,
        posting: Posting::Everyone,
        direct: Some((ANNA, BEN)),
        members: 2,
        closed: false,
        head: Position { seq: Seq(3), messages: 0 },
        call: Some(open_call()),
        mine: None,
        last: None,
    }
}

fn group() -> ConversationView {
    ConversationView {
        id: GROUP,
        kind: ConversationKind::Group,
        handle: Some(text("lab")),
        name: text("Lab"),
        topic: text("tea"),
        avatar: Some(FileId([0xcd; 32])),
        public: true,
        history: History::FromJoining,
        posting: Posting::Admins,
        direct: None,
        members: 2,
        closed: true,
        head: Position { seq: MESSAGE, messages: 8 },
        call: None,
        mine: Some(MyMembership {
            role: Role::Owner,
            since: Seq(1),
            read: Position { seq: Seq(11), messages: 7 },
            mentions: vec![MESSAGE],
            muted_until: Some(AT),
        }),
        last: Some(Box::new(item())),
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        me: anna(),
        session: SessionId(9),
        settings: Settings { theme: text("system"), ..Settings::default() },
        conversations: vec![group(), direct()],
        users: vec![anna()],
        contacts: vec![BEN],
        blocked: vec![UserId(4)],
        positions: vec![(LogId::User(ANNA), Seq(3)), (LogId::Directory, Seq(40))],
    }
}

pub(crate) fn events() -> Vec<Event> {
    let mut all = in_a_conversation();
    all.extend(on_a_message());
    all.extend(in_ones_own_log());
    all.push(Event::UserChanged { profile: anna() });
    all.push(Event::UserChanged { profile: administrator() });
    all
}

fn in_a_conversation() -> Vec<Event> {
    vec![
        Event::Created {
            kind: ConversationKind::Channel,
            handle: Some(text("news")),
            name: text("News"),
            topic: text("what happened"),
            public: true,
            history: History::All,
            posting: Posting::Admins,
            direct: None,
        },
        Event::Created {
            kind: ConversationKind::Direct,
            handle: None,
            name: String::new(),
            topic: String::new(),
            public: false,
            history: History::All,
            posting: Posting::Everyone,
            direct: Some((ANNA, BEN)),
        },
        Event::Changed(ConversationChange { topic: Some(text("tea")), ..ConversationChange::default() }),
        Event::Changed(ConversationChange {
            avatar: Some(NewAvatar { file: Some(FileId([0xcd; 32])) }),
            ..ConversationChange::default()
        }),
        Event::Changed(ConversationChange {
            avatar: Some(NewAvatar::default()),
            ..ConversationChange::default()
        }),
        Event::Joined { user: BEN, role: Role::Member, since: Seq(1), how: JoinedBy::Adding },
        Event::Left { user: BEN },
        Event::Removed { user: BEN, banned: true },
        Event::Banned { user: BEN },
        Event::Unbanned { user: BEN },
        Event::RoleChanged { user: BEN, role: Role::Admin },
        Event::CallStarted { media: CallMedia::Audio, via: None },
        Event::CallStarted { media: CallMedia::Video, via: Some(text("tag_json")) },
        Event::CallAnswered { call: MESSAGE, accepted: true },
        Event::CallEnded { call: MESSAGE, reason: CallEnd::Missed },
        Event::Closed {},
        Event::Hidden {},
    ]
}

fn on_a_message() -> Vec<Event> {
    vec![
        Event::Message(body()),
        Event::Message(full_body()),
        Event::Message(with_files()),
        Event::Edited { message: MESSAGE, text: text("hello!") },
        Event::Deleted { message: MESSAGE },
        Event::Reacted { message: MESSAGE, emoji: text("\u{1F44D}") },
        Event::Unreacted { message: MESSAGE, emoji: text("\u{1F44D}") },
        Event::Pinned { message: MESSAGE },
        Event::Unpinned { message: MESSAGE },
    ]
}

fn in_ones_own_log() -> Vec<Event> {
    vec![
        Event::Entered { conversation: Box::new(group()) },
        Event::Entered { conversation: Box::new(direct()) },
        Event::Departed { conversation: GROUP },
        Event::ContactAdded { user: BEN },
        Event::ContactRemoved { user: BEN },
        Event::Blocked { user: BEN },
        Event::Unblocked { user: BEN },
        Event::Muted { conversation: GROUP, until: Some(AT) },
        Event::Muted { conversation: GROUP, until: None },
        Event::SettingsChanged { settings: Settings { theme: text("light"), ..Settings::default() } },
        Event::SessionStarted { session: SessionId(9), device: text("Phone") },
        Event::SessionEnded { session: SessionId(9) },
    ]
}

pub(crate) fn ways_of_joining() -> Vec<JoinedBy> {
    vec![JoinedBy::Creating, JoinedBy::Joining, JoinedBy::Adding, JoinedBy::Invite, JoinedBy::Registering]
}

pub(crate) fn replies() -> Vec<Reply> {
    vec![
        Reply::Done {},
        Reply::Posted(Posted { conversation: GROUP, seq: MESSAGE, at: AT }),
        Reply::Conversation { conversation: GROUP },
        Reply::Invite { invite: InviteId(4), token: Some(text("inv_example")) },
        Reply::Invite { invite: InviteId(4), token: None },
        Reply::AppPassword { app_password: AppPasswordId(2), secret: Some(text("abcd-efgh")) },
        Reply::AppPassword { app_password: AppPasswordId(2), secret: None },
        Reply::Call { conversation: GROUP, call: MESSAGE },
        Reply::ResetLink { token: text("res_example") },
    ]
}

pub(crate) fn answers() -> Vec<Answer> {
    let member =
        MemberView { profile: anna(), role: Role::Admin, joined_at: AT, delivered: MESSAGE, read: Seq(11) };
    let session = SessionView {
        session: SessionId(9),
        device: text("Phone"),
        door: text("native"),
        started_at: AT,
        seen_at: AT,
        online: true,
    };
    let app_password = AppPasswordView {
        app_password: AppPasswordId(2),
        door: text("tcp_json"),
        name: text("old laptop"),
        created_at: AT,
        used_at: Some(AT),
    };
    let unused = AppPasswordView { name: String::new(), used_at: None, ..app_password.clone() };
    let invite =
        InviteInfo { invite: InviteId(4), by: ANNA, role: Role::Member, expires_at: AT, uses_left: 10 };
    let hit = SearchHit { item: item(), context: text("hello"), marks: vec![(0, 5)] };
    vec![
        Answer::Snapshot(Box::new(snapshot())),
        Answer::Users(vec![anna()]),
        Answer::Conversations(vec![group()]),
        Answer::Conversation(Box::new(direct())),
        Answer::User(administrator()),
        Answer::Members(vec![member]),
        Answer::History(HistoryPage {
            items: vec![item(), changed_item(), deleted_item()],
            more_before: true,
            more_after: false,
        }),
        Answer::Items(vec![changed_item()]),
        Answer::MessageInfo(MessageInfo { accepted_at: AT, delivered_to: vec![BEN], read_by: Vec::new() }),
        Answer::Entries { entries: vec![entry()], more: true },
        Answer::Search(SearchPage { hits: vec![hit], next: Some(text("next")) }),
        Answer::Search(SearchPage { hits: Vec::new(), next: None }),
        Answer::Sessions(vec![session]),
        Answer::AppPasswords(vec![app_password, unused]),
        Answer::Invites(vec![invite]),
        Answer::Online(presence_list()),
    ]
}

fn presence_list() -> Vec<PresenceOf> {
    vec![
        PresenceOf { user: ANNA, presence: Presence::Online, seen_at: None },
        PresenceOf { user: BEN, presence: Presence::Offline, seen_at: Some(AT) },
    ]
}

pub(crate) fn presences() -> Vec<Presence> {
    vec![Presence::Online, Presence::Away, Presence::Offline]
}

pub(crate) fn signals() -> Vec<ServerSignal> {
    vec![
        ServerSignal::Typing { conversation: GROUP, user: ANNA },
        ServerSignal::Presence(presence_list()),
        ServerSignal::Cursor(CursorMoved {
            conversation: GROUP,
            user: ANNA,
            delivered: MESSAGE,
            read: Position { seq: Seq(11), messages: 7 },
        }),
    ]
}

pub(crate) fn kinds() -> Vec<Kind> {
    vec![
        Kind::Invalid,
        Kind::NotSignedIn,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::Conflict,
        Kind::TooMany,
        Kind::TooLarge,
        Kind::StorageFull,
        Kind::Unavailable,
    ]
}

pub(crate) fn refusals() -> Vec<Refused> {
    vec![
        Refused::not_found(),
        Refused::not_signed_in(),
        Refused::invalid("name", "name_empty", "a name has at least one character"),
        Refused::forbidden("not_admin", "only admins may do this"),
        Refused::conflict("name_taken", "the name anna is taken"),
        Refused::too_large("text", "a message has at most 16384 bytes"),
        Refused::too_many("slow_down", "too many messages", 1500),
        Refused::new(Kind::StorageFull, "storage_full", "the server's disk is full"),
        Refused::new(Kind::Unavailable, "unavailable", "the server cannot say whether this was stored"),
    ]
}

pub(crate) fn frames() -> Vec<ServerFrame> {
    let mut frames = vec![
        ServerFrame::Welcome(Box::new(Welcome {
            epoch: text("e1"),
            heartbeat_ms: 25_000,
            snapshot: snapshot(),
        })),
        ServerFrame::Resumed(Resumed { session: SessionId(9), heartbeat_ms: 25_000 }),
        ServerFrame::CaughtUp {},
        ServerFrame::Done { id: 1, reply: Reply::Done {} },
        ServerFrame::Answer { id: 2, answer: Answer::Users(Vec::new()) },
        ServerFrame::Refused { id: Some(3), refused: Refused::not_found() },
        ServerFrame::Refused { id: None, refused: Refused::invalid("", "not_a_frame", "expected a frame") },
        ServerFrame::Entry(entry()),
        ServerFrame::Pong {},
        ServerFrame::Closing(Closing { reason: Refused::not_signed_in(), retry_after_ms: None }),
        ServerFrame::Closing(Closing {
            reason: Refused::new(Kind::Unavailable, "shutting_down", "the server is being stopped"),
            retry_after_ms: Some(2000),
        }),
    ];
    frames.extend(signals().into_iter().map(ServerFrame::Signal));
    frames
}

pub(crate) fn signed_in() -> Vec<String> {
    let cookie = SignedIn { user: ANNA, session: SessionId(9), token: None, change_password: false };
    let token = SignedIn { token: Some(text("ses_example")), ..cookie.clone() };
    let imported = SignedIn { change_password: true, ..token.clone() };
    [cookie, token, imported]
        .iter()
        .map(|answer| serde_json::to_string(answer).expect("plain data"))
        .collect()
}

pub(crate) fn server_info() -> String {
    let info = ServerInfo {
        name: text("Home"),
        version: text("0.1.0"),
        protocol: PROTOCOL_VERSION,
        registration: Registration::Open,
        needs_setup: true,
        everyone: true,
        doors: vec![text("tcp_json")],
    };
    serde_json::to_string(&info).expect("plain data")
}
