//! One address that sends datagrams: whether it is believed, what it said lately, and who is signed in there.
//!
//! How people come and go stands in `enter`, their messages in `post`, what they are told in `told`.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use chinwag_protocol::{Answer, ConversationId, Refused, Reply, Seq, UserId};

use super::{
    Shared,
    enter::{Entering, How},
    post::{Answers, Posted},
    table::{Addresses, Table},
    wire::{self, Said},
};
use crate::{Given, LinkId, Moment, Question, Seat, Settings, people::fold};

/// "Treat an identical datagram from the same source within about 600 ms as a retry."
const RETRY_WITHIN: Duration = Duration::from_millis(600);

/// As long as a client repeats a datagram that it marked, and some more.
const MARKED_WITHIN: Duration = Duration::from_secs(5);

/// Datagrams remembered for that.
const RECENT_MAX: usize = 16;

/// One address.
pub(super) struct Peer {
    pub(super) link: LinkId,
    pub(super) address: SocketAddr,
    /// Its answers arrive there: it may be sent more than it sends.
    pub(super) proved: bool,
    recent: VecDeque<Heard>,
    pub(super) place: Option<Place>,
    /// The datagram that signed him in.
    pub(super) came_by: Vec<u8>,
    /// Who signed out here last.
    pub(super) left: Option<String>,
    pub(super) table: Table,
    /// It marks its datagrams, so what it is sent is marked too: with a number, of the last push.
    marks: bool,
    pushes: u32,
}

/// A datagram, and what was answered to it.
struct Heard {
    datagram: Vec<u8>,
    at: Moment,
    answer: Option<Vec<u8>>,
}

/// Who is signed in.
pub(super) struct Place {
    pub(super) seat: Seat,
    pub(super) posts: u64,
    /// The table was told: what waits may follow.
    pub(super) tabled: bool,
    pub(super) caught_up: bool,
    /// "You have messages" was said.
    pub(super) has_messages: bool,
    /// Messages told of those that waited; and whether the next ones are to wait a moment more.
    pub(super) waited: u32,
    pub(super) pauses: bool,
    pub(super) push: Option<Push>,
}

/// What was sent and not yet acknowledged. "At most one push per user is outstanding at a time": acknowledgements
/// carry no number.
pub(super) struct Push {
    pub(super) bytes: Vec<u8>,
    pub(super) delivers: (ConversationId, Seq),
    pub(super) tries: u32,
}

/// For what something was asked, with the datagram that led to it.
pub(super) enum Doing {
    Enter(Entering),
    Table,
    Find(Posted),
    Open(Posted),
    Post { answers: Answers, heard: Vec<u8> },
    Leave,
}

impl Peer {
    pub(super) fn new(link: LinkId, address: SocketAddr, settings: &Settings) -> Self {
        let trusted = settings.trusted_networks.iter().any(|network| network.contains(address.ip()));
        Self {
            link,
            address,
            proved: trusted,
            recent: VecDeque::new(),
            place: None,
            came_by: Vec::new(),
            left: None,
            table: Table::default(),
            marks: false,
            pushes: 0,
        }
    }

    /// The mark of a push: two of them with the same words are two messages.
    pub(super) fn mark(&mut self) -> String {
        self.pushes = self.pushes.wrapping_add(1);
        if self.marks { wire::mark(self.pushes) } else { String::new() }
    }

    /// Sends what nobody asked for: never to an address that may be forged.
    pub(super) fn send(&self, bytes: Vec<u8>, shared: &mut Shared) {
        if self.proved {
            shared.desk.send(self.link, bytes);
        }
    }

    pub(super) fn say(&self, text: String, shared: &mut Shared) {
        self.send(text.into_bytes(), shared);
    }

    /// Answers a datagram. To an address that may be forged: "the plain acknowledgement only, never more bytes
    /// than it sent".
    pub(super) fn answer(&mut self, heard: &[u8], text: &str, shared: &mut Shared) {
        let mut bytes = text.as_bytes().to_vec();
        if !self.proved {
            let plain = text.split(' ').next().unwrap_or_default();
            if plain.len() > heard.len() {
                return;
            }
            bytes = plain.as_bytes().to_vec();
        } else {
            // A late copy of this is not taken for the answer to what is said next.
            bytes.extend(wire::mark_of(heard));
        }
        if let Some(recent) = self.recent.iter_mut().find(|recent| recent.datagram == heard) {
            recent.answer = Some(bytes.clone());
        }
        shared.desk.send(self.link, bytes);
    }

    /// Lets the next copy of a datagram count as a new one.
    pub(super) fn forget(&mut self, heard: &[u8]) {
        self.recent.retain(|recent| recent.datagram != heard);
    }

    pub(super) fn ask(&self, doing: Doing, question: Question, shared: &mut Shared) {
        shared.desk.ask(self.link, doing, question);
    }

    pub(super) fn is_entering(&self, shared: &Shared) -> bool {
        shared.desk.asked(self.link).any(|doing| matches!(doing, Doing::Enter(_)))
    }

    pub(super) fn is_asking_table(&self, shared: &Shared) -> bool {
        shared.desk.asked(self.link).any(|doing| matches!(doing, Doing::Table))
    }

