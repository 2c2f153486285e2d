//! The names of all variants of the enums on the wire, matched without a wildcard.

use chinwag_protocol::{
    Anchor, Answer, CallEnd, CallMedia, ClientFrame, ClientSignal, Command, ConversationKind, Event, History,
    JoinedBy, Kind, Posting, Presence, Query, Registration, Reply, Role, ServerFrame, ServerSignal, UserKind,
};

/// An enum whose variants are all known here.
pub(crate) trait Variants {
    /// Every name, in the order of the source.
    const ALL: &'static [&'static str];
    /// The name of this one.
    fn variant(&self) -> &'static str;
}

macro_rules! variants {
    ($($type:ident: $($name:ident)*;)*) => {$(
        impl Variants for $type {
            const ALL: &'static [&'static str] = &[$(stringify!($name)),*];
            fn variant(&self) -> &'static str {
                match self {
                    $($type::$name { .. } => stringify!($name),)*
                }
            }
        }
    )*};
}

variants! {
    Command: ChangeProfile ChangeSettings ChangePassword ConfirmPassword EndSession EndOtherSessions DeleteAccount
        CreateAppPassword RevokeAppPassword AddContact RemoveContact Block Unblock OpenDirect CreateConversation ChangeConversation CloseConversation Join
        Leave AddMember RemoveMember Unban SetRole CreateInvite RevokeInvite UseInvite Mute Post Edit Delete React
        Unreact Pin Unpin StartCall AnswerCall EndCall Suspend SetAdmin ResetPassword EndSessionsOf ChangeServer;
    Query: Snapshot Users FindUsers FindConversations Conversation Handle Members Bans History Thread Pins MessageInfo
        Entries Search Sessions AppPasswords Invites Invite Online;
    Anchor: Latest Before After Around Date;
    Answer: Snapshot Users Conversations Conversation User Members History Items MessageInfo Entries Search Sessions
        AppPasswords Invites Online;
    Reply: Done Posted Conversation Invite Call AppPassword ResetLink;
    CallMedia: Audio Video;
    CallEnd: Ended Declined Missed Failed;
    Event: Created Changed Joined Left Removed Banned Unbanned RoleChanged Message Edited Deleted Reacted Unreacted Pinned
        Unpinned CallStarted CallAnswered CallEnded Closed Hidden Entered Departed ContactAdded ContactRemoved Blocked Unblocked Muted SettingsChanged
        SessionStarted SessionEnded UserChanged;
    JoinedBy: Creating Joining Adding Invite Registering;
    ClientSignal: Typing Presence Watch Cursor;
    ServerSignal: Typing Presence Cursor;
    Presence: Online Away Offline;
    ClientFrame: Hello Command Query Signal Ping;
    ServerFrame: Welcome Resumed CaughtUp Done Answer Refused Entry Signal Pong Closing;
    Kind: Invalid NotSignedIn Forbidden NotFound Conflict TooMany TooLarge StorageFull Unavailable;
    UserKind: Person Guest Bot;
    ConversationKind: Direct Group Channel;
    History: All FromJoining;
    Posting: Everyone Admins;
    Role: Member Admin Owner;
    Registration: Open Invite Closed;
}

/// The enums that are single words on the wire.
pub(crate) fn words() -> Vec<String> {
    fn line<T: Variants + serde::Serialize>(name: &str, all: &[T]) -> String {
        let seen: Vec<_> = all.iter().map(Variants::variant).collect();
        assert_eq!(seen, T::ALL, "all words of {name}");
        format!("{name}: {}", serde_json::to_string(all).expect("plain data"))
    }
    vec![
        line("UserKind", &[UserKind::Person, UserKind::Guest, UserKind::Bot]),
        line(
            "ConversationKind",
            &[ConversationKind::Direct, ConversationKind::Group, ConversationKind::Channel],
        ),
        line("CallMedia", &[CallMedia::Audio, CallMedia::Video]),
        line("CallEnd", &[CallEnd::Ended, CallEnd::Declined, CallEnd::Missed, CallEnd::Failed]),
        line("History", &[History::All, History::FromJoining]),
        line("Posting", &[Posting::Everyone, Posting::Admins]),
        line("Role", &[Role::Member, Role::Admin, Role::Owner]),
        line("Registration", &[Registration::Open, Registration::Invite, Registration::Closed]),
    ]
}
