//! The command line as somebody in a test: `chinwag send` says things, `chinwag watch` hears them.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command as Process, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde_json::Value;

use super::PASSWORD;
use crate::support::BINARY;

/// The binary with these arguments, at home in a folder of its own.
pub(crate) fn command_line(home: &Path, server: SocketAddr, arguments: &[&str]) -> Process {
    at_home(Process::new(BINARY), home, server, arguments)
}

/// The same, where the binary is started by something else.
pub(crate) fn at_home(mut process: Process, home: &Path, server: SocketAddr, arguments: &[&str]) -> Process {
    process.args(arguments);
    for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
        process.env(variable, home);
    }
    process.env("CHINWAG_SERVER", format!("http://{server}")).env("CHINWAG_PASSWORD", PASSWORD);
    process.env_remove("CHINWAG_ACCOUNT").stdin(Stdio::null());
    process
}

/// What a command prints that has to succeed.
pub(crate) fn printed(mut command: Process) -> String {
    let output = command.output().expect("the binary starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Somebody at a terminal.
pub(crate) struct CommandLine {
    home: PathBuf,
    server: SocketAddr,
    /// A process of `send --lines` for each whom he talks to.
    sending: BTreeMap<String, (Child, ChildStdin)>,
    watch: Child,
    /// The objects that `watch` prints.
    pub(crate) heard: Receiver<Value>,
}

impl CommandLine {
    /// Signs in to an account that is there, and follows what happens.
    pub(crate) fn sign_in(home: &Path, server: SocketAddr, name: &str) -> Self {
        printed(command_line(home, server, &["login", name]));
        let mut watch = command_line(home, server, &["watch", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (tell, heard) = channel();
        let lines = BufReader::new(watch.stdout.take().expect("piped"));
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let _ = tell.send(serde_json::from_str(&line).expect("an object"));
            }
        });
        Self { home: home.to_owned(), server, sending: BTreeMap::new(), watch, heard }
    }

    /// Says something, which is on its way then; a text of several lines is taken when this ends.
    pub(crate) fn chat(&mut self, to: &str, text: &str) {
        if text.contains('\n') {
            self.taken(to);
            printed(command_line(&self.home, self.server, &["send", "--to", to, text]));
            return;
        }
        let (home, server) = (&self.home, self.server);
        let (_, input) = self.sending.entry(to.to_owned()).or_insert_with(|| {
            let mut child = command_line(home, server, &["send", "--to", to, "--lines"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .expect("the binary starts");
            let input = child.stdin.take().expect("piped");
            (child, input)
        });
        writeln!(input, "{text}").expect("it reads");
    }

    /// Waits until the server has taken all that was said to somebody.
    pub(crate) fn taken(&mut self, to: &str) {
        if let Some((mut child, input)) = self.sending.remove(to) {
            drop(input);
            assert!(child.wait().expect("it ends").success(), "not everything to {to} was taken");
        }
    }
}

impl Drop for CommandLine {
    fn drop(&mut self) {
        for (child, _) in self.sending.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = self.watch.kill();
        let _ = self.watch.wait();
    }
}
