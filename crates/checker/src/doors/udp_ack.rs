//! `docs/doors/udp_ack.md`, in mode `relay`, with an account: words in datagrams. What is said is sent up to five times
//! until it is acknowledged; pushes are acknowledged, what waited is not.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Line, PASSWORD, Said, Wire, ear::Ear, places::Place, strange};
use crate::history::What;

const TIMEOUT: Duration = Duration::from_millis(500);
const TRIES: u32 = 5;

/// How soon a reader sees that its line was cut; nothing else wakes it.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct UdpAck {
    pub(super) address: SocketAddr,
    pub(super) name: String,
    pub(super) known: bool,
}

struct Open {
    socket: UdpSocket,
    answers: Receiver<String>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    name: String,
    ear: Arc<Ear>,
    count: u32,
}

/// The text after so many words.
fn after_words(mut text: &str, count: u32) -> &str {
    for _ in 0..count {
        text = text.trim_start();
        text = text.find(' ').map_or("", |end| &text[end..]);
    }
    text.trim_start()
}

/// A message: where it was said, by whom, and its text.
type Message<'t> = (u32, &'t str, &'t str);

/// `SENDER: TEXT`, or `SENDER: DATE TEXT`, in a group.
fn in_group<'t>(ear: &Ear, rest: &'t str, date: u32) -> Option<Message<'t>> {
    let (from, text) = rest.split_once(": ")?;
    let text = after_words(text, date);
    Some(match text.strip_prefix("[#").and_then(|text| text.split_once("] ")) {
        Some((group, text)) => (ear.places.group(group), from, text),
        None => (ear.places.group("Everyone"), from, text),
    })
}

/// A message in a datagram, and how it is acknowledged.
fn message<'t>(ear: &Ear, text: &'t str) -> Option<(Message<'t>, Option<&'static str>)> {
    let (verb, rest) = text.split_once(' ')?;
    match verb {
        "send" => {
            let (text, from) = rest.strip_prefix(&ear.own)?.trim_start().rsplit_once(' ')?;
            Some(((ear.places.between(&ear.own, from), from, text), Some("ack_on")))
        }
        "Channel-Message" => Some((in_group(ear, rest, 0)?, Some("ack_channel"))),
        "offline_message" => {
            if let Some(rest) = rest.strip_prefix("Channel-Message: ") {
                return Some((in_group(ear, rest, 5)?, None));
            }
            let (from, text) = rest.split_once(": ")?;
            Some(((ear.places.between(&ear.own, from), from, after_words(text, 5)), None))
        }
        _ => None,
    }
}

fn listen(socket: &UdpSocket, ear: &Ear, answers: &Sender<String>, stop: &AtomicBool) {
    let mut piece = [0; 2_048];
    while !stop.load(Ordering::Acquire) {
        let count = match socket.recv(&mut piece) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            // Nobody listens there: the system says so after something was sent.
            Err(_) => break,
        };
        let datagram = String::from_utf8_lossy(&piece[..count]).into_owned();
        let text = datagram.trim_end();
        if let Some(((place, from, text), received)) = message(ear, text) {
            ear.told(place, from, text, None);
            if let Some(received) = received {
                // If it is lost, the push comes again.
                let _ = socket.send(format!("{received} [Message received by {}]", ear.own).as_bytes());
            }
        } else {
            let _ = answers.send(text.to_owned());
        }
    }
    ear.end();
}

impl Wire for UdpAck {
    fn name(&self) -> &'static str {
        "udp_ack"
    }

    /// It can say something to everybody, and to one.
    fn reaches(&self, place: &Place) -> bool {
        place.handle.as_deref().is_none_or(|handle| handle == "Everyone")
    }

    fn named(&self, call: u64, place: &Place) -> bool {
        is_saved(call, place)
    }

    fn forgets(&self) -> bool {
        true
    }

    fn open(&mut self, ear: &Arc<Ear>) -> io::Result<Box<dyn Line>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(LOOK))?;
        let (answer, answers) = channel();
        let stop: Arc<AtomicBool> = Arc::default();
        let (read, own, over) = (socket.try_clone()?, ear.clone(), stop.clone());
        let thread = std::thread::Builder::new().spawn(move || listen(&read, &own, &answer, &over))?;
        let (name, thread) = (self.name.clone(), Some(thread));
        let mut open = Open { socket, answers, stop, thread, name, ear: ear.clone(), count: 0 };
        let (verb, wanted) = if self.known { ("reg", "reg_suc") } else { ("register", "registered") };
        let asked = format!("{verb} {} {PASSWORD}", self.name);
        match open.ask(&asked, &[wanted, "please_signin"], None) {
            Some(answer) if answer.starts_with(wanted) => {
                self.known = true;
                Ok(Box::new(open))
            }
            answer => {
                self.known = true;
                Err(strange(answer.unwrap_or_default()))
            }
        }
    }
}

/// A `save_message` is named by its own words and so known for ever; a `send` is not.
fn is_saved(call: u64, place: &Place) -> bool {
    place.handle.is_none() && call % 2 == 1
}

impl Open {
    /// Says it up to five times; what of the wanted came.
    fn ask(&mut self, words: &str, wanted: &[&str], call: Option<u64>) -> Option<String> {
        // "White space at the end of their datagrams, which no old reader sees: four blanks or tabs that count."
        self.count += 1;
        let mark: String = (0..4).map(|bit| if self.count >> bit & 1 == 0 { ' ' } else { '\t' }).collect();
        for number in 0..TRIES {
            if let Some(call) = call.filter(|_| number > 0) {
                self.ear.note(What::Again { call });
            }
            self.socket.send(format!("{words}{mark}").as_bytes()).ok()?;
            let until = Instant::now() + TIMEOUT;
            loop {
                match self.answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(answer) if wanted.iter().any(|wanted| answer.starts_with(wanted)) => {
                        if number > 0 {
                            // An acknowledgement has no number: those of the copies would be taken for the next
                            // message's. Another port has another one's.
                            self.ear.end();
                        }
                        return Some(answer);
                    }
                    Ok(_) => {}
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return None,
                }
            }
        }
        None
    }
}

impl Line for Open {
    fn say(&mut self, call: u64, place: &Place, text: &str) -> Said {
        let own = self.name.clone();
        let (words, wanted) = match place.other(&own) {
            None => (format!("send_all {text} {own}"), "ack_group"),
            Some(other) if is_saved(call, place) => {
                (format!("save_message {own} {other} Sat Nov 21 08:00:00 2026 {text}"), "ack_off")
            }
            Some(other) => (format!("send {other} {text} {own}"), "ack_on"),
        };
        match self.ask(&words, &[wanted, "Error"], Some(call)) {
            Some(answer) if answer.starts_with(wanted) => Said::Done { seq: None },
            Some(answer) => Said::Refused(answer),
            None => {
                self.ear.end();
                Said::Unknown
            }
        }
    }

    fn leave(mut self: Box<Self>) -> bool {
        let before = self.ear.is_over();
        let words = format!("signout {}", self.name);
        self.ask(&words, &["dereg_suc"], None).is_some() && !before
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
