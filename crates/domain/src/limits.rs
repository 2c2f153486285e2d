//! How much is allowed: sizes that never change, and rates that a server's owner may.
//!
//! Sizes are part of the language (a client may rely on them), so they are constants. Rates are settings.

use serde::Deserialize;

/// Bytes of a message's text.
pub const MESSAGE_BYTES_MAX: usize = 16_384;
/// Characters (Unicode scalars) of a message's text.
pub const MESSAGE_CHARACTERS_MAX: usize = 8_000;
/// Times a message may mention somebody.
pub const MENTIONS_MAX: usize = 64;
/// Links in one message.
pub const LINKS_MAX: usize = 20;
/// Combining marks on one base character.
pub const COMBINING_MARKS_MAX: usize = 20;
/// Characters of a handle.
pub const HANDLE_CHARACTERS_MAX: usize = 32;
/// Characters of a display name.
pub const NAME_CHARACTERS_MAX: usize = 64;
/// Characters of a conversation's name, and of the server's.
pub const CONVERSATION_NAME_CHARACTERS_MAX: usize = 80;
/// Characters of a topic.
pub const TOPIC_CHARACTERS_MAX: usize = 500;
/// Characters that somebody may say about himself.
pub const ABOUT_CHARACTERS_MAX: usize = 500;
/// Characters of what a device calls itself; longer ones are cut.
pub const DEVICE_CHARACTERS_MAX: usize = 64;
/// Characters that a password needs.
pub const PASSWORD_CHARACTERS_MIN: usize = 8;
/// Characters that a password may have.
pub const PASSWORD_CHARACTERS_MAX: usize = 256;
/// Characters of a `client_id`.
pub const CLIENT_ID_CHARACTERS_MAX: usize = 64;
/// Kinds of reactions on one message.
pub const REACTIONS_MAX: usize = 50;
/// Kinds of reactions of one user on one message.
pub const REACTIONS_PER_USER_MAX: usize = 20;
/// Pinned messages of one conversation.
pub const PINS_MAX: usize = 100;
/// Files of one message.
pub const ATTACHMENTS_MAX: usize = 20;
/// Bytes of a picture that stands for a user or a conversation.
pub const AVATAR_BYTES_MAX: u64 = 1 << 20;
/// How far a sender's clock may be ahead of ours; what it claims beyond that is not kept.
pub const CLOCK_AHEAD_MAX_MS: i64 = 24 * 3600 * 1000;
/// Bytes of a file's name.
pub const FILE_NAME_BYTES_MAX: usize = 255;
/// How long an upload waits for a message that takes it.
pub const UPLOAD_WAITS_MS: i64 = 3600 * 1000;
/// Uploads of one account at the same time.
pub const UPLOADS_PARALLEL_MAX: u32 = 5;
/// How long a call rings.
pub const CALL_RINGS_MS: i64 = 60 * 1000;
/// How long a call may last that nobody ends.
pub const CALL_LASTS_MS: i64 = 24 * 3600 * 1000;
/// Members of one conversation.
pub const MEMBERS_MAX: u32 = 10_000;
/// Users who can be added when a conversation is made.
pub const MEMBERS_AT_ONCE_MAX: usize = 200;
/// Conversations of which one user is a member.
pub const CONVERSATIONS_MAX: u32 = 1_000;
/// Invitations of one conversation that are open at the same time.
pub const INVITES_MAX: u32 = 50;
/// Times that one invitation can be used.
pub const INVITE_USES_MAX: u32 = 1_000;
/// Times that an invitation can be used if nothing is said.
pub const INVITE_USES_DEFAULT: u32 = 10;
/// How long an invitation is good if nothing is said.
pub const INVITE_LIFETIME_DEFAULT_S: u32 = 7 * 24 * 3600;
/// How long an invitation can be good.
pub const INVITE_LIFETIME_MAX_S: u32 = 90 * 24 * 3600;
/// How long after proving the password delicate things are allowed.
pub const CONFIRMATION_MS: i64 = 10 * 60 * 1000;
/// How long a setup or reset link is good.
pub const ONE_TIME_LIFETIME_MS: i64 = 30 * 60 * 1000;
/// How exactly `seen_at` of a session is kept.
pub const SEEN_EVERY_MS: i64 = 3600 * 1000;
/// Sessions of one user; at the next sign-in the one that was longest unused ends.
pub const SESSIONS_MAX: usize = 50;
/// App passwords of one user.
pub const APP_PASSWORDS_MAX: usize = 50;
/// Characters of the name of a door.
pub const DOOR_CHARACTERS_MAX: usize = 32;
/// A session that was not used for so long has ended.
pub const SESSION_IDLE_MS: i64 = 90 * 24 * 3600 * 1000;
/// A session that began so long ago has ended.
pub const SESSION_LIFETIME_MS: i64 = 365 * 24 * 3600 * 1000;
/// Bytes of a search.
pub const SEARCH_BYTES_MAX: usize = 256;
/// Terms of a search.
pub const SEARCH_TERMS_MAX: usize = 8;
/// Found messages on one page.
pub const SEARCH_PAGE_MAX: usize = 100;
/// Entries of one page of history or of catching up.
pub const PAGE_ENTRIES_MAX: usize = 200;
/// Bytes of such a page, about.
pub const PAGE_BYTES_MAX: usize = 1 << 20;
/// Users of one answer.
pub const USERS_PAGE_MAX: usize = 200;
/// Members of one answer.
pub const MEMBERS_PAGE_MAX: usize = 1_000;
/// Users whose presence one connection hears.
pub const WATCHED_MAX: usize = 500;
/// Members up to which everybody hears everybody's cursors.
pub const CURSOR_MEMBERS_MAX: u32 = 100;
/// Bytes of an HTTP body and depth of its JSON.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a WebSocket message.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// A rate: so many a second on average, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many come back in a second.
    pub per_s: f64,
    /// How many may come at once.
    pub burst: u32,
}

