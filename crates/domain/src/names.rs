//! What things and people may be called, and when two names are the same.
//!
//! A *handle* is the unique name of a user or of a public conversation: letters of any script, digits, `.` `_`
//! `-`. Two handles are the same if [`fold`] says so, and too similar if [`skeleton`] does. A *display name* is
//! any short text on one line. Whether a handle is still free is asked in [`crate::rules`], not here.

use chinwag_protocol::Refused;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
use unicode_security::{MixedScript, mixed_script::AugmentedScriptSet};

use crate::limits::{
    ABOUT_CHARACTERS_MAX, COMBINING_MARKS_MAX, CONVERSATION_NAME_CHARACTERS_MAX, FILE_NAME_BYTES_MAX,
    HANDLE_CHARACTERS_MAX, NAME_CHARACTERS_MAX, PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN,
    TOPIC_CHARACTERS_MAX,
};

/// Names nobody may take: they mean something in a message, in a path, or pretend to speak for the server.
const RESERVED: [&str; 27] = [
    "everyone",
    "here",
    "all",
    "channel",
    "admin",
    "administrator",
    "admins",
    "root",
    "system",
    "server",
    "support",
    "help",
    "security",
    "abuse",
    "postmaster",
    "webmaster",
    "moderator",
    "chinwag",
    "bot",
    "me",
    "null",
    "undefined",
    "nobody",
    "anonymous",
    "deleted",
    "api",
    "health",
];

/// What the handles of deleted accounts begin with; nobody else's may.
pub const DELETED_PREFIX: &str = "deleted-";

/// Marks on one letter of a handle; written languages need three.
const HANDLE_MARKS_MAX: usize = 4;

/// Whether this may be chosen as a handle; whether it is free is another question.
pub fn check(handle: &str) -> Result<(), Refused> {
    check_form(handle)?;
    // What is compared is the folded name, and it can mix scripts where the typed one does not: a micro sign folds to
    // a Greek letter.
    let key = fold(handle);
    if key.chars().count() <= HANDLE_CHARACTERS_MAX {
        check_form(&key)?;
    }
    if is_reserved(handle) {
        return Err(Refused::invalid("handle", "name_reserved", format!("the name {handle} is reserved")));
    }
    Ok(())
}

/// Whether this has the form of a handle, reserved or not.
pub fn check_form(handle: &str) -> Result<(), Refused> {
    let wrong = |code: &str, why: String| Err(Refused::invalid("handle", code, why));
    let length = handle.chars().count();
    if length == 0 {
        return wrong("name_empty", "a name needs at least one character".into());
    }
    if length > HANDLE_CHARACTERS_MAX {
        return wrong(
            "name_too_long",
            format!("a name has at most {HANDLE_CHARACTERS_MAX} characters, this has {length}"),
        );
    }
    let mut marks = 0;
    let mut after_letter = false;
    for c in handle.chars() {
        if is_combining_mark(c) && !is_invisible(c) {
            marks += 1;
            if !after_letter || marks > HANDLE_MARKS_MAX {
                return wrong("name_malformed", "a mark in a name must stand on a letter".into());
            }
        } else if is_plain(c) {
            after_letter = c.is_alphabetic();
            marks = 0;
        } else {
            return wrong("name_malformed", format!("a name may not contain {}", shown(c)));
        }
    }
    if !handle.chars().any(char::is_alphanumeric) {
        return wrong("name_malformed", "a name needs a letter or a digit".into());
    }
    // What it becomes must be a name too: some letters hide a space or a slash inside them.
    if handle.nfkc().any(|c| !is_plain(c) && !is_combining_mark(c)) {
        return wrong("name_malformed", "a name may hold only letters, digits, . _ -".into());
    }
    if !is_of_one_script(handle) {
        return wrong("name_mixed_scripts", "a name may not mix letters of different scripts".into());
    }
    Ok(())
}

