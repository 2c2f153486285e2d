//! Who may do what: one total, pure function over one table.
//!
//! `policy.table` is the whole of it, with its notes; here are only its words and what the notes ask. Rules call
//! [`permit`] inside the transaction that has the effect. What a role *is* (who is a member of what) is found out
//! in [`crate::rules`]; whether the thing acted on exists is asked only after the right to act.

use chinwag_protocol::Refused;

/// In what standing somebody asks: the columns of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// Nobody is signed in.
    Anonymous,
    /// The account was suspended.
    Suspended,
    /// A person of this server who is not a member.
    Stranger,
    /// Sees only conversations it was invited to, member or not.
    Guest,
    /// Was a member.
    Former,
    /// May not come back.
    Banned,
    /// Is a member.
    Member,
    /// Is an admin of the conversation.
    Admin,
    /// Owns it.
    Owner,
    /// A server administrator who is not a member.
    Operator,
    /// A person who came through a plain-text door, member where he acts.
    Door,
}

impl Who {
    /// All columns, in the order of the table.
    pub const ALL: [Self; 11] = [
        Self::Anonymous,
        Self::Suspended,
        Self::Stranger,
        Self::Guest,
        Self::Former,
        Self::Banned,
        Self::Member,
        Self::Admin,
        Self::Owner,
        Self::Operator,
        Self::Door,
    ];
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What somebody wants to do: the rows of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* $name,)*
        }

        impl Action {
            /// All rows, in the order of the table.
            pub const ALL: [Self; ROWS] = [$(Self::$name),*];

            /// Its word in the table.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

const ROWS: usize = 35;
const COLUMNS: usize = Who::ALL.len();

actions! {
    /// Know that a private conversation exists.
    KnowPrivate = "know_private",
    /// Know a public conversation, and join it.
    KnowPublic = "know_public",
    /// Read and search the history of a public one, open its files.
    ReadPublic = "read_public",
    /// The same in a private one.
    ReadPrivate = "read_private",
    /// Hear its events, typing, presence and cursors.
    Hear = "hear",
    /// Post where everybody may.
    Post = "post",
    /// Post where admins may.
    PostAsAdmin = "post_as_admin",
    /// Open a direct conversation.
    StartDirect = "start_direct",
    /// Edit one's own message.
    EditOwn = "edit_own",
    /// Edit somebody else's.
    EditOther = "edit_other",
    /// Delete one's own message for everybody.
    DeleteOwn = "delete_own",
    /// Delete somebody else's.
    DeleteOther = "delete_other",
    /// React, move one's cursor.
    React = "react",
    /// Pin and unpin.
    Pin = "pin",
    /// Attach a file.
    Attach = "attach",
    /// Attach a file that somebody else uploaded.
    AttachForeign = "attach_foreign",
    /// See who is a member.
    SeeMembers = "see_members",
    /// Add a member, make or revoke an invitation.
    AddMember = "add_member",
    /// Use an invitation.
    UseInvite = "use_invite",
    /// Remove, ban, unban.
    RemoveMember = "remove_member",
    /// Promote and demote.
    SetRole = "set_role",
    /// Transfer the ownership, delete the conversation.
    Dispose = "dispose",
    /// Change name, topic and settings.
    Change = "change",
    /// Leave.
    Leave = "leave",
    /// Take part in a call.
    Call = "call",
    /// Remove somebody from a call, mute him.
    ModerateCall = "moderate_call",
    /// Export the conversation.
    Export = "export",
    /// Read one's own account and sessions, end them, change one's settings.
    OwnAccount = "own_account",
    /// Change one's profile and contacts, block.
    OwnProfile = "own_profile",
    /// Change one's password.
    OwnSecrets = "own_secrets",
    /// Make an account.
    CreateAccount = "create_account",
    /// List users.
    ListUsers = "list_users",
    /// Suspend, reset, end sessions, make administrators.
    ManageUsers = "manage_users",
    /// Change the server's settings.
    ManageServer = "manage_server",
    /// Go on with what one held before one was removed.
    ActAfterRemoval = "act_after_removal",
}

/// What the notes of the table ask about the case at hand. By default nothing speaks for the asker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grounds {
    /// The conversation is public, so that its existence is no secret.
    pub public: bool,
    /// The conversation may be read without joining.
    pub readable: bool,
    /// The conversation is a direct one.
    pub direct: bool,
    /// The asker is an active member (of a guest: he was invited here).
    pub member: bool,
    /// The account is an admin or the owner there, whatever it came through.
    pub admin_there: bool,
    /// The other user has blocked the asker.
    pub blocked: bool,
    /// The asker shares a conversation with the other user, or holds an invitation.
    pub shares: bool,
    /// The asker's role is above the other's, and above the role he gives.
    pub outranks: bool,
    /// The asker is the only member.
    pub alone: bool,
    /// What is to be removed was reported.
    pub reported: bool,
    /// The asker may see the file.
    pub sees_file: bool,
    /// The password was proved in the last ten minutes.
    pub fresh: bool,
    /// Registration is open, or there is an invitation.
    pub may_register: bool,
    /// What the asker would be in another client, if he asks through a door.
    pub elsewhere: Option<Who>,
}

/// What the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allow,
    /// No, and the asker may know that.
    Deny,
    /// No, and the asker may not know that there is anything.
    Hide,
}

