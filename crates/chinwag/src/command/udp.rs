//! `chinwag udp`: the client, or a server with the door for it.

use std::net::Ipv4Addr;

use chinwag_server::config::{self, Flags};

use super::{password, serve, wait};
use crate::{
    args::Udp,
    exit::{Outcome, failed, usage},
    show::{self, Out},
    udp::{self, Wanted},
};

/// The door that speaks this wire.
const DOOR: &str = "udp_ack";

/// Runs either program.
pub(crate) fn run(out: &Out, args: &Udp) -> Outcome {
    match udp::wanted(args.server.as_deref(), args.client.as_deref()) {
        Ok(Wanted::Server(port)) => server(out, args, port),
        Ok(Wanted::Client { name, server, port }) => {
            let password = match args.password.password_stdin {
                true => Some(password::read(&args.password, "", false)?),
                false => None,
            };
            if password.as_ref().is_some_and(|password| password.contains(char::is_whitespace)) {
                return failed("this wire cannot carry a password with spaces; make an app password");
            }
            wait(udp::talk(&name, password, server, port))
        }
        Err(said) => usage(said),
    }
}

/// The server is the usual one, with one door.
fn server(out: &Out, args: &Udp, port: u16) -> Outcome {
    let ip = if args.i_understand_plaintext { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    let flags = Flags {
        data: args.data.clone(),
        listen: args.listen.map(|address| address.to_string()),
        plaintext: args.i_understand_plaintext,
        doors: vec![format!("{DOOR}={ip}:{port}")],
        ..Flags::default()
    };
    let mut loaded = match config::load(&flags, std::env::vars()) {
        Ok(loaded) => loaded,
        Err(error) => return failed(error.to_string()),
    };
    if let Some(door) = loaded.config.doors.get_mut(DOOR) {
        door.open = true;
    }
    serve::serve(loaded, |greeting| {
        show::note(greeting);
        out.line("server is ready")
    })
}