/// Whether a character can stand in a handle, marks included: where a mention in a text goes on.
pub fn is_name_character(c: char) -> bool {
    is_plain(c) || is_combining_mark(c) && !is_invisible(c)
}

fn is_plain(c: char) -> bool {
    matches!(c, '.' | '_' | '-') || c.is_alphanumeric() && !is_invisible(c)
}

/// Letters and marks by Unicode's book that nobody can see: two names could look the same.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'
            ..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// One script, or Latin with Chinese, Japanese or Korean as these are written (UTS 39, highly restrictive).
fn is_of_one_script(handle: &str) -> bool {
    if handle.is_single_script() {
        return true;
    }
    let latin = AugmentedScriptSet::from('a');
    let mut beside_latin = AugmentedScriptSet::default();
    for scripts in handle.chars().map(AugmentedScriptSet::from).filter(|scripts| *scripts != latin) {
        beside_latin.intersect_with(scripts);
    }
    beside_latin.kore || beside_latin.hanb || beside_latin.jpan
}

fn shown(c: char) -> String {
    match c {
        c if c.is_whitespace() && !c.is_control() => "white space".into(),
        c if c.is_control() || is_invisible(c) => format!("the character U+{:04X}", u32::from(c)),
        c => format!("the character {c}"),
    }
}

/// Whether the name is kept for the server itself.
pub fn is_reserved(handle: &str) -> bool {
    let key = skeleton(handle);
    key.starts_with(DELETED_PREFIX) || RESERVED.iter().any(|reserved| skeleton(reserved) == key)
}

/// The key under which a handle is unique: normalised and without case.
pub fn fold(handle: &str) -> String {
    let once = |text: &str| -> String {
        text.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfkc().collect()
    };
    // A second time, because normalising can bring capitals out of letters that looked like none.
    once(&once(handle))
}

/// What a handle looks like (UTS 39): two names with one skeleton are easily taken for each other.
pub fn skeleton(handle: &str) -> String {
    let folded = fold(handle);
    // The prototypes of some small characters are capitals: `0` looks like `O`, so it must look like `o` too.
    unicode_security::skeleton(&folded).flat_map(char::to_lowercase).collect()
}

/// A handle made from a display name: white space becomes `-`, what may not be in a handle goes. `None`: nothing
/// was left that could be one.
pub fn derive(name: &str) -> Option<String> {
    let mut handle = String::new();
    for c in name.trim().chars() {
        if c.is_whitespace() {
            if !handle.ends_with('-') {
                handle.push('-');
            }
        } else if is_plain(c) || is_combining_mark(c) && handle.ends_with(char::is_alphabetic) {
            handle.push(c);
        }
    }
    let cut: String = handle.trim_matches('-').chars().take(HANDLE_CHARACTERS_MAX).collect();
    let cut = cut.trim_end_matches('-');
    check(cut).is_ok().then(|| cut.to_owned())
}

/// The display name of a user, without white space around it. Empty: none was chosen.
pub fn display_name(name: &str) -> Result<&str, Refused> {
    line("name", name, NAME_CHARACTERS_MAX)
}

/// The name of a conversation or of the server, without white space around it; never empty.
pub fn conversation_name(name: &str) -> Result<&str, Refused> {
    match line("name", name, CONVERSATION_NAME_CHARACTERS_MAX)? {
        "" => Err(Refused::invalid("name", "name_empty", "a conversation needs a name")),
        name => Ok(name),
    }
}

/// A conversation's topic, without white space around it; may be empty.
pub fn topic(topic: &str) -> Result<&str, Refused> {
    line("topic", topic, TOPIC_CHARACTERS_MAX)
}

/// What somebody says about himself, without white space around it; may be empty.
pub fn about(about: &str) -> Result<&str, Refused> {
    line("about", about, ABOUT_CHARACTERS_MAX)
}

