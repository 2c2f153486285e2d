//! The door `socket_io` with real processes: python-socketio on both transports, socket.io-client, and raw requests.

use std::{
    cell::Cell,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command as Process, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use chinwag_protocol::{Answer, ConversationId, Query, Seq};
use serde_json::{Value, json};

use super::{
    support::{PASSWORD, PATIENCE, Person, Server, folder},
    wires::{self, SocketIo},
};

/// Of the system, whose packages the tests install; another one in the way may not have them.
const PYTHON: &str = "/usr/bin/python3";

/// Where npm's packages are.
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/package.json");

#[derive(Clone, Copy)]
enum Library {
    Python,
    Node,
}

/// An old client.
struct Client {
    child: Child,
    orders: Option<ChildStdin>,
    told: Receiver<Value>,
}

impl Client {
    fn start(library: Library, transport: &str, door: SocketAddr) -> Self {
        let script = |name: &str| format!("{}/tests/doors/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut program = match library {
            Library::Python => Process::new(if Path::new(PYTHON).exists() { PYTHON } else { "python3" }),
            Library::Node => Process::new("node"),
        };
        let name = match library {
            Library::Python => "socket_io.py",
            Library::Node => "socket_io.mjs",
        };
        program.args([&script(name), &format!("http://{door}"), transport]);
        if matches!(library, Library::Node) {
            program.arg(PACKAGES);
        }
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`cargo xtask test` installs what it needs");
        let output = child.stdout.take().expect("piped");
        let (sender, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).expect("it writes objects"));
            }
        });
        let orders = child.stdin.take();
        Self { child, orders, told }
    }

    fn order(&mut self, order: &Value) {
        let orders = self.orders.as_mut().expect("open");
        writeln!(orders, "{order}").expect("it reads");
    }

    fn emit(&mut self, event: &str, data: &Value) {
        self.order(&json!({"do": "emit", "event": event, "data": data}));
    }

    /// The next thing it tells that is not about who comes and goes.
    fn next(&self) -> Value {
        loop {
            let told = self.told.recv_timeout(PATIENCE).expect("it still tells something");
            if !told["data"]["username"].is_string() {
                return told;
            }
        }
    }

    fn answer(&self) -> Value {
        let told = self.next();
        told.get("answer").unwrap_or_else(|| panic!("no answer but {told}")).clone()
    }

    /// Waits until somebody comes or goes.
    fn wait_for(&self, event: &str, name: &str) {
        let wanted = json!({"event": event, "data": {"username": name}});
        let deadline = Instant::now() + PATIENCE;
        while self.told.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect("in time")
            != wanted
        {}
    }

    /// The next message: from whom, in which room, and its text.
    fn message(&self) -> (String, String, String) {
        let told = self.next();
        assert_eq!(told["event"], "received_message", "{told}");
        let part = |name: &str| told["data"][name].as_str().expect("a text").to_owned();
        (part("sender"), part("conversation_room"), part("content"))
    }

    /// Says something, is answered when it is stored, and hears it itself.
    fn says(&mut self, name: &str, room: &str, text: &str) {
        let said = json!({"sender": name, "conversation_room": room, "content": text});
        self.emit("client_sends_message", &said);
        let (answered, heard) = (json!({"result": "success"}), json!(text));
        // Its library tells both in threads of their own.
        let mut told =
            [self.next(), self.next()].map(|one| (one["answer"].clone(), one["data"]["content"].clone()));
        told.sort_by_key(|(answer, _)| answer.is_null());
        assert_eq!(told, [(answered, Value::Null), (Value::Null, heard)]);
    }

    fn hears(&self, text: &str) {
        assert_eq!(self.message(), ("Lisa".to_owned(), "Avi&Lisa".to_owned(), text.to_owned()));
    }

    /// Logs in, connects, and joins the room with Lisa.
    fn come(&mut self) {
        self.order(&json!({"do": "log_in", "username": "Avi", "password": PASSWORD}));
        assert_eq!(self.answer(), json!({"result": "success"}));
        self.order(&json!({"do": "connect"}));
        assert_eq!(self.answer(), json!("connected"));
        self.emit("join", &json!({"client": "Avi", "room": "Avi&Lisa"}));
        assert_eq!(self.answer(), json!({"result": "success"}));
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(data: &Path) -> (Server, SocketAddr) {
    serve_with(data, &["--door", "socket_io=127.0.0.1:0"])
}

fn serve_with(data: &Path, more: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start_with(data, more);
    let address = wires::door(&server, "socket_io");
    (server, address)
}

/// Asks until it is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} in time");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn until_delivered(from: &Person, conversation: ConversationId, message: Seq, to: &Person) {
    let info = Query::MessageInfo { conversation, message };
    until("delivered", || match from.query(info.clone()) {
        Ok(Answer::MessageInfo(info)) => info.delivered_to.contains(&to.id),
        other => panic!("{other:?}"),
    });
}