    /// The place of whoever is signed in here, if that is his name. "Identity is the session."
    pub(super) fn place_of(&self, name: &str, shared: &Shared) -> Option<&Place> {
        self.place.as_ref().filter(|place| fold(&shared.desk.people.handle(place.seat.me)) == fold(name))
    }

    /// The server's own address, as it looks from this one.
    pub(super) fn server(&self, settings: &Settings) -> SocketAddr {
        let ip = match self.address.ip().to_canonical() {
            IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
            _ => settings.listen.ip(),
        };
        SocketAddr::new(ip, settings.listen.port())
    }

    /// A datagram came.
    pub(super) fn datagram(&mut self, bytes: &[u8], now: Moment, shared: &mut Shared) {
        let Some(said) = wire::read(bytes) else { return };
        self.marks |= wire::is_marked(bytes);
        if let Said::Received = said {
            return self.received(shared);
        }
        if self.is_retry(bytes, now, shared) {
            return;
        }
        if self.place.is_some() && self.came_by != bytes {
            // "Until a second datagram from it proves the address": a copy of the first is as easily forged.
            self.prove(shared);
        }
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(Heard { datagram: bytes.to_vec(), at: now, answer: None });
        let heard = bytes.to_vec();
        match said {
            Said::Register { name, password } => {
                self.come(Entering::new(How::Register, name, password, heard), now, shared);
            }
            Said::Reg { name, password } => {
                self.come(Entering::new(How::Reg, name, password, heard), now, shared);
            }
            Said::SignOut { name } => self.sign_out(name, &heard, shared),
            Said::Send { to, text, from } => {
                let stored = format!("ack_on [Message received by {to}]");
                let text = text.to_owned();
                let posted = Posted::new(to, text, Answers { stored, nobody: None }, heard);
                self.message(from, posted, now, shared);
            }
            Said::Save { from, to, date, text } => {
                let stored = "ack_off [Messages received by the server and saved]".to_owned();
                let nobody = self.table.knows(to).then(|| format!("Error [Client {to} exits!!!]"));
                let text = text.to_owned();
                let mut posted = Posted::new(to, text, Answers { stored, nobody }, heard);
                posted.digest = Some(wire::digest(bytes));
                posted.sent_at = shared.desk.settings.read_local(wire::DATE, &date);
                self.message(from, posted, now, shared);
            }
            Said::SendAll { text, from } => self.send_all(from, text, heard, now, shared),
            Said::Received => {}
        }
    }

    /// "Ack again, do not deliver or store twice."
    fn is_retry(&mut self, bytes: &[u8], now: Moment, shared: &mut Shared) -> bool {
        self.recent.retain(|recent| {
            let marked = wire::is_marked(&recent.datagram);
            now <= recent.at + if marked { MARKED_WITHIN } else { RETRY_WITHIN }
        });
        let Some(recent) = self.recent.iter_mut().find(|recent| recent.datagram == bytes) else {
            return false;
        };
        recent.at = now;
        if let Some(answer) = recent.answer.clone() {
            shared.desk.send(self.link, answer);
        }
        true
    }

    pub(super) fn prove(&mut self, shared: &mut Shared) {
        if !std::mem::replace(&mut self.proved, true)
            && let Some(user) = self.place.as_ref().map(|place| place.seat.me)
        {
            self.arrived(user, shared);
        }
    }

    /// An answer to what was asked.
    pub(super) fn answered(
        &mut self,
        doing: Doing,
        result: Result<Given, Refused>,
        addresses: &Addresses,
        shared: &mut Shared,
    ) {
        match (doing, result) {
            (Doing::Enter(entering), Ok(Given::SignedIn(snapshot))) => {
                self.entered(Seat::new(&snapshot), &entering, shared);
            }
            (Doing::Enter(entering), Err(refused)) => self.not_entered(&entering, &refused, shared),
            (Doing::Table, Ok(Given::Answer(Answer::Members(members)))) => {
                self.tell_table(&members, addresses, shared);
            }
            (Doing::Table, _) => self.tabled(shared),
            (Doing::Find(posted), Ok(Given::Answer(Answer::User(profile)))) => {
                self.open(profile.id, posted, shared);
            }
            (Doing::Open(posted), Ok(Given::Reply(Reply::Conversation { conversation }))) => {
                self.post(conversation, posted, shared);
            }
            (Doing::Find(posted) | Doing::Open(posted), Err(refused)) => {
                self.not_posted(posted, &refused, shared);
            }
            (Doing::Post { answers, heard }, Ok(_)) => self.answer(&heard, &answers.stored, shared),
            // The wire has no word for a refusal, so there is silence, and the next copy is asked for again: a rate
            // or a full disk refuses for now only.
            (Doing::Post { heard, .. }, Err(_)) => self.forget(&heard),
            (Doing::Enter(_) | Doing::Find(_) | Doing::Open(_), Ok(_)) | (Doing::Leave, _) => {}
        }
    }
}

impl Place {
    pub(super) fn new(seat: Seat) -> Self {
        Self {
            seat,
            posts: 0,
            tabled: false,
            caught_up: false,
            has_messages: false,
            waited: 0,
            pauses: false,
            push: None,
        }
    }

    pub(super) fn me(&self) -> UserId {
        self.seat.me
    }
}