/// What a file is called, without folders and what a file system or a reader could take for something else.
pub fn file(name: &str) -> Result<String, Refused> {
    if name.len() > FILE_NAME_BYTES_MAX {
        return Err(Refused::too_large(
            "name",
            format!("a file's name has at most {FILE_NAME_BYTES_MAX} bytes"),
        ));
    }
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let harmless: String = last.chars().filter(|c| !c.is_control() && !is_invisible(*c)).collect();
    // A name that begins with a dot is hidden when it is saved.
    let harmless = harmless.trim().trim_start_matches('.').trim_end_matches(['.', ' ']);
    Ok(if harmless.is_empty() { "file".to_owned() } else { harmless.to_owned() })
}

/// What a device calls itself, made harmless instead of refused: nobody should fail to sign in over it.
pub fn device(device: &str) -> String {
    let harmless = device.chars().filter(|c| !c.is_control() && !is_invisible(*c));
    harmless.take(crate::limits::DEVICE_CHARACTERS_MAX).collect::<String>().trim().to_owned()
}

/// The commonest passwords that are long enough, in small letters.
static COMMON_PASSWORDS: &str = include_str!("common_passwords.txt");

/// Whether this may be chosen as a password by somebody with this handle.
pub fn new_password(password: &str, handle: &str) -> Result<(), Refused> {
    self::password(password)?;
    if fold(password) == fold(handle) {
        return Err(common_password());
    }
    Ok(())
}

/// Among the first that somebody who guesses would try: on the list, one or two characters again and again, or a
/// run as `abcdefgh`.
fn is_common(password: &str) -> bool {
    let small = password.to_lowercase();
    let characters: Vec<u32> = small.chars().map(u32::from).collect();
    let mut kinds = characters.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let runs = |step: i64| characters.windows(2).all(|two| i64::from(two[1]) - i64::from(two[0]) == step);
    kinds.len() <= 2 || runs(1) || runs(-1) || COMMON_PASSWORDS.lines().any(|common| common == small)
}

fn common_password() -> Refused {
    let why = "this password is one of the first that anybody would guess: choose another";
    Refused::invalid("password", "password_common", why)
}

/// Whether this may be chosen as a password.
pub fn password(password: &str) -> Result<(), Refused> {
    let length = password.chars().count();
    if length < PASSWORD_CHARACTERS_MIN {
        let why = format!("a password has at least {PASSWORD_CHARACTERS_MIN} characters, this has {length}");
        return Err(Refused::invalid("password", "password_too_short", why));
    }
    if length > PASSWORD_CHARACTERS_MAX {
        let why = format!("a password has at most {PASSWORD_CHARACTERS_MAX} characters, this has {length}");
        return Err(Refused::invalid("password", "password_too_long", why));
    }
    if is_common(password) {
        return Err(common_password());
    }
    Ok(())
}

/// One line of text without anything that would change how the text around it looks.
fn line<'t>(field: &str, text: &'t str, characters_max: usize) -> Result<&'t str, Refused> {
    let text = text.trim();
    let length = text.chars().count();
    if length > characters_max {
        let why = format!("{field} has at most {characters_max} characters, this has {length}");
        return Err(Refused::invalid(field, "text_too_long", why));
    }
    if let Some(c) = text.chars().find(|c| c.is_control() || is_disturbing(*c)) {
        return Err(Refused::invalid(
            field,
            "text_malformed",
            format!("{field} may not contain {}", shown(c)),
        ));
    }
    if !text.is_empty() && text.chars().all(|c| is_invisible(c) || c.is_whitespace() || is_combining_mark(c))
    {
        return Err(Refused::invalid(field, "text_malformed", format!("{field} has nothing to see in it")));
    }
    let mut marks = 0;
    for c in text.chars() {
        marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        if marks > COMBINING_MARKS_MAX {
            return Err(Refused::invalid(
                field,
                "text_malformed",
                format!("{field} has too many marks on one letter"),
            ));
        }
    }
    Ok(text)
}

