//! Examples of what clients send.

use chinwag_protocol::{
    Anchor, AppPasswordId, Attach, CallMedia, ClientFrame, ClientSignal, Command, ConversationChange,
    ConversationId, ConversationKind, Device, FileId, Hello, History, InviteId, LogId, Millis, NewAvatar,
    Origin, PROTOCOL_VERSION, Posting, Presence, ProfileChange, Query, Registration, Role, Seq, ServerChange,
    SessionId, Settings, UserId,
};

const GROUP: ConversationId = ConversationId(7);
const ANNA: UserId = UserId(2);
const MESSAGE: Seq = Seq(12);

fn text(text: &str) -> String {
    text.to_owned()
}

pub(crate) fn commands() -> Vec<Command> {
    let mut all = account();
    all.extend(conversations());
    all.extend(messages());
    all.extend(administration());
    all
}

fn account() -> Vec<Command> {
    vec![
        Command::ChangeProfile(ProfileChange::default()),
        Command::ChangeProfile(ProfileChange {
            handle: Some(text("anna")),
            name: Some(text("Anna Ω")),
            about: Some(text("on the train")),
            hue: Some(210),
            avatar: Some(NewAvatar { file: Some(FileId([0xcd; 32])) }),
        }),
        Command::ChangeProfile(ProfileChange {
            avatar: Some(NewAvatar::default()),
            ..ProfileChange::default()
        }),
        Command::ChangeSettings(Settings { theme: text("dark"), ..Settings::default() }),
        Command::ChangeSettings(Settings {
            theme: text("system"),
            invisible: true,
            hide_read: true,
            time_zone: text("Europe/Vienna"),
            notify: text("mentions"),
        }),
        Command::ChangePassword { old: text("old password"), new: text("new password") },
        Command::ConfirmPassword { password: text("password") },
        Command::EndSession { session: SessionId(9) },
        Command::EndOtherSessions {},
        Command::DeleteAccount { password: text("password") },
        Command::CreateAppPassword {
            client_id: text("c-9"),
            door: text("tcp_json"),
            name: text("old laptop"),
        },
        Command::CreateAppPassword { client_id: text("c-9"), door: text("udp_ack"), name: String::new() },
        Command::RevokeAppPassword { app_password: AppPasswordId(2) },
        Command::AddContact { user: ANNA },
        Command::RemoveContact { user: ANNA },
        Command::Block { user: ANNA },
        Command::Unblock { user: ANNA },
    ]
}

fn conversations() -> Vec<Command> {
    vec![
        Command::OpenDirect { user: ANNA },
        Command::CreateConversation {
            client_id: text("c-1"),
            kind: ConversationKind::Group,
            name: text("Lab"),
            handle: None,
            topic: String::new(),
            public: false,
            history: History::All,
            posting: None,
            members: Vec::new(),
        },
        Command::CreateConversation {
            client_id: text("c-2"),
            kind: ConversationKind::Channel,
            name: text("News"),
            handle: Some(text("news")),
            topic: text("what happened"),
            public: true,
            history: History::FromJoining,
            posting: Some(Posting::Admins),
            members: vec![ANNA, UserId(3)],
        },
        Command::ChangeConversation {
            conversation: GROUP,
            change: ConversationChange { topic: Some(text("tea")), ..ConversationChange::default() },
        },
        Command::ChangeConversation {
            conversation: GROUP,
            change: ConversationChange {
                handle: Some(text("lab")),
                name: Some(text("The lab")),
                topic: Some(String::new()),
                avatar: Some(NewAvatar { file: Some(FileId([0xcd; 32])) }),
                public: Some(true),
                history: Some(History::All),
                posting: Some(Posting::Everyone),
            },
        },
        Command::CloseConversation { conversation: GROUP },
        Command::Join { conversation: GROUP },
        Command::Leave { conversation: GROUP },
        Command::AddMember { conversation: GROUP, user: ANNA },
        Command::RemoveMember { conversation: GROUP, user: ANNA, ban: true },
        Command::Unban { conversation: GROUP, user: ANNA },
        Command::SetRole { conversation: GROUP, user: ANNA, role: Role::Admin },
        Command::CreateInvite {
            client_id: text("c-3"),
            conversation: GROUP,
            lifetime_s: None,
            uses: None,
            role: Role::Member,
        },
        Command::CreateInvite {
            client_id: text("c-4"),
            conversation: GROUP,
            lifetime_s: Some(3600),
            uses: Some(1),
            role: Role::Admin,
        },
        Command::RevokeInvite { conversation: GROUP, invite: InviteId(4) },
        Command::UseInvite { token: text("inv_example") },
        Command::Mute { conversation: GROUP, until: Some(Millis(1_800_000_000_000)) },
        Command::Mute { conversation: GROUP, until: None },
    ]
}

