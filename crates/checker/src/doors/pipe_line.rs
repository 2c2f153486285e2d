//! `docs/doors/pipe_line.md`: fields between bars, and a connection that the server dials back. Both directions are
//! acknowledged: what was said by a number, what was pushed by saying its number.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
};

use rustix::net::sockopt;

use super::{
    Line, PASSWORD, PATIENCE, Reader, Said, Stream, Way, Wire, connect, ear::Ear, places::Place, strange,
};
use crate::history::{What, hash};

pub(super) struct PipeLine(pub(super) Way);

struct Open(Stream);

/// "One send is one message, and one `recv(1024)`." With a line feed the server need not wait for more.
fn ask(stream: &mut TcpStream, request: &str) -> io::Result<String> {
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut piece = [0; 1_024];
    match stream.read(&mut piece)? {
        0 => Err(strange("closed")),
        count => String::from_utf8(piece[..count].to_vec()).map_err(strange),
    }
}

/// Makes an account on this wire.
pub(super) fn sign_up(address: SocketAddr, name: &str) -> io::Result<()> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    match ask(&mut stream, &format!("ADD|{name}|{PASSWORD}|{name}@example"))? {
        answer if answer == "0|SUCCESS" => Ok(()),
        answer => Err(strange(answer)),
    }
}

fn listen(mut back: TcpStream, ear: &Ear) {
    let mut piece = [0; 2_048];
    while let Ok(count @ 1..) = back.read(&mut piece) {
        let push = String::from_utf8_lossy(&piece[..count]).into_owned();
        let fields: Vec<&str> = push.splitn(4, '|').collect();
        let answer = match fields[..] {
            ["R", sender, number, text] => {
                let (from, place) = match sender.split_once(" in #") {
                    Some((from, group)) => (from, ear.places.group(group)),
                    None => (sender, ear.places.between(&ear.own, sender)),
                };
                ear.told(place, from, text, number.parse().ok());
                format!("0|{number}")
            }
            ["OK", _from, _to, _number] => "0|OK".to_owned(),
            ["OUT", "OK"] => break,
            _ => {
                // Two pushes at once, or half of one: an old program could not take it apart either.
                ear.told(0, "", &push, None);
                break;
            }
        };
        if back.write_all(answer.as_bytes()).is_err() {
            break;
        }
    }
    ear.end();
}

impl Wire for PipeLine {
    fn name(&self) -> &'static str {
        "pipe_line"
    }

    fn open(&mut self, ear: &Arc<Ear>) -> io::Result<Box<dyn Line>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        // Linux bounds an accept by this.
        sockopt::set_socket_timeout(&listener, sockopt::Timeout::Recv, Some(PATIENCE))?;
        let mut stream = connect(self.0.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let answer = ask(&mut stream, &format!("PORT|{}", listener.local_addr()?.port()))?;
        if answer != "OK" {
            return Err(strange(answer));
        }
        let (back, _peer) = listener.accept()?;
        let own = ear.clone();
        let back = Reader::start(&back, move |back| listen(back, &own))?;
        let answer = ask(&mut stream, &format!("LOGIN|{}|{PASSWORD}", self.0.name))?;
        if answer != "0|OK" {
            return Err(strange(answer));
        }
        Ok(Box::new(Open(Stream { reader: back, stream, name: self.0.name.clone(), ear: ear.clone() })))
    }
}

impl Line for Open {
    fn say(&mut self, _call: u64, place: &Place, text: &str) -> Said {
        let to = match (place.other(&self.0.name), &place.handle) {
            (Some(other), _) => other.to_owned(),
            (None, handle) => format!("#{}", handle.as_deref().unwrap_or_default()),
        };
        let Ok(answer) = ask(&mut self.0.stream, &format!("MSG|{}|{to}|{text}", self.0.name)) else {
            self.0.ear.end();
            return Said::Unknown;
        };
        match answer.split_once('|') {
            Some(("0", number)) => {
                if let Ok(number) = number.parse() {
                    self.0.ear.note(What::Numbered { conversation: place.id, body_hash: hash(text), number });
                }
                Said::Done { seq: None }
            }
            Some(("1" | "2", why)) => Said::Refused(why.to_owned()),
            _ => Said::Unknown,
        }
    }

    fn leave(mut self: Box<Self>) -> bool {
        let before = self.0.ear.is_over();
        let said = ask(&mut self.0.stream, "QUIT|DISCONNECT");
        self.0.reader.wait();
        said.is_ok() && !before
    }
}