/// Signs in, talks with somebody of the native protocol, goes, is killed, and comes back, the server too; hears
/// everything, and in its order.
fn a_life(library: Library, transport: &str) {
    let folder = folder();
    let (server, door) = serve(folder.path());
    let (lisa, avi) = (server.register("Lisa"), server.register("Avi"));
    let room = lisa.direct(avi.id);
    let posts = Cell::new(0);
    let post = |lisa: &Person, text: &str| {
        posts.set(posts.get() + 1);
        lisa.post(room, &format!("post-{}", posts.get()), text).expect("a message")
    };

    let mut client = Client::start(library, transport, door);
    client.order(&json!({"do": "log_in", "username": "Avi", "password": "wrong password"}));
    assert_eq!(client.answer(), json!({"result": "Invalid credentials"}));
    client.come();
    client.order(&json!({"do": "contacts", "name": "Avi"}));
    let list = client.answer();
    assert_eq!(list["contacts"]["Lisa"], "Avi&Lisa");
    assert_eq!(list["contacts"]["Everyone"], "#Everyone");
    assert_eq!(list["all_existing_contacts"], json!(["Admin", "Avi", "Lisa", "chinwag"]));
    client.emit("join", &json!({"client": "Avi", "room": "Era&Lisa"}));
    assert_eq!(client.answer(), json!({"error": "Invalid request, there is no such room"}));

    // Presence of a native client, both ways.
    let socket = lisa.connect();
    client.wait_for("new_user_online", "Lisa");
    drop(socket);
    client.wait_for("user_has_gone_offline", "Lisa");

    // Live, both ways: a text is the same text.
    let text = "grüße, 😀 \"quoted\" <b>\\ &amp;";
    post(&lisa, text);
    client.hears(text);
    client.says("Avi", "Avi&Lisa", text);
    until("stored", || lisa.texts(room).iter().filter(|(_, stored)| stored == text).count() == 2);

    // It goes, and comes back to what waited for it.
    client.order(&json!({"do": "disconnect"}));
    assert_eq!(client.next(), json!({"gone": true}));
    for text in ["one", "two"] {
        post(&lisa, text);
    }
    let mut client = Client::start(library, transport, door);
    client.come();
    client.hears("one");
    client.hears("two");
    let three = post(&lisa, "three");
    client.hears("three");
    until_delivered(&lisa, room, three, &avi);

    // It is killed, and comes back.
    client.kill();
    post(&lisa, "four");
    let mut client = Client::start(library, transport, door);
    client.come();
    client.hears("four");

    // And so is the server. How far a client has come is written once a second, so what it heard last it may hear
    // again, in its order; nothing is missing.
    server.kill();
    let (server, door) = serve(folder.path());
    let lisa = lisa.at(&server);
    post(&lisa, "five");
    let mut client = Client::start(library, transport, door);
    client.come();
    let heard: Vec<String> =
        std::iter::repeat_with(|| client.message().2).take_while(|text| text != "five").collect();
    assert!(["three".to_owned(), "four".to_owned()].ends_with(&heard), "{heard:?}");
    post(&lisa, "six");
    client.hears("six");
}

#[test]
fn python_socketio_lives_on_polling() {
    a_life(Library::Python, "polling");
}

#[test]
fn python_socketio_lives_on_a_websocket() {
    a_life(Library::Python, "websocket");
}

#[test]
fn socket_io_client_lives_on_polling() {
    a_life(Library::Node, "polling");
}

#[test]
fn socket_io_client_lives_on_both_with_an_upgrade() {
    a_life(Library::Node, "both");
}

