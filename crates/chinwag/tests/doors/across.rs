//! Promises between all doors: somebody on each of the five wires, somebody at the command line and somebody on the
//! native protocol, in one group, in another, and in direct conversations with each other.

use std::{
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use chinwag_protocol::{
    Answer, Command, ConversationId, ConversationKind, Device, Entry, Event, History, LogId, Query, Reply,
    ServerFrame, SignedIn, UserId,
};
use serde_json::json;
use tempfile::TempDir;

use super::{
    support::{self, PATIENCE, Person, Server, folder, post, say},
    wires::{CommandLine, Heard, PASSWORD, PipeLine, SocketIo, TagJson, TcpJson, UdpAck, next, pair},
};

/// The server-wide group, of which every account is a member.
const EVERYONE: ConversationId = ConversationId(1);

/// How old wires name it that go by numbers.
const EVERYONE_OF_TCP_JSON: u64 = 200_001;
const EVERYONE_OF_TAG_JSON: &str = "everyone";

/// Texts that some program has once stumbled over. Each sender puts his own word before them.
const TEXTS: &[&str] = &[
    "plain words",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇰 👍🏽",
    "שלום עליכם، السلام عليكم",
    "e\u{301} a\u{308}\u{323} Z\u{334}\u{321}\u{33c} ﷺ",
    "\"quotes\", 'quotes', \\back\\slashes\\n \\u0041",
    "<TAG> {\"ACTION\": \"CHAT\"}<TAG><tag> &lt;b&gt;",
    "bars | between || words |",
    "'; DROP TABLE users; -- %s %n ${HOME} $(id)",
    "00042{\"action\": \"exit\"}",
    "R|anna|000001|no, I am not",
    "two  blanks and a\ttab",
];

const LINES: &str = "one line\nand another\n\nand a last one";

/// Towards an old client a bar is shown as a broken bar; "stored as typed".
fn shown_by_pipe_line(text: &str) -> String {
    text.replace('|', "¦")
}

fn server(data: &Path) -> Server {
    let config = support::lifted(data);
    let doors = "[doors.tcp_json]\nlisten = \"127.0.0.1:0\"\n[doors.tag_json]\nlisten = \"127.0.0.1:0\"\n\
        [doors.socket_io]\nlisten = \"127.0.0.1:0\"\n[doors.pipe_line]\nlisten = \"127.0.0.1:0\"\n\
        [doors.udp_ack]\nlisten = \"127.0.0.1:0\"\nopen = true\nmode = \"relay\"\n";
    let text = std::fs::read_to_string(&config).expect("readable") + doors;
    std::fs::write(&config, text).expect("writable");
    Server::start_with(data, &["--config", config.to_str().expect("UTF-8")])
}

/// One person on each wire, all at once.
struct All {
    native: Person,
    people: BTreeMap<&'static str, Person>,
    command: CommandLine,
    tcp: TcpJson,
    tag: TagJson,
    socket: SocketIo,
    pipe: PipeLine,
    udp: UdpAck,
    /// A group besides the server-wide one.
    tea: ConversationId,
    /// Where the command line is at home.
    _home: TempDir,
}

const NAMES: [&str; 7] = ["nat", "cmd", "tcp", "tag", "soc", "pip", "udp"];

fn register(server: &Server, handle: &str) -> Person {
    let device = Device {
        handle: handle.to_owned(),
        password: PASSWORD.to_owned(),
        device: "test".to_owned(),
        invite: None,
        cookie: false,
    };
    let made: Result<SignedIn, _> = post(server.address, "/api/register", None, &device);
    let SignedIn { user, session, token, .. } = made.expect("a free handle");
    Person { address: server.address, id: user, session, token: token.expect("asked for") }
}

fn all(server: &Server) -> All {
    let people: BTreeMap<&'static str, Person> =
        NAMES.into_iter().map(|name| (name, register(server, name))).collect();
    let native = people["nat"].clone();
    let made = native.command(Command::CreateConversation {
        client_id: "make-tea".to_owned(),
        kind: ConversationKind::Group,
        name: "Tea".to_owned(),
        handle: Some("tea".to_owned()),
        topic: String::new(),
        public: true,
        history: History::All,
        posting: None,
        members: people.values().filter(|one| one.id != native.id).map(|one| one.id).collect(),
    });
    let Ok(Reply::Conversation { conversation: tea }) = made else { panic!("{made:?}") };
    let home = folder();
    let command = CommandLine::sign_in(home.path(), server.address, "cmd");
    let rooms: Vec<String> =
        NAMES.iter().filter(|name| **name != "soc").map(|name| pair("soc", name)).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).chain(["#Everyone", "#tea"]).collect();
    let socket = SocketIo::sign_in(server, "soc", &rooms);
    // `watch` tells what comes after it has connected.
    until_online(&native, people["cmd"].id);
    All {
        native,
        command,
        socket,
        tcp: TcpJson::sign_in(server, "tcp"),
        tag: TagJson::sign_in(server, "tag"),
        pipe: PipeLine::sign_in(server, "pip"),
        udp: UdpAck::sign_in(server, "udp"),
        people,
        tea,
        _home: home,
    }
}

