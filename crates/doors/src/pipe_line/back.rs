//! The connection that the server dials back: where and when to dial, and what is pushed there, one thing at a
//! time, each until it is answered.
//!
//! "Must wait for each answer before the next push, otherwise messages run together."

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use chinwag_protocol::{ConversationId, Seq};

use super::{Alarm, Shared, wire::Letters};
use crate::{LinkId, Moment};

/// "Tried again after 5 s, 10 s, then every 30 s while connected."
const AGAIN_AFTER: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(30)];

/// "At most one dial at a time, 2 s apart, 5 tries."
const DIALS_APART: Duration = Duration::from_secs(2);
const DIALS_MAX: u32 = 5;

/// Of an answer; more than that is no answer.
const ANSWER_MAX: usize = 256;

/// Ports of well-known services, which nobody may make us knock at: "n >= 1024 only, never a privileged or
/// well-known service port".
const SERVICES: &[u16] = &[
    1080, 1433, 1521, 2049, 2181, 2375, 2376, 2379, 2380, 3128, 3260, 3306, 3389, 4369, 5000, 5222, 5432,
    5601, 5672, 5900, 5984, 5985, 5986, 6000, 6379, 6443, 7001, 8000, 8008, 8080, 8086, 8443, 8888, 9000,
    9042, 9090, 9092, 9200, 9300, 9418, 10250, 11211, 15672, 26257, 27017, 50070,
];

/// Something to push.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) line: String,
    /// What the client answers to it.
    pub(super) expects: String,
    /// What it has received by then.
    pub(super) delivers: Option<(ConversationId, Seq)>,
}

/// The way back to one client.
#[derive(Debug)]
pub(super) struct Back {
    main: LinkId,
    ip: IpAddr,
    /// The port that the client listens at, and how often it was dialled in vain.
    port: Option<(u16, u32)>,
    /// The port that is being dialled.
    dialling: Option<u16>,
    dialled_at: Option<Moment>,
    link: Option<LinkId>,
    /// What waits, the first of which is under way. They outlive the connection: the log tells each entry once.
    pushes: VecDeque<Push>,
    tries: usize,
    answer: Vec<u8>,
}

/// The port in a request, if it may be dialled.
pub(super) fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port >= 1_024 && !SERVICES.contains(port))
}

impl Back {
    pub(super) fn new(main: LinkId, ip: IpAddr) -> Self {
        Self {
            main,
            ip,
            port: None,
            dialling: None,
            dialled_at: None,
            link: None,
            pushes: VecDeque::new(),
            tries: 0,
            answer: Vec::new(),
        }
    }

    /// Whether something more can be pushed now.
    pub(super) fn is_ready(&self) -> bool {
        self.link.is_some() && self.pushes.is_empty()
    }

    /// Whether a client has something that it has not answered.
    pub(super) fn is_pushing(&self) -> bool {
        self.link.is_some() && !self.pushes.is_empty()
    }

    /// The client listens at this port, and at no other any more.
    pub(super) fn listens_at(&mut self, port: u16, letters: Letters, now: Moment, shared: &mut Shared) {
        self.leave(letters, shared);
        self.port = Some((port, 0));
        self.dial_when_due(now, shared);
    }

    /// Dials, or will when the last dial is long enough ago.
    fn dial_when_due(&mut self, now: Moment, shared: &mut Shared) {
        match self.dialled_at.map(|at| at + DIALS_APART).filter(|due| *due > now) {
            Some(due) => shared.desk.timers.set(self.main, Alarm::Dial, due),
            None => self.dial(now, shared),
        }
    }

    pub(super) fn dial(&mut self, now: Moment, shared: &mut Shared) {
        if self.dialling.is_some() || self.link.is_some() {
            return;
        }
        let Some((port, tries)) = &mut self.port else { return };
        *tries += 1;
        self.dialling = Some(*port);
        self.dialled_at = Some(now);
        shared.dial(self.main, SocketAddr::new(self.ip, *port));
    }

    /// "If the client's listener is not yet up the dial is refused: retry."
    pub(super) fn dial_failed(&mut self, now: Moment, shared: &mut Shared) {
        let dialled = self.dialling.take();
        if self.port.is_some_and(|(port, tries)| dialled != Some(port) || tries < DIALS_MAX) {
            self.dial_when_due(now, shared);
        }
    }