/// Whether somebody in this standing may do this.
pub fn permit(who: Who, action: Action, grounds: &Grounds) -> Verdict {
    let cell = TABLE[action as usize][who as usize];
    match cell.letter {
        b'Y' => match cell.note {
            7 => either(!grounds.blocked, Verdict::Hide),
            13 => either(grounds.outranks, Verdict::Deny),
            16 => either(grounds.fresh, Verdict::Deny),
            // The other notes on a Y explain it.
            _ => Verdict::Allow,
        },
        b'N' if who == Who::Guest && !grounds.member && is_inside(action) => Verdict::Hide,
        b'N' => Verdict::Deny,
        b'n' if grounds.public => Verdict::Deny,
        b'c' => conditional(cell.note, action, grounds),
        _ => Verdict::Hide,
    }
}

/// The cells that depend on their note alone.
fn conditional(note: u8, action: Action, grounds: &Grounds) -> Verdict {
    match note {
        // The page for operating the server asks its own question; a command never comes here.
        2 => Verdict::Hide,
        3 => either(grounds.readable, Verdict::Hide),
        5 => either(grounds.member, Verdict::Hide),
        6 => either(grounds.admin_there, Verdict::Deny),
        8 => either(grounds.shares && !grounds.blocked, Verdict::Hide),
        // Whoever may not read a message may not find it in order to delete it, unless somebody reported it.
        9 => either(action != Action::DeleteOther || grounds.reported, Verdict::Deny),
        10 => either(grounds.sees_file, Verdict::Hide),
        13 => either(grounds.outranks, Verdict::Deny),
        14 => either(grounds.alone, Verdict::Deny),
        15 => Verdict::Deny,
        17 => either(grounds.may_register, Verdict::Deny),
        18 => either(grounds.direct, Verdict::Deny),
        20 | 21 => Verdict::Allow,
        22 => grounds.elsewhere.map_or(Verdict::Deny, |who| permit(who, action, grounds)),
        // 11, 19: settings that no conversation has yet.
        _ => Verdict::Deny,
    }
}

/// Guests know only of conversations they are in: to them a "no" inside of one is a "not there" from outside.
fn is_inside(action: Action) -> bool {
    !matches!(action, Action::ListUsers | Action::ManageUsers | Action::ManageServer)
}

fn either(holds: bool, otherwise: Verdict) -> Verdict {
    if holds { Verdict::Allow } else { otherwise }
}

/// The refusal that a verdict means.
pub fn allow(verdict: Verdict) -> Result<(), Refused> {
    match verdict {
        Verdict::Allow => Ok(()),
        Verdict::Deny => Err(Refused::forbidden("forbidden", "you may not do this")),
        Verdict::Hide => Err(Refused::not_found()),
    }
}

#[derive(Clone, Copy)]
struct Cell {
    letter: u8,
    note: u8,
}

/// Read when this is compiled: a table that does not fit the enums does not build.
static TABLE: [[Cell; COLUMNS]; ROWS] = parse(include_str!("policy.table").as_bytes());

const fn parse(text: &[u8]) -> [[Cell; COLUMNS]; ROWS] {
    let mut table = [[Cell { letter: b'H', note: 0 }; COLUMNS]; ROWS];
    let mut at = 0;
    let mut row = 0;
    // The line that names the columns comes first.
    let mut named = false;
    while at < text.len() {
        if text[at] == b'#' || text[at] == b'\n' {
            at = next_line(text, at);
            continue;
        }
        if !named {
            named = true;
            at = next_line(text, at);
            continue;
        }
        assert!(row < ROWS, "the policy table has more rows than there are actions");
        at = expect_word(text, at, Action::ALL[row].word().as_bytes());
        let mut column = 0;
        while column < COLUMNS {
            at = skip_blanks(text, at);
            let letter = text[at];
            assert!(
                matches!(letter, b'Y' | b'N' | b'H' | b'n' | b'c' | b'-'),
                "an unknown cell in the policy table"
            );
            at += 1;
            let mut note = 0;
            while at < text.len() && text[at].is_ascii_digit() {
                note = note * 10 + (text[at] - b'0');
                at += 1;
            }
            assert!(
                note <= 22 && (letter != b'c' || note > 0),
                "a condition in the policy table needs its note"
            );
            table[row][column] = Cell { letter, note };
            column += 1;
        }
        assert!(at == text.len() || text[at] == b'\n', "a row of the policy table has too many cells");
        row += 1;
    }
    assert!(row == ROWS, "the policy table has fewer rows than there are actions");
    table
}

const fn next_line(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && text[at] != b'\n' {
        at += 1;
    }
    at + 1
}

const fn skip_blanks(text: &[u8], mut at: usize) -> usize {
    while text[at] == b' ' {
        at += 1;
    }
    at
}

const fn expect_word(text: &[u8], mut at: usize, word: &[u8]) -> usize {
    let mut i = 0;
    while i < word.len() {
        assert!(text[at] == word[i], "the rows of the policy table are in another order than the actions");
        at += 1;
        i += 1;
    }
    assert!(text[at] == b' ', "the rows of the policy table are in another order than the actions");
    at
}

#[cfg(test)]
mod cells;
#[cfg(test)]
mod commands;
