//! Tables of what is typed, what comes and when, against what is sent and shown.

use super::*;

const SERVER: &str = "127.0.0.1:5555";
const PEER: &str = "127.0.0.1:39285";
const OTHER: &str = "127.0.0.1:50140";
const DATE: &str = "Fri Nov 20 23:19:28 2026";

/// One step: `typed`, `500ms`, `end` for the end of input, or `PEER> datagram`.
struct Bench {
    client: Client,
    at: Duration,
}

/// The white space of a number reads as `_` and `^` in the tables.
fn written(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let end = text.trim_end().len();
    let mark: String = text[end..].chars().map(|c| if c == ' ' { '_' } else { '^' }).collect();
    format!("{}{mark}", &text[..end])
}

fn name(address: SocketAddr) -> &'static str {
    match address.port() {
        5555 => "server",
        39285 => "peer",
        _ => "other",
    }
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self { client: Client::new("x", None, SERVER.parse().unwrap()), at: Duration::ZERO };
        assert_eq!(bench.said(), [">>>", "server< register x"]);
        bench
    }

    /// Registered, with `y` in the table.
    fn online() -> Self {
        let mut bench = Self::new();
        let welcome = bench.step("server> registered [Welcome, You are registered.]");
        assert_eq!(welcome, ["[Welcome, You are registered.]"]);
        assert_eq!(bench.step("server> system_broadcast y 127.0.0.1 39285"), ["[client table updated.]"]);
        bench
    }

    fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(output) = self.client.poll() {
            said.push(match output {
                Output::Send { to, bytes } => format!("{}< {}", name(to), written(&bytes)),
                Output::Line(line) => line,
                Output::Prompt => ">>>".to_owned(),
                Output::End { failed } => format!("end{}", if failed { ", failed" } else { "" }),
            });
        }
        said
    }

    fn step(&mut self, step: &str) -> Vec<String> {
        if let Some(time) = step.strip_suffix("ms").and_then(|text| text.parse().ok()) {
            let until = self.at + Duration::from_millis(time);
            while let Some(wake) = self.client.wake_at().filter(|wake| *wake <= until) {
                self.at = wake;
                self.handle(Input::Woken);
            }
            self.at = until;
        } else if step == "end" {
            self.handle(Input::Ended);
        } else if let Some((from, datagram)) = step.split_once("> ") {
            let from = match from {
                "server" => SERVER,
                "peer" => PEER,
                _ => OTHER,
            };
            self.handle(Input::Datagram { from: from.parse().unwrap(), bytes: datagram.as_bytes() });
        } else {
            assert!(self.client.takes_input(), "before {step:?} something is waited for");
            self.handle(Input::Line(step));
        }
        self.said()
    }

    fn handle(&mut self, input: Input<'_>) {
        self.client.handle(input, &Now { at: self.at, date: DATE.to_owned() });
    }

    fn all(mut self, steps: &[(&str, &[&str])]) {
        for (at, (step, expected)) in steps.iter().enumerate() {
            assert_eq!(self.step(step), *expected, "step {at}: {step}");
        }
    }
}

#[test]
fn input_errors_read_as_in_the_old_program() {
    Bench::online().all(&[
        ("", &[">>>"]),
        ("   ", &[">>>"]),
        ("hello", &["[Wrong Input]"]),
        ("SEND y hi", &["[Wrong Input]"]),
        ("send", &["[Correct Usage: send <name> <content>]"]),
        ("send y", &["[Correct Usage: send <name> <content>]"]),
        ("send y  ", &["[Correct Usage: send <name> <content>]"]),
        ("send nobody hi", &["[Couldn't find nobody]"]),
        ("send x hi", &["[Couldn't find x]"]),
        ("send_all", &["[Correct Usage: send_all <content>]"]),
        ("dereg", &["[Correct Usage: dereg <name>]"]),
        ("dereg x y", &["[Correct Usage: dereg <name>]"]),
        ("dereg y", &["[Wrong User_name]"]),
        ("reg x", &["[Wrong Input]"]),
        ("send y \0", &["[Wrong Input]"]),
    ]);
}

#[test]
fn a_text_that_no_reader_takes_is_not_sent() {
    let mut bench = Bench::online();
    assert_eq!(bench.step(&format!("send y {}", "x".repeat(2_000))).len(), 1);
    bench.step("peer> ack_on [Message received by y]");
    assert_eq!(bench.step(&format!("send y {}", "x".repeat(2_010))), ["[Wrong Input]"]);
    assert_eq!(bench.step(&format!("send_all {}", "x".repeat(2_036))), ["[Wrong Input]"]);
}

