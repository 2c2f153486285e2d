//! Importing users and waiting messages into a real store, and what they can do afterwards.

#![allow(clippy::unwrap_used, reason = "this is a test, though clippy does not see that of its helpers")]

use std::{net::IpAddr, path::Path};

use chinwag_protocol::{
    Anchor, Answer, Command, ConversationId, Device, Event, Query, Refused, Reply, SignedIn, UserId,
};
use chinwag_server::{
    config::Config,
    import::{self, ImportError, Line, Outcome, Record, Summary},
    messenger::Messenger,
    serve::Server,
};
use tokio::sync::oneshot;

/// The layout of that system, with the loader's messages and the saver's, and some that are wrong.
const FILE: &str = r#"{
  "user_list": [
    {"_User__username": "admin", "_User__password": "pw", "_User__email": "admin"},
    {"_User__username": "user", "_User__password": "pw", "_User__email": "user"},
    {"_User__username": "user2", "_User__password": "password", "_User__email": "two@example.org"},
    {"_User__username": "User2", "_User__password": "pw", "_User__email": "x"},
    {"_User__username": "anna", "_User__password": "pw", "_User__email": "x"},
    {"_User__username": "ben", "_User__password": "correct horse battery", "_User__email": "x"},
    {"_User__username": "nobody", "_User__password": ""},
    17
  ],
  "message_list": [
    {"_Message__user_from": {"_User__username": "user"}, "_Message__user_to": {"_User__username": "user2"},
     "_Message__content": "one | two"},
    {"_Message__user_from": {"_User__username": "user"}, "_Message__user_to": {"_User__username": "user2"},
     "_Message__content": "again"},
    {"_Message__user_from": {"_User__username": "user"}, "_Message__user_to": {"_User__username": "user2"},
     "_Message__content": "again"},
    {"id": 3, "user_to": "user", "user_from": "ben", "content": "from one who was here before"},
    {"id": 4, "user_to": "user", "user_from": "anna", "content": "in another's name"},
    {"id": 5, "user_to": "user", "user_from": "user2", "content": ""}
  ],
  "notification_list": [{}, {}]
}"#;

async fn serve<T>(data: &Path, work: impl AsyncFnOnce(&Messenger) -> T) -> T {
    let mut config = Config { data: data.into(), ..Config::default() };
    config.listen.set_port(0);
    let server = Server::start(config).await.unwrap();
    let messenger = server.messenger().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    let result = work(&messenger).await;
    drop(messenger);
    let _ = stop.send(());
    running.await.unwrap();
    result
}