fn messages() -> Vec<Command> {
    vec![
        Command::Post {
            conversation: GROUP,
            client_id: text("c-5"),
            text: text("hello"),
            attachments: Vec::new(),
            reply_to: None,
            thread: None,
            sent_at: None,
        },
        Command::Post {
            conversation: GROUP,
            client_id: text("c-6"),
            text: text("two\nlines, \"quotes\", \u{1F44B} and \u{202E}odd\u{202C} ones"),
            attachments: Vec::new(),
            reply_to: Some(MESSAGE),
            thread: Some(Seq(3)),
            sent_at: Some(Millis(1_790_000_000_000)),
        },
        Command::Post {
            conversation: GROUP,
            client_id: text("c-7"),
            text: String::new(),
            attachments: vec![
                Attach { file: FileId([0xab; 32]), name: text("tea.png"), of: None },
                Attach {
                    file: FileId([0xcd; 32]),
                    name: text("notes"),
                    of: Some((ConversationId(8), Seq(3))),
                },
            ],
            reply_to: None,
            thread: None,
            sent_at: None,
        },
        Command::Edit { conversation: GROUP, message: MESSAGE, text: text("hello!") },
        Command::Delete { conversation: GROUP, message: MESSAGE },
        Command::React { conversation: GROUP, message: MESSAGE, emoji: text("\u{1F44D}") },
        Command::Unreact { conversation: GROUP, message: MESSAGE, emoji: text("\u{1F44D}") },
        Command::Pin { conversation: GROUP, message: MESSAGE },
        Command::Unpin { conversation: GROUP, message: MESSAGE },
        Command::StartCall { conversation: GROUP, client_id: text("c-8"), media: CallMedia::Audio },
        Command::AnswerCall { conversation: GROUP, call: MESSAGE, accept: true },
        Command::EndCall { conversation: GROUP, call: MESSAGE },
    ]
}

fn administration() -> Vec<Command> {
    vec![
        Command::Suspend { user: ANNA, suspended: true },
        Command::SetAdmin { user: ANNA, admin: false },
        Command::ResetPassword { user: ANNA },
        Command::EndSessionsOf { user: ANNA },
        Command::ChangeServer(ServerChange::default()),
        Command::ChangeServer(ServerChange {
            name: Some(text("Home")),
            registration: Some(Registration::Invite),
            everyone: Some(false),
        }),
    ]
}

pub(crate) fn queries() -> Vec<Query> {
    vec![
        Query::Snapshot {},
        Query::Users { users: vec![ANNA, UserId(3)] },
        Query::FindUsers { text: text("an"), limit: 20 },
        Query::FindConversations { text: String::new(), limit: 20 },
        Query::Conversation { conversation: GROUP },
        Query::Handle { handle: text("anna") },
        Query::Members { conversation: GROUP, after: UserId(0), limit: 100 },
        Query::Bans { conversation: GROUP },
        Query::History { conversation: GROUP, anchor: Anchor::Latest, limit: 50 },
        Query::History { conversation: GROUP, anchor: Anchor::Before(MESSAGE), limit: 50 },
        Query::Thread { conversation: GROUP, root: Seq(3), after: Seq(0), limit: 50 },
        Query::Pins { conversation: GROUP },
        Query::MessageInfo { conversation: GROUP, message: MESSAGE },
        Query::Entries { log: LogId::Conversation(GROUP), after: MESSAGE, limit: 200 },
        Query::Entries { log: LogId::User(ANNA), after: Seq(0), limit: 200 },
        Query::Entries { log: LogId::Directory, after: Seq(0), limit: 200 },
        Query::Search { text: text("from:anna \"tea time\""), page: None, limit: 20 },
        Query::Search { text: text("茶"), page: Some(text("next")), limit: 20 },
        Query::Sessions {},
        Query::AppPasswords {},
        Query::Invites { conversation: GROUP },
        Query::Invite { token: text("inv_example") },
        Query::Online { conversation: None },
        Query::Online { conversation: Some(GROUP) },
    ]
}

pub(crate) fn anchors() -> Vec<Anchor> {
    vec![
        Anchor::Latest,
        Anchor::Before(MESSAGE),
        Anchor::After(MESSAGE),
        Anchor::Around(MESSAGE),
        Anchor::Date(Millis(1_790_000_000_000)),
    ]
}

pub(crate) fn signals() -> Vec<ClientSignal> {
    vec![
        ClientSignal::Typing { conversation: GROUP },
        ClientSignal::Presence { presence: Presence::Away },
        ClientSignal::Watch { users: vec![ANNA, UserId(3)] },
        ClientSignal::Cursor { conversation: GROUP, delivered: MESSAGE, read: Seq(11) },
    ]
}

pub(crate) fn frames() -> Vec<ClientFrame> {
    let mut frames = vec![
        ClientFrame::Hello(Hello { version: PROTOCOL_VERSION, token: None, resume: None }),
        ClientFrame::Hello(Hello {
            version: PROTOCOL_VERSION,
            token: Some(text("ses_example")),
            resume: Some(Origin {
                epoch: text("e1"),
                positions: vec![
                    (LogId::Directory, Seq(40)),
                    (LogId::User(ANNA), Seq(3)),
                    (LogId::Conversation(GROUP), MESSAGE),
                ],
            }),
        }),
        ClientFrame::Ping {},
    ];
    frames.extend((1..).zip(commands()).map(|(id, command)| ClientFrame::Command { id, command }));
    frames.extend((100..).zip(queries()).map(|(id, get)| ClientFrame::Query { id, get }));
    frames.extend(signals().into_iter().map(ClientFrame::Signal));
    frames
}

pub(crate) fn devices() -> Vec<String> {
    let short = Device {
        handle: text("anna"),
        password: text("password"),
        device: String::new(),
        invite: None,
        cookie: false,
    };
    let full =
        Device { device: text("Phone"), invite: Some(text("inv_example")), cookie: true, ..short.clone() };
    [short, full].iter().map(|device| serde_json::to_string(device).expect("plain data")).collect()
}