impl Rate {
    /// So many a second, so many at once.
    pub const fn new(per_s: f64, burst: u32) -> Self {
        Self { per_s, burst }
    }

    /// So many in a day, all at once if need be.
    pub const fn per_day(count: u32) -> Self {
        Self { per_s: count as f64 / 86_400.0, burst: count }
    }

    /// So many in a minute, all at once if need be.
    pub const fn per_minute(count: u32) -> Self {
        Self { per_s: count as f64 / 60.0, burst: count }
    }

    /// More than anybody sends.
    pub const fn unlimited() -> Self {
        Self { per_s: 1e9, burst: u32::MAX }
    }
}

/// The rates and counts of the section `[limits]` in the configuration.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Messages of one account. Streams pause reading; HTTP refuses.
    pub messages_per_account: Rate,
    /// Messages in one conversation, of all its members.
    pub messages_per_conversation: Rate,
    /// Commands other than messages, of one account.
    pub commands_per_account: Rate,
    /// Frames of one WebSocket connection.
    pub frames_per_connection: Rate,
    /// Pings of one WebSocket connection.
    pub pings_per_connection: Rate,
    /// Resumed connections of one session.
    pub resumes_per_session: Rate,
    /// Searches of one account.
    pub searches_per_account: Rate,
    /// Other queries of one account.
    pub queries_per_account: Rate,
    /// Sign-in attempts from one address. From loopback only failures count.
    pub sign_ins_per_address: Rate,
    /// Sign-in attempts from one network (256 addresses of IPv4, a site of IPv6). Loopback is exempt.
    pub sign_ins_per_network: Rate,
    /// Wrong passwords of one account before it has to wait.
    pub sign_in_failures_free: u32,
    /// Wrong passwords in a row after which only a reset link, or the right one in a live session, helps.
    pub sign_in_failures_max: u32,
    /// Longest wait between wrong passwords.
    pub sign_in_wait_max_s: u32,
    /// Registrations from one address. Loopback is exempt.
    pub registrations_per_address: Rate,
    /// Guests who come from one address, newcomers or not. Loopback is exempt.
    pub guests_per_address: Rate,
    /// Failed requests (401, 403, 404, 429) from one address. Loopback is exempt.
    pub failures_per_address: Rate,
    /// Invitations that one account makes.
    pub invites_per_account: Rate,
    /// Direct conversations that one account opens with people it shares no conversation with.
    pub strangers_per_account: Rate,
    /// Files that one account uploads.
    pub uploads_per_account: Rate,
    /// Bytes of one uploaded file.
    pub upload_bytes: u64,
    /// Bytes of all files that one account holds.
    pub file_bytes_per_account: u64,
    /// Calls that one account starts.
    pub calls_per_account: Rate,
    /// Connections of one session at the same time.
    pub connections_per_session: u32,
    /// Connections of one user at the same time.
    pub connections_per_user: u32,
    /// Connections from one public address at the same time.
    pub connections_per_address: u32,
    /// Connections from one private address at the same time. Loopback is exempt.
    pub connections_per_private_address: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages_per_account: Rate::new(10.0, 100),
            messages_per_conversation: Rate::new(50.0, 500),
            commands_per_account: Rate::new(10.0, 100),
            frames_per_connection: Rate::new(50.0, 200),
            pings_per_connection: Rate::new(1.0, 10),
            resumes_per_session: Rate::new(1.0, 5),
            searches_per_account: Rate::new(1.0, 5),
            queries_per_account: Rate::new(20.0, 100),
            sign_ins_per_address: Rate::per_minute(20),
            sign_ins_per_network: Rate::per_minute(100),
            sign_in_failures_free: 5,
            sign_in_failures_max: 100,
            sign_in_wait_max_s: 60,
            registrations_per_address: Rate::per_day(5),
            guests_per_address: Rate::per_minute(5),
            failures_per_address: Rate::new(10_000.0 / 600.0, 10_000),
            invites_per_account: Rate::per_day(20),
            strangers_per_account: Rate::per_day(10),
            // Ten a minute for long; a folder of pictures may come at once.
            uploads_per_account: Rate::new(10.0 / 60.0, 50),
            upload_bytes: 100 << 20,
            file_bytes_per_account: 1 << 30,
            calls_per_account: Rate::per_minute(6),
            connections_per_session: 10,
            connections_per_user: 20,
            connections_per_address: 100,
            connections_per_private_address: 1_000,
        }
    }
}