    /// The client's listener was reached. What it had not answered on an earlier connection it gets again.
    pub(super) fn opened(&mut self, link: LinkId, letters: Letters, now: Moment, shared: &mut Shared) {
        let dialled = self.dialling.take();
        if self.port.is_none_or(|(port, _)| dialled != Some(port)) {
            // Meanwhile it listens elsewhere, or not any more.
            shared.desk.send(link, letters.encode("OUT|OK"));
            shared.desk.close(link);
            return self.dial_when_due(now, shared);
        }
        self.link = Some(link);
        self.tries = 0;
        self.send(letters, now, shared);
    }

    /// The client's listener has gone; it may come back.
    pub(super) fn gone(&mut self, link: LinkId, now: Moment, shared: &mut Shared) {
        if self.link != Some(link) {
            return;
        }
        self.link = None;
        self.answer.clear();
        shared.desk.timers.clear(self.main, Alarm::Push);
        if self.port.is_some_and(|(_, tries)| tries < DIALS_MAX) {
            self.dial_when_due(now, shared);
        }
    }

    /// "On server shutdown send `OUT|OK` first: on a bare close the client's background thread loops."
    pub(super) fn leave(&mut self, letters: Letters, shared: &mut Shared) {
        if let Some(link) = self.link.take() {
            shared.desk.send(link, letters.encode("OUT|OK"));
            shared.desk.close(link);
        }
        self.answer.clear();
        self.port = None;
        shared.desk.timers.clear(self.main, Alarm::Push);
        shared.desk.timers.clear(self.main, Alarm::Dial);
    }

    /// Pushes this after what is being pushed.
    pub(super) fn push(&mut self, push: Push, letters: Letters, now: Moment, shared: &mut Shared) {
        self.pushes.push_back(push);
        if self.pushes.len() == 1 {
            self.tries = 0;
            self.send(letters, now, shared);
        }
    }

    /// Nobody is there any more to whom this could be pushed.
    pub(super) fn forget(&mut self) {
        self.pushes.clear();
    }

    /// Sends the first push, again or for the first time.
    pub(super) fn send(&mut self, letters: Letters, now: Moment, shared: &mut Shared) {
        let (Some(push), Some(link)) = (self.pushes.front(), self.link) else { return };
        shared.desk.send(link, letters.encode(&push.line));
        let after = AGAIN_AFTER[self.tries.min(AGAIN_AFTER.len() - 1)];
        self.tries += 1;
        shared.desk.timers.set(self.main, Alarm::Push, now + after);
    }

    /// Bytes of the client; the push that they answer, if they do.
    pub(super) fn answered(&mut self, bytes: &[u8], letters: Letters, shared: &mut Shared) -> Option<Push> {
        let Some(push) = self.pushes.front() else {
            // A late answer to a push that was sent twice, or one to nothing.
            self.answer.clear();
            return None;
        };
        self.answer.extend_from_slice(bytes);
        if !holds(&self.answer, &letters.encode(&push.expects)) {
            if self.answer.len() > ANSWER_MAX {
                self.answer.clear();
            }
            return None;
        }
        self.answer.clear();
        shared.desk.timers.clear(self.main, Alarm::Push);
        if let Some((_, tries)) = &mut self.port {
            // Whoever answers is there.
            *tries = 0;
        }
        self.pushes.pop_front()
    }

    /// The next push begins.
    pub(super) fn go_on(&mut self, letters: Letters, now: Moment, shared: &mut Shared) {
        self.tries = 0;
        self.send(letters, now, shared);
    }
}

/// Whether what came holds the answer. Late answers may stand before it; another number is no answer.
fn holds(answer: &[u8], expected: &[u8]) -> bool {
    answer.windows(expected.len()).enumerate().any(|(at, window)| {
        window == expected && !answer.get(at + expected.len()).is_some_and(u8::is_ascii_digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_of_no_service_is_dialled() {
        for good in ["1024", "10001", "65535"] {
            assert!(port(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "0",
            "22",
            "1023",
            "65536",
            "99999",
            "-1",
            "+10001",
            " 10001",
            "10001 ",
            "5432",
            "6379",
            "127.0.0.1|5432",
            "169.254.169.254|80",
            "[::1]|10001",
            "0x7f.1|10001",
            "here|10001",
            "0x2711",
            "1e4",
        ] {
            assert_eq!(port(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_answer_names_its_number_exactly() {
        for (answer, is_one) in [
            ("0|000010", true),
            ("0|0000100", false),
            ("0|00001", false),
            ("0|0000090|000010", true),
            ("0|000010\r\n", true),
            ("1|ERR", false),
            ("", false),
        ] {
            assert_eq!(holds(answer.as_bytes(), b"0|000010"), is_one, "{answer}");
        }
    }
}
