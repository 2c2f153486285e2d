//! A door for lines of text, small enough to be right and large enough to use all that a door can do.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use chinwag_doors::{AskId, DialId, Door, Given, Input, LinkId, Moment, Output, People, Question};
use chinwag_protocol::{ClientSignal, Command, ConversationId, Device, Event, ServerSignal};

/// Sends back every line that is none of its few words.
#[derive(Default)]
pub(crate) struct Echo {
    links: BTreeMap<LinkId, Link>,
    asks: BTreeMap<AskId, LinkId>,
    dials: u32,
    people: People,
    wants_drained: BTreeSet<LinkId>,
    reminder: Option<(LinkId, String)>,
    out: VecDeque<Output>,
}

struct Link {
    peer: SocketAddr,
    partial: Vec<u8>,
}

impl Door for Echo {
    fn handle(&mut self, input: Input<'_>, now: Moment) {
        match input {
            Input::Opened { link, peer, dial } => {
                self.links.insert(link, Link { peer, partial: Vec::new() });
                if dial.is_some() {
                    self.line(link, "here I am");
                }
            }
            Input::DialFailed { .. } => {
                self.out.extend(self.links.keys().map(|link| send(*link, "no answer")));
            }
            Input::Bytes { link, bytes } => {
                for byte in bytes {
                    let Some(open) = self.links.get_mut(&link) else { return };
                    if *byte == b'\n' {
                        let line = std::mem::take(&mut open.partial);
                        self.heard(link, &String::from_utf8_lossy(&line), now);
                    } else {
                        open.partial.push(*byte);
                    }
                }
            }
            Input::Closed { link } => {
                self.links.remove(&link);
            }
            Input::Answered { ask, result } => {
                let Some(link) = self.asks.remove(&ask) else { return };
                match result {
                    Ok(Given::SignedIn(start)) => {
                        self.line(link, &format!("you are {}", start.me.handle));
                    }
                    Ok(Given::Text(text)) => self.line(link, &text),
                    Ok(_) => self.line(link, "done"),
                    Err(refused) => self.line(link, &refused.message),
                }
            }
            Input::Entry { link, entry } => {
                if let Event::Message(body) = &entry.event {
                    self.line(link, &format!("{}: {}", self.people.handle(entry.by), body.text));
                    let conversation = ConversationId(7);
                    let signal = ClientSignal::Cursor { conversation, delivered: entry.seq, read: entry.seq };
                    self.out.push_back(Output::Signal { link, signal });
                }
            }
            Input::Signal { link, signal } => {
                if let ServerSignal::Typing { user, .. } = signal {
                    self.line(link, &format!("{} is writing", self.people.handle(*user)));
                }
            }
            Input::Profile { profile } => {
                self.people.tell(profile);
            }
            Input::CaughtUp { link } => self.line(link, "that is all"),
            Input::Drained { link } => {
                if self.wants_drained.remove(&link) {
                    self.line(link, "sent");
                }
            }
            Input::Ended { link, reason } => self.line(link, &reason.message),
            Input::Woken => {
                if let Some((link, text)) = self.reminder.take() {
                    self.line(link, &text);
                }
            }
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
}

impl Echo {
    fn heard(&mut self, link: LinkId, line: &str, now: Moment) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["sign", "in", handle, password, ask] => {
                let device = Device {
                    handle: (*handle).to_owned(),
                    password: (*password).to_owned(),
                    device: String::new(),
                    invite: None,
                    cookie: false,
                };
                self.ask(link, ask, Question::SignIn(device));
            }
            ["say", text, ask] => {
                let post = Command::Post {
                    conversation: ConversationId(7),
                    client_id: format!("echo-{ask}"),
                    text: (*text).to_owned(),
                    attachments: Vec::new(),
                    reply_to: None,
                    thread: None,
                    sent_at: None,
                };
                self.ask(link, ask, Question::Command(post));
            }
            ["remind", after, text] => {
                let after = after.parse().expect("the transcripts of this door have numbers here");
                self.reminder = Some((link, (*text).to_owned()));
                self.out.push_back(Output::WakeAt(now + Duration::from_millis(after)));
            }
            ["call", port] => {
                let port = port.parse().expect("the transcripts of this door have ports here");
                let mut to = self.links[&link].peer;
                to.set_port(port);
                self.dials += 1;
                self.out.push_back(Output::Dial { dial: DialId(self.dials), to });
            }
            ["hold"] => self.out.push_back(Output::Hold { link, hold: true }),
            ["go"] => self.out.push_back(Output::Hold { link, hold: false }),
            ["pause"] => self.out.push_back(Output::Pause { link, pause: true }),
            ["resume"] => self.out.push_back(Output::Pause { link, pause: false }),
            ["drain"] => {
                self.wants_drained.insert(link);
            }
            ["poem", number, ask] => {
                let number = number.parse().expect("the transcripts of this door have numbers here");
                self.ask(link, ask, Question::Poem { number });
            }
            ["bye"] => self.out.push_back(Output::Close { link }),
            _ => self.line(link, line),
        }
    }

    fn ask(&mut self, link: LinkId, number: &str, question: Question) {
        let ask = AskId(number.parse().expect("the transcripts of this door have numbers here"));
        self.asks.insert(ask, link);
        self.out.push_back(Output::Ask { ask, link, question: Box::new(question) });
    }

    fn line(&mut self, link: LinkId, text: &str) {
        self.out.push_back(send(link, text));
    }
}

fn send(link: LinkId, text: &str) -> Output {
    Output::Send { link, bytes: format!("{text}\n").into_bytes() }
}