fn device(handle: &str, password: &str) -> Device {
    let (handle, password) = (handle.into(), password.into());
    Device { handle, password, device: String::new(), invite: None, cookie: false }
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn sign_in(messenger: &Messenger, handle: &str, password: &str) -> Result<SignedIn, Refused> {
    messenger.sign_in(device(handle, password), HERE, "").await
}

/// What was said in the direct conversation with somebody, and by whom.
async fn talk(messenger: &Messenger, me: &SignedIn, with: &str) -> (ConversationId, Vec<(UserId, String)>) {
    let actor = messenger.actor(me.token.as_ref().unwrap()).await.unwrap();
    let handle = Query::Handle { handle: with.into() };
    let Answer::User(other) = messenger.query(&actor, handle).await.unwrap() else { panic!("no {with}") };
    let open = Command::OpenDirect { user: other.id };
    let Reply::Conversation { conversation } = messenger.command(&actor, open).await.unwrap() else {
        panic!("no conversation with {with}")
    };
    let page = Query::History { conversation, anchor: Anchor::Latest, limit: 100 };
    let Answer::History(page) = messenger.query(&actor, page).await.unwrap() else { panic!("no history") };
    let said = page.items.into_iter().filter_map(|item| match item.entry.event {
        Event::Message(body) => Some((item.entry.by, body.text)),
        _ => None,
    });
    (conversation, said.collect())
}

fn imported(file: &Path, data: &Path, dry_run: bool) -> (Summary, Vec<Line>) {
    let mut lines = Vec::new();
    let summary = import::run(file, data, dry_run, &mut |line| lines.push(line.clone())).unwrap();
    (summary, lines)
}

fn outcomes(lines: &[Line], record: Record) -> Vec<Outcome> {
    lines.iter().filter(|line| line.record == record).map(|line| line.outcome).collect()
}

#[tokio::test]
async fn imported_people_sign_in_and_talk_and_a_second_time_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("users.json"));
    std::fs::write(&file, FILE).unwrap();
    assert!(matches!(import::run(&file, &data, false, &mut |_| {}), Err(ImportError::NoStore { .. })));
    assert!(!data.exists(), "a mistyped folder is not made");
    serve(&data, async |messenger| {
        for handle in ["anna", "ben"] {
            messenger.register(device(handle, "correct horse battery"), HERE, "").await.unwrap();
        }
        let running = import::run(&file, &data, false, &mut |_| {}).unwrap_err();
        assert!(running.to_string().contains("is running"), "{running}");
        assert!(import::run(&file, &data, true, &mut |_| {}).is_err());
    })
    .await;

    let names = || {
        let mut names: Vec<_> =
            std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let (tried, would) = imported(&file, &data, true);
    assert_eq!(names(), before, "the copy of a dry run is gone");
    let (summary, lines) = imported(&file, &data, false);
    assert_eq!((tried, &would), (summary, &lines), "a dry run says what would happen");
    assert_eq!(summary, Summary { imported: 6, known: 2, refused: 6, notices: 2 });
    use Outcome::{Imported, Known, Refused};
    let users = [Refused, Imported, Imported, Known, Refused, Known, Refused, Refused];
    assert_eq!(outcomes(&lines, Record::User), users, "{lines:#?}");
    let messages = [Imported, Imported, Imported, Imported, Refused, Refused];
    assert_eq!(outcomes(&lines, Record::Message), messages, "{lines:#?}");
    let why: Vec<&str> =
        lines.iter().filter(|line| line.outcome == Refused).map(|line| line.why.as_str()).collect();
    assert!(why[0].contains("reserved") && why[1].contains("another password"), "{why:?}");
    assert_eq!((why[2], why[3]), ("it has no password", "it is a number, not a record"));

    let (again, lines) = imported(&file, &data, false);
    assert_eq!((again.imported, again.known, again.refused), (0, 8, 6), "{lines:#?}");

    serve(&data, async |messenger| {
        let user = sign_in(messenger, "user", "pw").await.unwrap();
        let second = sign_in(messenger, "user2", "password").await.unwrap();
        assert!(user.change_password && second.change_password);
        assert_eq!(sign_in(messenger, "anna", "pw").await.unwrap_err().code, "wrong_password");
        let (conversation, said) = talk(messenger, &second, "user").await;
        let texts: Vec<&str> = said.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["one | two", "again", "again"]);
        assert!(said.iter().all(|(by, _)| *by == user.user));
        let (_, said) = talk(messenger, &user, "anna").await;
        assert_eq!(said, [], "nobody speaks in the name of an account that is not his");
        assert_eq!(talk(messenger, &user, "ben").await.1.len(), 1);

        let actor = messenger.actor(second.token.as_ref().unwrap()).await.unwrap();
        let client_id = "reply".to_owned();
        let post = serde_json::json!({"post": {"conversation": conversation, "client_id": client_id, "text": "here"}});
        messenger.command(&actor, serde_json::from_value(post).unwrap()).await.unwrap();
        assert_eq!(talk(messenger, &user, "user2").await.1.len(), 4);

        let change = Command::ChangePassword { old: "password".into(), new: "a long goodbye".into() };
        messenger.command(&actor, change).await.unwrap();
        assert!(!sign_in(messenger, "user2", "a long goodbye").await.unwrap().change_password);
    })
    .await;
    let (after, _) = imported(&file, &data, false);
    assert_eq!((after.imported, after.known), (0, 8), "a password changed since is not changed back");
    serve(&data, async |messenger| {
        assert!(sign_in(messenger, "user2", "a long goodbye").await.is_ok());
    })
    .await;
}

#[test]
fn a_file_that_is_none_is_refused_before_the_store_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.json");
    for (text, why) in [("{", "it cannot be read"), ("{}", "it has neither"), ("", "it cannot be read")] {
        std::fs::write(&file, text).unwrap();
        let refused = import::run(&file, folder.path(), false, &mut |_| {}).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let missing = import::run(&folder.path().join("none"), folder.path(), false, &mut |_| {});
    assert!(matches!(missing, Err(ImportError::File { .. })));
}
