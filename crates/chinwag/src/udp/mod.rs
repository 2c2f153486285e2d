//! The two programs of the acknowledged UDP chat: a client of its own, and its server, which is ours.
//!
//! The client's thinking stands in `client`; here are its socket, its clock, the terminal and the command line.

mod client;
mod words;

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket as Bound},
};

use jiff::Zoned;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Stdin},
    net::UdpSocket,
    time::{Instant, sleep_until},
};

use self::client::{Client, Input, Now, Output};
use crate::{
    exit::{Outcome, failed, usage},
    show,
};

/// "Ports 1024..65535."
const FIRST_PORT: u16 = 1_024;

const PROMPT: &str = ">>> ";
const WRONG_PORT: &str = "[try a different port #]";
const SERVER_USAGE: &str = "[Correct Usage: python3 server.py -s <port>]";
const CLIENT_USAGE: &str =
    "[Correct Usage: python3 client.py -c <name> <server-ip> <server-port> <client-port>]";
const USAGE: &str = "[Correct Usage: python3 ChatApp.py -s <port> / python3 ChatApp.py -c <name> <server-ip> <server-port> <client-port>]";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A server at this port.
    Server(u16),
    /// A client.
    Client {
        /// Of this name.
        name: String,
        /// Of this server.
        server: SocketAddr,
        /// At this port of its own.
        port: u16,
    },
}

/// Reads the words after `-s` or `-c`; the error is what the old programs say.
pub(crate) fn wanted(server: Option<&[String]>, client: Option<&[String]>) -> Result<Wanted, &'static str> {
    match (server, client) {
        (Some([port]), None) => Ok(Wanted::Server(self::port(port)?)),
        (Some(_), None) => Err(SERVER_USAGE),
        (None, Some([name, ip, server, own])) => {
            let ip = address(ip).ok_or(CLIENT_USAGE)?;
            let is_word = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '\0');
            let (server, own) = (self::port(server)?, self::port(own)?);
            let name = is_word.then(|| name.clone()).ok_or(CLIENT_USAGE)?;
            Ok(Wanted::Client { name, server: SocketAddr::new(ip, server), port: own })
        }
        (None, Some(_)) => Err(CLIENT_USAGE),
        _ => Err(USAGE),
    }
}

fn port(text: &str) -> Result<u16, &'static str> {
    text.parse().ok().filter(|port| *port >= FIRST_PORT).ok_or(WRONG_PORT)
}

/// An empty address and the one that means all of them are this machine.
fn address(text: &str) -> Option<IpAddr> {
    match text {
        "" => Some(Ipv4Addr::LOCALHOST.into()),
        text => {
            let ip: IpAddr = text.parse().ok()?;
            Some(if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip })
        }
    }
}

/// Runs the client until its input ends or the server does not respond.
pub(crate) async fn talk(name: &str, password: Option<String>, server: SocketAddr, port: u16) -> Outcome {
    let everywhere: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let Ok(socket) = Bound::bind((everywhere, port)) else { return usage(WRONG_PORT) };
    socket.set_nonblocking(true)?;
    let mut session = Session {
        socket: UdpSocket::from_std(socket)?,
        started: Instant::now(),
        client: Client::new(name, password, server),
        input: BufReader::new(tokio::io::stdin()),
        line: Vec::new(),
    };
    session.run().await
}

/// A client with its surroundings.
struct Session {
    socket: UdpSocket,
    started: Instant,
    client: Client,
    input: BufReader<Stdin>,
    /// What was typed of a line so far.
    line: Vec<u8>,
}

impl Session {
    async fn run(&mut self) -> Outcome {
        // As long as any datagram can be: what is cut would be taken for something else.
        let mut buffer = vec![0; usize::from(u16::MAX)];
        loop {
            while let Some(output) = self.client.poll() {
                if let Some(ended) = self.obey(output).await? {
                    return ended;
                }
            }
            let (takes, wake_at) = (self.client.takes_input(), self.client.wake_at());
            let wake = sleep_until(self.started + wake_at.unwrap_or_default());
            tokio::select! {
                // What is here counts before what is late.
                biased;
                received = self.socket.recv_from(&mut buffer) => {
                    // An error says that something sent earlier did not arrive: it is tried again, or given up.
                    if let Ok((count, from)) = received {
                        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                        let now = self.now();
                        self.client.handle(Input::Datagram { from, bytes: &buffer[..count] }, &now);
                    }
                }
                () = wake, if wake_at.is_some() => {
                    let now = self.now();
                    self.client.handle(Input::Woken, &now);
                }
                read = self.input.read_until(b'\n', &mut self.line), if takes => {
                    read?;
                    self.typed();
                }
            }
        }
    }

    fn typed(&mut self) {
        let (now, line) = (self.now(), std::mem::take(&mut self.line));
        if line.is_empty() {
            return self.client.handle(Input::Ended, &now);
        }
        self.client.handle(Input::Line(&String::from_utf8_lossy(&line)), &now);
    }

    fn now(&self) -> Now {
        let date = Zoned::now().strftime("%a %b %e %H:%M:%S %Y").to_string();
        Now { at: self.started.elapsed(), date }
    }

    /// Does what the client says; an outcome if it is the end.
    async fn obey(&self, output: Output) -> Outcome<Option<Outcome>> {
        match output {
            Output::Send { to, bytes } => {
                // What cannot be sent is as lost as on the way.
                let _ = self.socket.send_to(&bytes, to).await;
            }
            Output::Line(line) => write(&format!("{}\n{PROMPT}", show::one_line(&line)))?,
            Output::Prompt => write(PROMPT)?,
            Output::End { failed: is_failed } => {
                write("\n")?;
                return Ok(Some(if is_failed { failed("the server does not respond") } else { Ok(()) }));
            }
        }
        Ok(None)
    }
}

fn write(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect()
    }

    #[test]
    fn arguments_are_those_of_the_old_programs() {
        let client = |text: &str| wanted(None, Some(&words(text)));
        let at = |ip: &str, port| Wanted::Client {
            name: "x".to_owned(),
            server: SocketAddr::new(ip.parse().unwrap(), 5555),
            port,
        };
        assert_eq!(client("x 10.0.0.1 5555 6000"), Ok(at("10.0.0.1", 6000)));
        assert_eq!(client("x '' 5555 1024"), Ok(at("127.0.0.1", 1024)));
        assert_eq!(client("x 0.0.0.0 5555 65535"), Ok(at("127.0.0.1", 65535)));
        assert_eq!(wanted(Some(&words("5555")), None), Ok(Wanted::Server(5555)));
        for (text, said) in [
            ("x", CLIENT_USAGE),
            ("x here 5555 6000", CLIENT_USAGE),
            ("'' 10.0.0.1 5555 6000", CLIENT_USAGE),
            ("x 10.0.0.1 5555", CLIENT_USAGE),
            ("x 10.0.0.1 5555 6000 7000", CLIENT_USAGE),
            ("x 10.0.0.1 80 6000", WRONG_PORT),
            ("x 10.0.0.1 5555 1023", WRONG_PORT),
            ("x 10.0.0.1 5555 65536", WRONG_PORT),
            ("x 10.0.0.1 5555 -1", WRONG_PORT),
        ] {
            assert_eq!(client(text), Err(said), "{text}");
        }
        assert_eq!(wanted(Some(&words("1023")), None), Err(WRONG_PORT));
        assert_eq!(wanted(Some(&words("5555 6000")), None), Err(SERVER_USAGE));
        assert_eq!(wanted(None, None), Err(USAGE));
        assert_eq!(wanted(Some(&[]), None), Err(SERVER_USAGE));
    }
}