/// The server is killed while both sides talk: what was told is there once, and what was not comes later.
fn a_server_killed_in_the_middle(library: Library, transport: &str) {
    let folder = folder();
    let (server, door) = serve(folder.path());
    let (lisa, avi) = (server.register("Lisa"), server.register("Avi"));
    let room = lisa.direct(avi.id);
    let mut client = Client::start(library, transport, door);
    client.come();
    client.wait_for("new_user_online", "Avi");
    for number in 0..60 {
        let text = format!("avi {number}");
        let said = json!({"sender": "Avi", "conversation_room": "Avi&Lisa", "content": text});
        client.emit("client_sends_message", &said);
    }
    let texts = ["lisa 0", "lisa 1", "lisa 2"];
    for text in texts {
        lisa.post(room, &text.replace(' ', "-"), text).expect("a message");
    }
    let mut heard: Vec<String> = Vec::new();
    while heard.len() < 20 {
        heard.extend(client.next()["data"]["content"].as_str().map(str::to_owned));
    }
    server.kill();
    // Until it notices, or ends because it was about to say something.
    while let Ok(told) = client.told.recv_timeout(PATIENCE) {
        heard.extend(told["data"]["content"].as_str().map(str::to_owned));
        if told["gone"] == true {
            break;
        }
    }
    let (server, door) = serve(folder.path());
    let lisa = lisa.at(&server);
    let stored: Vec<String> = lisa.texts(room).into_iter().map(|(_, text)| text).collect();
    let times = |text: &String| stored.iter().filter(|one| *one == text).count();
    assert!(heard.iter().all(|text| times(text) == 1), "{heard:?}: {stored:?}");
    assert!(stored.iter().all(|text| times(text) == 1), "{stored:?}");
    lisa.post(room, "last", "last").expect("a message");
    let mut client = Client::start(library, transport, door);
    client.come();
    while heard.last().is_none_or(|text| text != "last") {
        heard.push(client.message().2);
    }
    assert!(texts.iter().all(|text| heard.iter().any(|one| one == text)), "{heard:?}");
}

#[test]
fn a_server_killed_in_the_middle_loses_nothing_of_python_socketio() {
    a_server_killed_in_the_middle(Library::Python, "websocket");
}

#[test]
fn a_server_killed_in_the_middle_loses_nothing_of_socket_io_client() {
    a_server_killed_in_the_middle(Library::Node, "both");
}

#[test]
fn the_early_dialect_needs_no_login_at_an_open_door() {
    let folder = folder();
    let file = folder.path().join("doors.toml");
    std::fs::write(&file, "[doors.socket_io]\nlisten = \"127.0.0.1:0\"\nopen = true\n").expect("writable");
    let (server, door) = serve_with(folder.path(), &["--config", file.to_str().expect("UTF-8")]);
    let era = server.register("Era");
    let mut bravo = Client::start(Library::Python, "polling", door);
    bravo.order(&json!({"do": "contacts", "name": "Bravo"}));
    assert_eq!(bravo.answer()["contacts"]["Era"], "Bravo&Era");
    // A name that has a password is nobody's without it.
    bravo.order(&json!({"do": "contacts", "name": "Era"}));
    assert!(bravo.answer()["error"].is_string());
    bravo.order(&json!({"do": "connect"}));
    assert_eq!(bravo.answer(), json!("connected"));
    bravo.emit("join", &json!({"client": "Bravo", "room": "Bravo&Era"}));
    assert_eq!(bravo.answer(), json!({"result": "success"}));
    bravo.wait_for("new_user_online", "Bravo");
    bravo.says("Bravo", "Bravo&Era", "hello era");
    let Ok(Answer::User(profile)) = era.query(Query::Handle { handle: "Bravo".to_owned() }) else {
        panic!("Bravo is a user of this server");
    };
    let room = era.direct(profile.id);
    assert_eq!(era.texts(room).pop().map(|(_, text)| text).as_deref(), Some("hello era"));
    era.post(room, "answer", "hello bravo").expect("a message");
    assert_eq!(bravo.message(), ("Era".into(), "Bravo&Era".into(), "hello bravo".into()));
}

#[test]
fn whoever_speaks_as_soon_as_he_has_joined_is_heard() {
    let folder = folder();
    let (_server, door) = serve(folder.path());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            // Many, because a moment too early or too late is hard to hit: with the old order one of some hundreds.
            scope.spawn(|| {
                for number in 0..100 {
                    let answer = SocketIo::connect(door).ask("join", &json!({}));
                    let missing = "Invalid request, missing required field: client";
                    assert_eq!(answer, json!({"error": missing}), "{number}");
                }
            });
        }
    });
}