/// Direction overrides and line separators: they reach beyond the name into the text around it.
fn is_disturbing(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<(), Refused>) -> String {
        result.map_or_else(|refused| refused.code, |()| "ok".into())
    }

    #[test]
    fn says_which_names_are_handles() {
        let long = "a".repeat(32);
        for (handle, expected) in [
            ("a", "ok"),
            ("Anna.Maria_2-b", "ok"),
            ("7", "ok"),
            (long.as_str(), "ok"),
            ("łukasz", "ok"),
            ("Ольга", "ok"),
            ("Ελένη", "ok"),
            ("王小明", "ok"),
            ("ユーザー1", "ok"),
            ("アキラと桜", "ok"),
            ("김철수", "ok"),
            ("abc王", "ok"),
            ("मीरा", "ok"),
            ("فاطمة", "ok"),
            ("ไพศาล", "ok"),
            ("e\u{301}va", "ok"),
            ("", "name_empty"),
            (&"a".repeat(33), "name_too_long"),
            ("a b", "name_malformed"),
            ("a\u{a0}b", "name_malformed"),
            ("a&b", "name_malformed"),
            ("a|b", "name_malformed"),
            ("#a", "name_malformed"),
            ("@a", "name_malformed"),
            ("<a>", "name_malformed"),
            ("a/b", "name_malformed"),
            ("a:b", "name_malformed"),
            ("a\u{0}", "name_malformed"),
            ("a\u{202e}b", "name_malformed"),
            ("a\u{200b}b", "name_malformed"),
            ("\u{3164}", "name_malformed"),
            ("\u{301}a", "name_malformed"),
            ("1\u{301}", "name_malformed"),
            ("a\u{301}\u{301}\u{301}\u{301}\u{301}", "name_malformed"),
            ("...", "name_malformed"),
            ("😀", "name_malformed"),
            ("½", "name_malformed"),
            ("\u{fdfa}", "name_malformed"),
            ("аnna", "name_mixed_scripts"),
            ("αnna", "name_mixed_scripts"),
            ("Everyone", "name_reserved"),
            ("ADMIN", "name_reserved"),
            ("r00t", "name_reserved"),
            ("Deleted-7", "name_reserved"),
        ] {
            assert_eq!(code(check(handle)), expected, "{handle:?}");
        }
        assert_eq!(code(check_form("Everyone")), "ok");
    }

    #[test]
    fn the_same_name_has_one_key() {
        for (a, b) in [
            ("Anna", "aNNA"),
            ("é", "e\u{301}"),
            ("straße", "STRASSE"),
            ("ΟΔΟΣ", "οδος"),
            ("Ａnna", "anna"),
            ("ﬁn", "FIN"),
        ] {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("anna"), fold("ana"));
        assert_ne!(fold("é"), fold("e"));
    }

    #[test]
    fn look_alikes_have_one_skeleton() {
        for (a, b) in
            [("anna", "аnnа"), ("bob", "b0b"), ("paul", "pau1"), ("modern", "modem"), ("BOB", "bob")]
        {
            assert_eq!(skeleton(a), skeleton(b), "{a} {b}");
        }
        for (a, b) in [("anna", "hanna"), ("user1", "user2"), ("é", "e"), ("a-b", "ab")] {
            assert_ne!(skeleton(a), skeleton(b), "{a} {b}");
        }
    }

    #[test]
    fn derives_a_handle_from_a_name() {
        for (name, expected) in [
            ("Book Club", Some("Book-Club")),
            ("  Rust &  Friends! ", Some("Rust-Friends")),
            ("Größe/2", Some("Größe2")),
            ("😀", None),
            ("Admin", None),
            ("", None),
        ] {
            assert_eq!(derive(name).as_deref(), expected, "{name:?}");
        }
        let long = derive(&"ab ".repeat(40)).unwrap();
        assert!(long.chars().count() <= 32 && !long.ends_with('-'), "{long}");
    }

    #[test]
    fn display_names_are_one_harmless_line() {
        assert_eq!(display_name("  Anna 😀 "), Ok("Anna 😀"));
        assert_eq!(display_name(""), Ok(""));
        assert!(display_name(&"x".repeat(64)).is_ok() && display_name(&"x".repeat(65)).is_err());
        assert!(conversation_name(&"x".repeat(80)).is_ok() && conversation_name(&"x".repeat(81)).is_err());
        assert!(topic(&"x".repeat(500)).is_ok() && topic(&"x".repeat(501)).is_err());
        assert!(about(&"x".repeat(500)).is_ok() && about(&"x".repeat(501)).is_err());
        assert!(conversation_name(" ").is_err());
        for wrong in
            ["a\nb", "a\u{202e}b", "\u{200b}", "a\u{7}", "a\u{2028}b", &format!("a{}", "\u{301}".repeat(21))]
        {
            assert!(display_name(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(device(&format!(" my\u{1b}[2J\u{202e} phone{}", "x".repeat(100))).chars().count(), 63);
    }

    #[test]
    fn passwords_are_counted_in_characters() {
        assert_eq!(code(password(&"ü".repeat(7))), "password_too_short");
        assert_eq!(code(password(&"grü".repeat(3))), "ok");
        assert_eq!(code(password(&"grüß".repeat(64))), "ok");
        assert_eq!(code(password(&"ü".repeat(257))), "password_too_long");
    }

    #[test]
    fn what_anybody_would_guess_is_no_password() {
        for common in [
            "password",
            "Password1",
            "QWERTYUIOP",
            "1qaz2wsx",
            "iloveyou",
            "aaaaaaaa",
            "abababab",
            "abcdefgh",
            "87654321",
            "ABCDEFGHI",
            "пароль123",
        ] {
            assert_eq!(code(password(common)), "password_common", "{common}");
        }
        for own in ["correct horse battery", "abcdefgi", "a1a1a2a2", "12345768", "passwordless night"] {
            assert_eq!(code(password(own)), "ok", "{own}");
        }
        assert_eq!(code(new_password("annabella", "AnnaBella")), "password_common");
        assert_eq!(code(new_password("annabella!", "annabella")), "ok");
    }

    #[test]
    fn the_list_holds_only_what_could_be_chosen_each_once_and_in_small_letters() {
        let mut lines: Vec<&str> = COMMON_PASSWORDS.lines().collect();
        for line in &lines {
            assert!((PASSWORD_CHARACTERS_MIN..=64).contains(&line.chars().count()), "{line:?}");
            assert_eq!((*line, line.trim()), (line.to_lowercase().as_str(), *line));
        }
        let all = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), all);
        assert!(all > 500);
    }

    #[test]
    fn a_name_is_judged_by_what_it_folds_to_as_well() {
        assert!(check_form("\u{10f8}\u{b5}").is_ok());
        assert!(check("\u{10f8}\u{b5}").is_err(), "a Georgian letter and a Greek one");
    }

    /// Whatever comes in: no panic, one key for one name, and what was derived is a handle.
    #[test]
    fn fuzz_names() {
        bolero::check!().with_type::<String>().for_each(|text| {
            let key = fold(text);
            assert_eq!(fold(&key), key, "folding twice changes nothing");
            if check(text).is_ok() {
                assert!(
                    check_form(&key).is_ok() || key.chars().count() > HANDLE_CHARACTERS_MAX,
                    "{text:?} {key:?}"
                );
                assert!(!text.contains(|c: char| c.is_whitespace() || "&|#@<>/:".contains(c)));
            }
            if let Some(handle) = derive(text) {
                assert!(check(&handle).is_ok());
            }
            let _ = (display_name(text), password(text), device(text), skeleton(text));
        });
    }
}