fn until_online(asker: &Person, user: UserId) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match asker.query(Query::Online { conversation: None }) {
            Ok(Answer::Online(online)) if online.iter().any(|one| one.user == user) => return,
            Ok(Answer::Online(_)) => assert!(Instant::now() < deadline, "{user} does not come"),
            other => panic!("{other:?}"),
        }
        thread::park_timeout(Duration::from_millis(20));
    }
}

impl All {
    /// The messages of a conversation as the log has them: who said it, and what.
    fn log(&self, conversation: ConversationId) -> Vec<(&'static str, String)> {
        let name = |id| *self.people.iter().find(|(_, one)| one.id == id).expect("one of us").0;
        let said = |event: &Event| match event {
            Event::Message(body) => Some(body.text.clone()),
            _ => None,
        };
        let log = self.native.log(conversation);
        // What happened to the group was done by the bot, too.
        let message = |entry: &Entry| said(&entry.event).map(|text| (name(entry.by), text));
        log.iter().filter_map(message).collect()
    }

    /// What one hears of a log who does not hear himself, up to the last message.
    fn heard_by(log: &[(&'static str, String)], own: &str, group: &str) -> Vec<Heard> {
        let others = log.iter().filter(|(from, _)| *from != own);
        let heard = |(from, text): &(&str, String)| Heard {
            group: Some(group.to_owned()),
            from: (*from).to_owned(),
            text: text.clone(),
        };
        others.map(heard).collect()
    }
}

/// So many messages of a group, skipping those of other groups; each wire tells all of one group in order.
fn of_group(heard: &[Heard], group: &str) -> Vec<Heard> {
    heard.iter().filter(|one| one.group.as_deref() == Some(group)).cloned().collect()
}

/// Everything up to the last words, whoever says them in whatever group.
fn until(from: &std::sync::mpsc::Receiver<Heard>, ends: usize, wire: &str) -> Vec<Heard> {
    let (mut all, mut ended) = (Vec::new(), 0);
    while ended < ends {
        let one = next(from, wire);
        ended += usize::from(one.text == LAST);
        all.push(one);
    }
    all
}

const LAST: &str = "that was all";

#[test]
fn g2_a_text_reaches_everybody_on_every_door_once_in_order_and_as_it_was() {
    let data = folder();
    let server = server(data.path());
    let mut all = all(&server);
    let tea_of_tcp = all.tcp.group("Tea");
    let mut socket = all.native.connect();
    // Everybody speaks at once, in both groups; what has no answer is told by its entry.
    thread::scope(|scope| {
        let (native, tea) = (&all.native, all.tea);
        let (tcp, tag, pipe, udp) = (&mut all.tcp, &mut all.tag, &mut all.pipe, &mut all.udp);
        let (command, socket) = (&mut all.command, &mut all.socket);
        scope.spawn(move || {
            for (number, text) in TEXTS.iter().chain([&LINES]).enumerate() {
                native.post(EVERYONE, &format!("e{number}"), &format!("nat {text}")).expect("a member");
                native.post(tea, &format!("t{number}"), &format!("nat {text}")).expect("a member");
            }
        });
        scope.spawn(move || {
            for text in TEXTS.iter().chain([&LINES]) {
                tcp.chat(EVERYONE_OF_TCP_JSON, &format!("tcp {text}"));
                tcp.chat(tea_of_tcp, &format!("tcp {text}"));
            }
        });
        scope.spawn(move || {
            for text in TEXTS.iter().chain([&LINES]) {
                tag.chat("GROUP", EVERYONE_OF_TAG_JSON, &format!("tag {text}"));
                tag.chat("GROUP", "tea", &format!("tag {text}"));
            }
        });
        scope.spawn(move || {
            for text in TEXTS.iter().chain([&LINES]) {
                command.chat("#Everyone", &format!("cmd {text}"));
                command.chat("#tea", &format!("cmd {text}"));
            }
        });
        scope.spawn(move || {
            for text in TEXTS.iter().chain([&LINES]) {
                socket.chat("#Everyone", &format!("soc {text}"));
                socket.chat("#tea", &format!("soc {text}"));
            }
        });
        // This wire ends a message with a line feed, and knows groups by their handles.
        scope.spawn(move || {
            TEXTS.iter().for_each(|text| drop(pipe.message("#tea", &format!("pip {text}"))));
        });
        // This one knows one group only.
        scope.spawn(move || {
            TEXTS.iter().chain([&LINES]).for_each(|text| udp.message_all(&format!("udp {text}")));
        });
    });
    let (many, fewer) = (TEXTS.len() + 1, TEXTS.len());
    let mut seen = Vec::new();
    while seen.len() < many * 6 + many * 5 + fewer {
        socket.until(|frame| match frame {
            ServerFrame::Entry(entry) if matches!(entry.event, Event::Message(_)) => {
                seen.push((entry.log, entry.seq));
                Some(())
            }
            _ => None,
        });
    }
    all.native.post(EVERYONE, "end-e", LAST).expect("a member");
    all.native.post(all.tea, "end-t", LAST).expect("a member");
    let logs = [(EVERYONE, "Everyone", EVERYONE_OF_TAG_JSON), (all.tea, "tea", "tea")];
    let of_pipe = until(&all.pipe.heard, 2, "pipe_line");
    let of_udp = until(&all.udp.heard, 2, "udp_ack");
    let of_tag = until(&all.tag.heard, 2, "tag_json");
    let of_socket = until(&all.socket.heard, 2, "socket_io");
    let (mut of_command, mut ended) = (Vec::new(), 0);
    while ended < 2 {
        let one = next(&all.command.heard, "chinwag watch");
        ended += usize::from(one["text"] == LAST);
        of_command.push(one);
    }
    let (mut of_tcp, mut ended) = (Vec::new(), 0);
    while ended < 2 {
        let one = next(&all.tcp.heard, "tcp_json");
        ended += usize::from(one.2 == LAST);
        of_tcp.push(one);
    }
    for (conversation, name, of_tag_json) in logs {
        let log = all.log(conversation);
        // Each said each text once, in his own order, and it is stored as it was typed.
        for sender in NAMES {
            let texts: Vec<_> = log
                .iter()
                .filter(|(from, text)| *from == sender && text != LAST)
                .map(|(_, text)| text)
                .collect();
            let count = match (sender, name) {
                ("pip", "Everyone") | ("udp", "tea") => 0,
                ("pip", _) => fewer,
                _ => many,
            };
            let said = TEXTS.iter().chain([&LINES]).take(count);
            let said: Vec<_> = said.map(|text| format!("{sender} {text}")).collect();
            assert_eq!(texts, said.iter().collect::<Vec<_>>(), "{sender} in {name}");
        }
        let by_pipe: Vec<_> = All::heard_by(&log, "pip", name)
            .into_iter()
            .map(|one| Heard { text: shown_by_pipe_line(&one.text), ..one })
            .collect();
        assert_eq!(of_group(&of_pipe, name), by_pipe, "pipe_line in {name}");
        assert_eq!(of_group(&of_udp, name), All::heard_by(&log, "udp", name), "udp_ack in {name}");
        let by_tag = All::heard_by(&log, "tag", of_tag_json);
        assert_eq!(of_group(&of_tag, of_tag_json), by_tag, "tag_json in {name}");
        // "To the members of the conversation, the sender included", and so at the command line.
        assert_eq!(of_group(&of_socket, name), All::heard_by(&log, "", name), "socket_io in {name}");
        let by_command: Vec<_> = of_command
            .iter()
            .filter(|said| said["conversation"] == json!(conversation))
            .map(|said| (said["handle"].as_str(), said["text"].as_str()))
            .collect();
        let told: Vec<_> = log.iter().map(|(from, text)| (Some(*from), Some(text.as_str()))).collect();
        assert_eq!(by_command, told, "the command line in {name}");
        let number = if conversation == EVERYONE { EVERYONE_OF_TCP_JSON } else { tea_of_tcp };
        let by_tcp: Vec<_> = of_tcp
            .iter()
            .filter(|(to, ..)| *to == number)
            .map(|(_, from, text)| (&**from, text.clone()))
            .collect();
        // "Everybody in the group including the sender."
        assert_eq!(by_tcp, log, "tcp_json in {name}");
        let log_id = LogId::Conversation(conversation);
        let seqs: Vec<_> = seen.iter().filter(|(log, _)| *log == log_id).map(|(_, seq)| *seq).collect();
        assert!(seqs.is_sorted_by(|one, next| one < next), "native in {name}: {seqs:?}");
    }
}

#[test]
fn g2_a_direct_message_reaches_its_receiver_on_every_door_once_and_as_it_was() {
    let data = folder();
    let server = server(data.path());
    let mut all = all(&server);
    let of_tcp: BTreeMap<&str, u64> = NAMES
        .into_iter()
        .filter(|name| *name != "tcp")
        .map(|name| (name, all.tcp.group(&format!("@{name}"))))
        .collect();
    let names: Vec<&str> = all.people.keys().copied().collect();
    for (number, text) in TEXTS.iter().enumerate() {
        for from in &names {
            for to in names.iter().filter(|to| *to != from) {
                let text = format!("{from} to {to}: {text}");
                let conversation = all.people[from].direct(all.people[to].id);
                match *from {
                    "nat" => drop(
                        all.native
                            .command(say(conversation, &format!("{to}-{number}"), &text))
                            .expect("a peer"),
                    ),
                    "tcp" => all.tcp.chat(of_tcp[to], &text),
                    "cmd" => all.command.chat(&format!("@{to}"), &text),
                    "tag" => all.tag.chat("CONTACT", to, &text),
                    "soc" => all.socket.chat(&pair("soc", to), &text),
                    "pip" => drop(all.pipe.message(to, &text)),
                    _ => all.udp.message(to, &text),
                }
                let heard = |text: String| Heard { group: None, from: (*from).to_owned(), text };
                match *to {
                    "tcp" => {
                        // Its own copies are among them.
                        let mut came = std::iter::repeat_with(|| next(&all.tcp.heard, "tcp_json"));
                        let came = came.find(|one| one.1 != "tcp");
                        assert_eq!(came, Some((of_tcp[from], (*from).to_owned(), text.clone())));
                    }
                    "tag" => assert_eq!(next(&all.tag.heard, "tag_json"), heard(text.clone())),
                    "pip" => {
                        assert_eq!(next(&all.pipe.heard, "pipe_line"), heard(shown_by_pipe_line(&text)));
                    }
                    "udp" => assert_eq!(next(&all.udp.heard, "udp_ack"), heard(text.clone())),
                    "soc" => {
                        let mut came = std::iter::repeat_with(|| next(&all.socket.heard, "socket_io"));
                        let came = came.find(|one| one.from != "soc");
                        assert_eq!(came, Some(heard(text.clone())));
                    }
                    "cmd" => {
                        let mut came = std::iter::repeat_with(|| next(&all.command.heard, "chinwag watch"));
                        let came = came.find(|one| one["handle"] != "cmd").expect("it goes on");
                        let wanted = json!([conversation, from, text]);
                        assert_eq!(json!([came["conversation"], came["handle"], came["text"]]), wanted);
                    }
                    _ => {}
                }
            }
        }
    }
    for to in names.iter().filter(|to| **to != "cmd") {
        all.command.taken(&format!("@{to}"));
    }
    // Everything is in the history once, as it was typed, each direction in its order.
    for (at, one) in names.iter().enumerate() {
        for other in &names[at + 1..] {
            let conversation = all.people[one].direct(all.people[other].id);
            for (from, to) in [(one, other), (other, one)] {
                let prefix = format!("{from} to {to}: ");
                let texts: Vec<_> = all.people[one]
                    .texts(conversation)
                    .into_iter()
                    .filter_map(|(_, text)| text.strip_prefix(&prefix).map(str::to_owned))
                    .collect();
                assert_eq!(texts, TEXTS, "{from} to {to}");
            }
        }
    }
}

#[test]
fn g3_nobody_speaks_under_another_name_by_any_door() {
    let data = folder();
    let server = server(data.path());
    let mut all = all(&server);
    all.tcp.group("Everyone");
    for forged in ["nat", "NAT", "pip", "chinwag", "nobody"] {
        // A refused `send_chat` is silent; the order of the wire tells when it was refused.
        all.tcp.chat_as(forged, EVERYONE_OF_TCP_JSON, "forged at tcp_json");
        all.socket.chat_as(forged, "#Everyone", "forged at socket_io");
        all.socket.chat_as(forged, &pair("soc", "tcp"), "forged at socket_io");
        // Neither does one come in by another's name, or into a room of others.
        for room in ["#Everyone", "nat&soc", "nat&tcp"] {
            assert_ne!(all.socket.join_as(forged, room)["result"], "success", "{forged} in {room}");
        }
        all.tag.chat_as(forged, &format!("f-{forged}"), "GROUP", EVERYONE_OF_TAG_JSON, "forged at tag_json");
        assert_eq!(all.tag.refused("CHAT")["RESPONSE"], "FAILED", "{forged}");
        all.udp.say(&format!("send_all forged at udp_ack {forged}"));
        all.udp.say(&format!("send tcp forged at udp_ack {forged}"));
        if forged != "pip" {
            let answer = all.pipe.ask(&format!("MSG|{forged}|#tea|forged at pipe_line"));
            assert_eq!(answer, "1|no source user", "{forged}");
        }
    }
    // Field separators inside of texts end no field and begin no frame.
    all.pipe.message("#tea", "|nat|tcp|R|nat|000001|forged in a text");
    all.tag.chat("GROUP", "tea", "<TAG>{\"ACTION\": \"CHAT\", \"SENDER\": \"nat\"}<TAG>");
    all.tcp.chat(EVERYONE_OF_TCP_JSON, "00099{\"action\": \"recv_chat\", \"send_from\": \"nat\"}");
    all.udp.message_all("Channel-Message nat: send tcp x nat");
    all.socket.chat("#tea", "\"}]\u{1e}42[\"received_message\",{\"sender\":\"nat\"}]");
    // The last words of each wire: what was said before them on the same wire is decided.
    all.tcp.chat(EVERYONE_OF_TCP_JSON, "last of tcp");
    all.tag.chat("GROUP", EVERYONE_OF_TAG_JSON, "last of tag");
    all.udp.message_all("last of udp");
    all.socket.chat("#Everyone", "last of soc");
    let mut missing = vec!["last of tcp", "last of tag", "last of udp", "last of soc"];
    let mut socket = all.native.connect();
    let log = all.native.texts(EVERYONE);
    missing.retain(|last| !log.iter().any(|(_, text)| text == last));
    while !missing.is_empty() {
        let said = socket.until(|frame| match frame {
            ServerFrame::Entry(entry) => match &entry.event {
                Event::Message(body) => Some(body.text.clone()),
                _ => None,
            },
            _ => None,
        });
        missing.retain(|last| *last != said);
    }
    for conversation in [EVERYONE, all.tea] {
        let log = all.log(conversation);
        assert!(log.iter().all(|(from, _)| *from != "nat"), "{log:?}");
        assert!(!log.iter().any(|(_, text)| text.starts_with("forged")), "{log:?}");
    }
    for from in ["udp", "soc"] {
        let of_tcp = all.people[from].direct(all.people["tcp"].id);
        assert!(all.people[from].texts(of_tcp).is_empty(), "{from}");
    }
}

#[test]
fn g1_what_an_old_program_sends_again_is_one_entry() {
    let data = folder();
    let server = server(data.path());
    let mut all = all(&server);
    all.tcp.group("@udp");
    // "Up to 5 sends": the acknowledgement came late, or never.
    for _ in 0..5 {
        all.udp.say("send tag said again and again udp");
        all.udp.say("send_all said again to all udp");
    }
    // The client goes on when it is acknowledged, as it is however often it asks.
    all.udp.ask("send tag said again and again udp", "ack_on");
    all.udp.ask("send_all said again to all udp", "ack_group");
    for _ in 0..3 {
        all.tag.chat_as("tag", "the-same-id", "GROUP", EVERYONE_OF_TAG_JSON, "said again by tag");
    }
    all.tag.chat("GROUP", EVERYONE_OF_TAG_JSON, "last of tag");
    all.udp.message("tag", "last of udp");
    all.udp.message_all("last of udp");
    let texts = |heard: &[Heard]| heard.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
    // Whoever listens hears it once, and the log has it once.
    let mut heard = Vec::new();
    while texts(&heard).iter().filter(|text| *text == "last of udp").count() < 2 {
        heard.push(next(&all.tag.heard, "tag_json"));
    }
    heard.sort_by(|one, other| (&one.group, &one.text).cmp(&(&other.group, &other.text)));
    assert_eq!(
        texts(&heard),
        ["last of udp", "said again and again", "last of udp", "said again to all"],
        "{heard:?}"
    );
    let mut of_tag = Vec::new();
    while !of_tag.contains(&"last of tag".to_owned()) {
        of_tag.push(next(&all.udp.heard, "udp_ack").text);
    }
    assert_eq!(of_tag, ["said again by tag", "last of tag"]);
    // Nor is it told twice to those whose own wires repeat nothing.
    let mut of_all = Vec::new();
    while !(of_all.contains(&"last of tag".to_owned()) && of_all.contains(&"last of udp".to_owned())) {
        of_all.push(next(&all.socket.heard, "socket_io").text);
    }
    of_all.sort();
    assert_eq!(of_all, ["last of tag", "last of udp", "said again by tag", "said again to all"]);
    let log = all.log(EVERYONE);
    for (text, from) in [("said again to all", "udp"), ("said again by tag", "tag")] {
        let times = log.iter().filter(|said| **said == (from, text.to_owned())).count();
        assert_eq!(times, 1, "{text}: {log:?}");
    }
    let direct = all.people["udp"].direct(all.people["tag"].id);
    let said: Vec<_> = all.people["udp"].texts(direct).into_iter().map(|(_, text)| text).collect();
    assert_eq!(said, ["said again and again", "last of udp"]);
}