#[test]
fn a_client_that_is_killed_while_it_polls_is_soon_gone() {
    let folder = folder();
    let (server, door) = serve(folder.path());
    server.register("Lisa");
    server.register("Avi");
    let mut lisa = Client::start(Library::Node, "websocket", door);
    let mut avi = Client::start(Library::Python, "polling", door);
    for (client, name) in [(&mut lisa, "Lisa"), (&mut avi, "Avi")] {
        client.order(&json!({"do": "log_in", "username": name, "password": PASSWORD}));
        assert_eq!(client.answer(), json!({"result": "success"}));
        client.order(&json!({"do": "connect"}));
        assert_eq!(client.answer(), json!("connected"));
    }
    for (client, name) in [(&mut lisa, "Lisa"), (&mut avi, "Avi")] {
        client.emit("join", &json!({"client": name, "room": "Avi&Lisa"}));
        assert_eq!(client.answer(), json!({"result": "success"}));
    }
    lisa.wait_for("new_user_online", "Avi");
    avi.kill();
    // Neither tells the server that it lives. If it were the heartbeat that missed Avi, it would have missed Lisa
    // before, who joined before him, and ended her connection.
    lisa.wait_for("user_has_gone_offline", "Avi");
}

/// One request on a connection of its own: its status, and the rest.
fn ask(door: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(door).expect("the door is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!("{head}\r\nHost: {door}\r\nConnection: close\r\n{length}\r\n{body}");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    // A refused body may be cut off with a reset after the answer.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer to {head}: {answer}")), answer)
}

const OPEN: &str = "GET /socket.io/?transport=polling&EIO=4 HTTP/1.1";

/// Opens a session and connects it; where it is polled.
///
/// The engine pings at once when it opens a session, joins the namespace in a task of its own, and answers a poll as
/// soon as there is anything. So the first poll may bring `2` alone and the connect packet come with the next one:
/// clients poll on at once, whatever came, and none of them stalls. Here the ping is taken before.
fn polling(door: SocketAddr) -> String {
    let (_, opened) = ask(door, OPEN, "");
    let sid = opened.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a session");
    let path = format!("/socket.io/?transport=polling&EIO=4&sid={sid} HTTP/1.1");
    let (_, first) = ask(door, &format!("GET {path}"), "");
    assert!(first.ends_with("\r\n\r\n2"), "{first}");
    assert_eq!(ask(door, &format!("POST {path}"), "3\u{1e}40{}").0, 200);
    let (_, connected) = ask(door, &format!("GET {path}"), "");
    assert!(connected.contains("40{\"sid\":"), "{connected}");
    path
}

#[test]
fn what_is_not_of_this_wire_is_refused() {
    let folder = folder();
    let (server, door) = serve(folder.path());
    let (status, opened) = ask(door, OPEN, "");
    assert!(status == 200 && opened.contains("\"pingInterval\":25000,\"pingTimeout\":20000"), "{opened}");
    assert!(!opened.to_lowercase().contains("access-control"), "no page of another site may read this");
    for (head, expected) in [
        ("GET /socket.io/?transport=polling&EIO=3 HTTP/1.1", 400),
        ("GET /socket.io/?transport=polling HTTP/1.1", 400),
        ("GET /socket.io/?transport=carrier_pigeon&EIO=4 HTTP/1.1", 400),
        ("GET /socket.io/?transport=polling&EIO=4&sid=AAAAAAAAAAAAAAHs HTTP/1.1", 400),
        ("GET /socket.io/?transport=polling&EIO=4 HTTP/1.1\r\nOrigin: http://evil.example", 403),
        ("GET /socket.io/?transport=polling&EIO=4 HTTP/1.1\r\nOrigin: null", 403),
        ("GET / HTTP/1.1", 404),
        ("GET /log_in HTTP/1.1", 405),
        ("GET /get_contacts_list/Lisa HTTP/1.1", 200),
    ] {
        let (status, answer) = ask(door, head, "");
        assert_eq!(status, expected, "{head}: {answer}");
    }
    let long = "x".repeat(16 * 1024 + 1);
    assert_eq!(ask(door, "POST /log_in HTTP/1.1", &long).0, 413);
    let (_, missing) = ask(door, "POST /log_in HTTP/1.1", &long[1..]);
    assert!(missing.ends_with("{\"error\":\"Invalid Log In request\"}"), "{missing}");

    // A broken packet ends its own session; the next one gets on.
    let path = polling(door);
    ask(door, &format!("POST {path}"), "42[\"__proto__\",{}]");
    until("disconnected", || ask(door, &format!("GET {path}"), "").1.contains("41"));
    // Two polls at once: the session ends, whichever of them the server takes for the wrong one.
    let twice = polling(door);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| ask(door, &format!("GET {twice}"), ""));
        until("ended", || ask(door, &format!("GET {twice}"), "").0 == 400);
        first.join().expect("answered");
    });

    let too_long = "4".repeat(128 * 1024 + 1);
    assert_eq!(ask(door, &format!("POST {path}"), &too_long).0, 413);
    assert_eq!(ask(door, OPEN, "").0, 200);
    drop(server);
}
