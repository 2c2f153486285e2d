//! C3: who is gone without a word is offline after two heartbeats. The clock of the server stands still here and is
//! moved by hand, while sockets, store and hub go on as ever.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::time::Duration;

use support::{Raw, Running, frame, start};
use tokio::time::{advance, pause};

/// Signs in over a WebSocket.
async fn connect(server: &Running, token: &str) -> Raw {
    let mut raw = server.connect().await;
    raw.send(server.handshake("")).await;
    assert_eq!(raw.answer().await.status, 101);
    let hello = format!(r#"{{"hello":{{"version":1,"token":"{token}"}}}}"#);
    raw.send(frame(0x81, hello.as_bytes())).await;
    let welcome = until(&mut raw, r#"{"welcome":"#).await;
    let welcome: serde_json::Value = serde_json::from_str(&welcome).unwrap();
    assert_eq!(welcome["welcome"]["heartbeat_ms"], 20_000);
    until(&mut raw, r#"{"caught_up":"#).await;
    raw
}

async fn until(raw: &mut Raw, beginning: &str) -> String {
    loop {
        let text = raw.text().await;
        if text.starts_with(beginning) {
            return text;
        }
    }
}

async fn say(raw: &mut Raw, text: &str) {
    raw.send(frame(0x81, text.as_bytes())).await;
}

/// How a user looks, asked anew.
async fn watched(raw: &mut Raw, user: u64) -> String {
    say(raw, &format!(r#"{{"signal":{{"watch":{{"users":[{user}]}}}}}}"#)).await;
    let told = until(raw, r#"{"signal":{"presence":"#).await;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    told["signal"]["presence"][0]["presence"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn c3_a_silent_death_is_told_within_two_heartbeats() {
    let server = start(|_| {}).await;
    let (anna, bee) = (server.register("anna").await, server.register("bee").await);
    // Time that moves by itself whenever everybody waits would overtake the sockets.
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let still = tokio::task::spawn_blocking(move || finished.recv());
    pause();
    // Anna's machine dies: nothing is said and nothing is closed.
    let mut silent = connect(&server, &anna).await;
    let mut bee = connect(&server, &bee).await;
    let anna = 2;
    // Told at once or at the next tick.
    if watched(&mut bee, anna).await != "online" {
        let told = until(&mut bee, r#"{"signal":{"presence":"#).await;
        assert!(told.contains(r#""presence":"online""#), "{told}");
    }
    for _ in 0..3 {
        advance(Duration::from_millis(13_300)).await;
        say(&mut bee, r#"{"ping":{}}"#).await;
        until(&mut bee, r#"{"pong":"#).await;
        assert_eq!(watched(&mut bee, anna).await, "online", "not before two heartbeats have passed");
    }
    advance(Duration::from_millis(200)).await;
    let told = until(&mut bee, r#"{"signal":{"presence":"#).await;
    assert!(
        told.contains(r#""presence":"offline""#) && told.contains(&format!(r#""user":{anna}"#)),
        "{told}"
    );
    // And her connection is gone, not only said to be.
    assert!(silent.try_text().await.is_none());
    // Who says something is there, however long.
    assert_eq!(watched(&mut bee, 3).await, "online");
    drop(finish);
    let _ = still.await;
    drop(bee);
    server.stop().await;
}