#[test]
fn a_message_goes_from_client_to_client() {
    Bench::online().all(&[
        ("send  y   hello   there \n", &["peer< send y hello   there x^___"]),
        // An acknowledgement from elsewhere, or of somebody else's, is none.
        ("server> ack_on [Message received by y]", &[]),
        ("peer> ack_on [Message received by z]", &[]),
        ("peer> ack_group [Message received by Server.]", &[]),
        ("peer> ack_on [Message received by y]", &["[Message received by y]"]),
        ("peer> ack_on [Message received by y]", &[]),
        ("peer> send x hi you y", &["y: hi you", "peer< ack_on [Message received by x]"]),
        // A copy is acknowledged again and not shown; later it is said again.
        ("500ms", &[]),
        ("peer> send x hi you y", &["peer< ack_on [Message received by x]"]),
        ("601ms", &[]),
        ("peer> send x hi you y", &["y: hi you", "peer< ack_on [Message received by x]"]),
        // With a number it is another one, however soon, or a copy, however late.
        ("peer> send x ok y ", &["y: ok", "peer< ack_on [Message received by x]_"]),
        ("peer> send x ok y\t", &["y: ok", "peer< ack_on [Message received by x]^"]),
        ("2000ms", &[]),
        ("peer> send x ok y\t", &["peer< ack_on [Message received by x]^"]),
        ("peer> send x ok y ", &[]),
        // Whoever is not where the table says is not who he says he is.
        ("other> send x forged y", &[]),
        ("other> send x hi z", &[]),
        ("peer> send z hi y", &[]),
    ]);
}

#[test]
fn what_a_peer_does_not_acknowledge_the_server_stores() {
    Bench::online().all(&[
        ("send y off1", &["peer< send y off1 x^___"]),
        ("499ms", &[]),
        (
            "1ms",
            &[
                "[No ACK from y, message sent to server. ]",
                "server< save_message x y Fri Nov 20 23:19:28 2026 off1_^__",
            ],
        ),
        // The peer's acknowledgement comes late: the server has it by now.
        ("peer> ack_on [Message received by y]", &[]),
        (
            "server> ack_off [Messages received by the server and saved]",
            &["[Messages received by the server and saved]"],
        ),
        // A peer who is known to be away is not tried.
        ("server> offline y", &["[client table updated.]"]),
        (
            "send y off2",
            &[
                "[No ACK from y, message sent to server. ]",
                "server< save_message x y Fri Nov 20 23:19:28 2026 off2^^__",
            ],
        ),
        ("server> Error [Client z exits!!!]", &[]),
        ("server> Error [Client y exits!!!]", &["[Client y exits!!!]"]),
    ]);
}

#[test]
fn what_came_directly_is_not_shown_again_when_the_server_brings_it() {
    Bench::online().all(&[
        ("peer> send x hi y", &["y: hi", "peer< ack_on [Message received by x]"]),
        ("server> send x hi y", &["server< ack_on [Message received by x]^___"]),
        ("server> send x hi y ", &["y: hi", "server< ack_on [Message received by x]_^__"]),
    ]);
}

#[test]
fn people_who_are_not_on_this_wire_are_reached_through_the_server() {
    Bench::online().all(&[
        ("server> system_broadcast anna 127.0.0.1 5555", &["[client table updated.]"]),
        ("server> offline anna", &["[client table updated.]"]),
        ("send anna hi", &["server< send anna hi x^___"]),
        ("500ms", &["server< send anna hi x^___"]),
        ("server> ack_on [Message received by anna]", &["[Message received by anna]"]),
        ("server> send x hello anna", &["anna: hello", "server< ack_on [Message received by x]_^__"]),
    ]);
}

#[test]
fn messages_to_all_go_through_the_server() {
    Bench::online().all(&[
        ("send_all group  hello", &["server< send_all group  hello x^___"]),
        ("500ms", &["server< send_all group  hello x^___"]),
        ("server> ack_group [Message received by Server.]", &["[Message received by Server.]"]),
        ("server> ack_group [Message received by Server.]", &[]),
        ("send_all again", &["server< send_all again x_^__"]),
        (
            "2500ms",
            &[
                "server< send_all again x_^__",
                "server< send_all again x_^__",
                "server< send_all again x_^__",
                "server< send_all again x_^__",
                "[Server not responding.]",
            ],
        ),
        (
            "server> Channel-Message z: one: two",
            &["Channel-Message z: one: two", "server< ack_channel [Message received by x]^^__"],
        ),
        ("server> Channel-Message z: one: two", &["server< ack_channel [Message received by x]__^_"]),
        ("peer> Channel-Message z: forged", &[]),
    ]);
}

#[test]
fn a_late_copy_of_an_acknowledgement_is_not_that_of_the_next_message() {
    Bench::online().all(&[
        ("send_all again", &["server< send_all again x^___"]),
        ("500ms", &["server< send_all again x^___"]),
        ("server> ack_group [Message received by Server.]\t   ", &["[Message received by Server.]"]),
        ("send_all again", &["server< send_all again x_^__"]),
        ("server> ack_group [Message received by Server.]\t   ", &[]),
        ("server> ack_group [Message received by Server.] \t  ", &["[Message received by Server.]"]),
        ("send y hi", &["peer< send y hi x^^__"]),
        ("peer> ack_on [Message received by y] \t  ", &[]),
        ("peer> ack_on [Message received by y]\t\t  ", &["[Message received by y]"]),
    ]);
}

