//! Who one may be at which door: guests, app passwords, and how a guest gets a password. With real hashes and a
//! real store.

#![allow(clippy::unwrap_used, reason = "this is a test, though clippy does not see that of its helpers")]

use std::net::IpAddr;

use chinwag_protocol::{Answer, Command, Device, Query, Refused, Reply, SignedIn};
use chinwag_server::{config::Config, messenger::Messenger, serve::Server};
use tokio::{sync::oneshot, task::JoinHandle};

const UDP: &str = "udp_ack";
const TCP: &str = "tcp_json";
const PASSWORD: &str = "a long goodbye";

struct House {
    messenger: Messenger,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

async fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data: folder.path().into(), ..Config::default() };
    config.listen.set_port(0);
    let server = Server::start(config).await.unwrap();
    let messenger = server.messenger().clone();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    House { messenger, stop, ended, _folder: folder }
}

impl House {
    async fn close(self) {
        drop(self.messenger);
        let _ = self.stop.send(());
        self.ended.await.unwrap();
    }

    async fn register(&self, handle: &str) -> SignedIn {
        self.messenger.register(device(handle, PASSWORD), ip("127.0.0.1"), "").await.unwrap()
    }

    /// An app password of a user for a door.
    async fn app_password(&self, owner: &SignedIn, door: &str) -> String {
        let actor = self.messenger.actor(owner.token.as_ref().unwrap()).await.unwrap();
        let command =
            Command::CreateAppPassword { client_id: door.into(), door: door.into(), name: String::new() };
        match self.messenger.command(&actor, command).await.unwrap() {
            Reply::AppPassword { secret: Some(secret), .. } => secret,
            other => panic!("{other:?}"),
        }
    }
}

fn device(handle: &str, password: &str) -> Device {
    let (handle, password) = (handle.into(), password.into());
    Device { handle, password, device: String::new(), invite: None, cookie: false }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn code<T>(result: Result<T, Refused>) -> String {
    result.map_or_else(|refused| refused.code, |_| "ok".into())
}

#[tokio::test]
async fn a_guest_comes_back_by_his_address_and_gets_a_password_when_he_registers() {
    let house = house().await;
    let messenger = &house.messenger;
    let (here, elsewhere) = (ip("127.0.0.1"), ip("127.0.0.2"));
    house.register("anna").await;
    assert_eq!(code(messenger.guest("zoe", here, UDP, false).await), "guests_closed");
    let zoe = messenger.guest("zoe", here, UDP, true).await.unwrap();
    let again = messenger.guest("Zoe", ip("::ffff:127.0.0.1"), UDP, true).await.unwrap();
    assert_eq!(again.user, zoe.user);
    for (handle, address) in [("zoe", elsewhere), ("anna", here), ("everyone", here)] {
        let expected = if handle == "everyone" { "name_reserved" } else { "handle_taken" };
        assert_eq!(code(messenger.guest(handle, address, UDP, true).await), expected, "{handle}");
    }
    // Nobody signs in as a guest with a password, not even with none.
    for typed in ["", PASSWORD] {
        assert_eq!(code(messenger.sign_in(device("zoe", typed), here, UDP).await), "wrong_password");
    }
    let taken = messenger.register(device("zoe", PASSWORD), elsewhere, UDP).await;
    assert_eq!(code(taken), "name_taken");
    assert_eq!(code(messenger.register(device("zoe", PASSWORD), here, "").await), "name_taken");
    let person = messenger.register(device("zoe", PASSWORD), here, UDP).await.unwrap();
    assert_eq!(person.user, zoe.user);
    assert_eq!(code(messenger.actor(zoe.token.as_ref().unwrap()).await), "not_signed_in");
    assert_eq!(code(messenger.guest("zoe", here, UDP, true).await), "handle_taken");
    let native = messenger.sign_in(device("zoe", PASSWORD), elsewhere, "").await.unwrap();
    assert_eq!((native.user, native.change_password), (zoe.user, false));
    house.close().await;
}

#[tokio::test]
async fn strangers_come_as_guests_five_times_a_minute() {
    let house = house().await;
    for number in 0..5 {
        let name = format!("visitor{number}x");
        assert_eq!(code(house.messenger.guest(&name, ip("203.0.113.7"), UDP, true).await), "ok");
    }
    let refused = house.messenger.guest("onemore", ip("203.0.113.7"), UDP, true).await.unwrap_err();
    assert_eq!(refused.code, "rate_limited");
    assert!(refused.retry_after_ms.is_some_and(|wait| wait <= 12_000), "{refused:?}");
    assert_eq!(code(house.messenger.guest("other", ip("203.0.113.8"), UDP, true).await), "ok");
    house.close().await;
}

#[tokio::test]
async fn an_app_password_opens_its_door_alone_and_manages_nothing() {
    let house = house().await;
    let messenger = &house.messenger;
    let here = ip("127.0.0.1");
    let anna = house.register("anna").await;
    let secret = house.app_password(&anna, TCP).await;
    let typed = secret.to_uppercase().replace('-', "");
    for (password, door, expected) in [
        (secret.as_str(), TCP, "ok"),
        (&typed, TCP, "ok"),
        (PASSWORD, TCP, "ok"),
        (&secret, UDP, "wrong_password"),
        (&secret, "", "wrong_password"),
    ] {
        let result = messenger.sign_in(device("anna", password), here, door).await;
        assert_eq!(code(result), expected, "{password} at {door:?}");
    }
    let only = |password: &str| device("anna", password);
    assert_eq!(
        code(messenger.sign_in_at_door(only(PASSWORD), here, TCP, true, false).await),
        "wrong_password"
    );
    let inside = messenger.sign_in_at_door(only(&secret), here, TCP, true, false).await.unwrap();
    let actor = messenger.actor(inside.token.as_ref().unwrap()).await.unwrap();
    assert_eq!(actor.door.as_deref(), Some(TCP));
    assert_eq!(code(messenger.query(&actor, Query::AppPasswords {}).await), "forbidden");
    let revoke = Command::RevokeAppPassword { app_password: chinwag_protocol::AppPasswordId(1) };
    assert_eq!(code(messenger.command(&actor, revoke.clone()).await), "forbidden");

    let owner = messenger.actor(anna.token.as_ref().unwrap()).await.unwrap();
    let Answer::AppPasswords(list) = messenger.query(&owner, Query::AppPasswords {}).await.unwrap() else {
        panic!("not a list")
    };
    assert_eq!(
        list.iter().map(|one| (one.door.as_str(), one.used_at.is_some())).collect::<Vec<_>>(),
        [(TCP, true)]
    );
    messenger.command(&owner, revoke).await.unwrap();
    assert_eq!(code(messenger.actor(inside.token.as_ref().unwrap()).await), "not_signed_in");
    assert_eq!(code(messenger.sign_in(only(&secret), here, TCP).await), "wrong_password");
    house.close().await;
}