impl Limits {
    /// No rate at all: for load tests on one's own machine. Sizes stay, they are part of the language.
    pub fn lifted() -> Self {
        Self {
            messages_per_account: Rate::unlimited(),
            messages_per_conversation: Rate::unlimited(),
            commands_per_account: Rate::unlimited(),
            frames_per_connection: Rate::unlimited(),
            pings_per_connection: Rate::unlimited(),
            resumes_per_session: Rate::unlimited(),
            searches_per_account: Rate::unlimited(),
            queries_per_account: Rate::unlimited(),
            sign_ins_per_address: Rate::unlimited(),
            sign_ins_per_network: Rate::unlimited(),
            sign_in_failures_free: u32::MAX,
            sign_in_failures_max: u32::MAX,
            sign_in_wait_max_s: 0,
            registrations_per_address: Rate::unlimited(),
            guests_per_address: Rate::unlimited(),
            failures_per_address: Rate::unlimited(),
            invites_per_account: Rate::unlimited(),
            strangers_per_account: Rate::unlimited(),
            uploads_per_account: Rate::unlimited(),
            calls_per_account: Rate::unlimited(),
            connections_per_session: u32::MAX,
            connections_per_user: u32::MAX,
            connections_per_address: u32::MAX,
            connections_per_private_address: u32::MAX,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_settings_keep_their_defaults_and_unknown_ones_are_refused() {
        let some: Limits = serde_json::from_str(r#"{"connections_per_user": 3}"#).unwrap();
        assert_eq!(some, Limits { connections_per_user: 3, ..Limits::default() });
        assert!(serde_json::from_str::<Limits>(r#"{"connections_per_moon": 3}"#).is_err());
        assert!(
            serde_json::from_str::<Limits>(r#"{"searches_per_account": {"per_s": 1, "brust": 2}}"#).is_err()
        );
    }

    #[test]
    fn a_day_of_registrations_may_come_at_once() {
        let rate = Limits::default().registrations_per_address;
        assert_eq!(rate.burst, 5);
        assert!((rate.per_s * 86_400.0 - 5.0).abs() < 1e-9);
    }
}