#[test]
fn a_server_that_does_not_respond_is_the_end() {
    let register = "server< register x";
    Bench::new().all(&[(
        "10000ms",
        &[register, register, register, register, "[Server not responding]", "[Existing]", "end, failed"],
    )]);
    let signout = "server< signout x";
    Bench::online().all(&[
        ("dereg x", &[signout]),
        (
            "10000ms",
            &[signout, signout, signout, signout, "[Server not responding]", "[Existing]", "end, failed"],
        ),
    ]);
}

#[test]
fn signing_out_and_in_again() {
    Bench::online().all(&[
        ("dereg x", &["server< signout x"]),
        ("server> dereg_suc [You are Offline. Bye.]", &["[You are Offline. Bye.]"]),
        // Offline: only `reg` is accepted, messages are not shown and not acknowledged, the table is kept.
        ("send y hi", &["[Wrong Input]"]),
        ("send_all hi", &["[Wrong Input]"]),
        ("dereg x", &["[Wrong Input]"]),
        ("reg", &["[Correct Usage: reg <name>]"]),
        ("reg y", &["[Wrong Name]"]),
        ("peer> send x hi y", &[]),
        ("server> Channel-Message y: hi", &[]),
        ("server> offline_message y: Fri Nov 20 23:19:28 2026 off0", &[]),
        ("server> system_broadcast y 127.0.0.1 50140", &[]),
        ("reg x", &["server< reg x"]),
        ("500ms", &["server< reg x_"]),
        ("server> reg_suc [Welcome Back]", &["[Welcome Back]"]),
        ("server> offline_message [You have messages]", &["[You have messages]"]),
        ("server> offline_message y: Fri Nov 20 23:19:28 2026 off1", &["y: Fri Nov 20 23:19:28 2026 off1"]),
        (
            "server> offline_message Channel-Message: z: Fri Nov 20 23:19:31 2026 group hello",
            &["Channel-Message: z: Fri Nov 20 23:19:31 2026 group hello"],
        ),
        ("send y hi", &["other< send y hi x^___"]),
    ]);
}

#[test]
fn a_name_that_is_taken_can_be_signed_in() {
    Bench::new().all(&[
        ("server> please_signin [Please sign in.]", &["[Please sign in.]"]),
        ("send y hi", &["[Wrong Input]"]),
        ("reg x", &["server< reg x"]),
        ("server> please_signin [Please sign in.]", &["[Please sign in.]"]),
        ("reg x", &["server< reg x"]),
        // The acknowledgement was lost; what waited says the same.
        ("server> offline_message [You have messages]", &["[Welcome Back]", "[You have messages]"]),
        ("server> reg_suc [Welcome Back]", &[]),
    ]);
}

#[test]
fn a_server_that_does_not_believe_the_address_is_sent_a_second_datagram() {
    Bench::new().all(&[
        ("server> registered", &["[Welcome, You are registered.]", "server< reg x"]),
        ("server> reg_suc [Welcome Back]", &[]),
        ("server> system_broadcast y 127.0.0.1 39285", &["[client table updated.]"]),
    ]);
}

#[test]
fn the_end_of_input_ends_it() {
    Bench::online().all(&[
        ("send y hi", &["peer< send y hi x^___"]),
        ("end", &[]),
        ("peer> ack_on [Message received by y]", &["[Message received by y]", "server< signout x"]),
        ("server> dereg_suc [You are Offline. Bye.]", &["[You are Offline. Bye.]", "end"]),
    ]);
    Bench::new()
        .all(&[("end", &[]), ("server> please_signin [Please sign in.]", &["[Please sign in.]", "end"])]);
}

#[test]
fn the_table_follows_the_server_and_nobody_else() {
    Bench::online().all(&[
        ("server> system_broadcast y 127.0.0.1 39285 more", &[]),
        ("server> online y", &[]),
        ("server> offline nobody", &[]),
        ("server> system_broadcast x 127.0.0.1 1", &[]),
        ("server> system_broadcast X 127.0.0.1 1", &[]),
        ("peer> system_broadcast z 127.0.0.1 50140", &[]),
        ("server> system_broadcast y 127.0.0.1 50140", &["[client table updated.]"]),
        ("send z hi", &["[Couldn't find z]"]),
        ("send y hi", &["other< send y hi x^___"]),
    ]);
}

#[test]
fn a_password_goes_with_the_name() {
    let mut client = Client::new("x", Some("secret".to_owned()), SERVER.parse().unwrap());
    assert_eq!(client.poll(), Some(Output::Prompt));
    let bytes = b"register x secret".to_vec();
    assert_eq!(client.poll(), Some(Output::Send { to: SERVER.parse().unwrap(), bytes }));
}
