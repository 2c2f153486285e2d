//! Somebody at a terminal: `chinwag watch --since-last --json` runs as long as he is there, and each message is a
//! `chinwag send --json`. He has folders of his own, which outlive all of them.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc::channel},
    thread::JoinHandle,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Line, PASSWORD, PATIENCE, Said, Wire, ear::Ear, places::Place, strange};

pub(super) struct CommandLine {
    pub(super) program: PathBuf,
    pub(super) server: SocketAddr,
    /// Where settings and what was seen are kept.
    pub(super) home: PathBuf,
}

struct Open {
    watch: Child,
    reader: Option<JoinHandle<()>>,
    own: CommandLine,
    ear: Arc<Ear>,
}

impl CommandLine {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (variable, folder) in
            [("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state"), ("XDG_CACHE_HOME", "cache")]
        {
            command.env(variable, self.home.join(folder));
        }
        command.env("CHINWAG_SERVER", format!("http://{}", self.server));
        command.env("CHINWAG_PASSWORD", PASSWORD).env_remove("CHINWAG_ACCOUNT");
        command
    }

    /// Makes an account with the program.
    pub(super) fn sign_up(&self, name: &str) -> io::Result<()> {
        let output = self.command(&["register", name]).output()?;
        if output.status.success() { Ok(()) } else { Err(strange(String::from_utf8_lossy(&output.stderr))) }
    }

    /// What `chinwag read --json` prints of a conversation: numbers and texts, oldest first.
    pub(super) fn read(&self, conversation: u32, after: u32) -> io::Result<Vec<(u32, String)>> {
        let (place, after) = (format!("id:{conversation}"), after.to_string());
        let output =
            self.command(&["read", &place, "--after", &after, "--limit", "200", "--json"]).output()?;
        if !output.status.success() {
            return Err(strange(String::from_utf8_lossy(&output.stderr)));
        }
        let text = String::from_utf8(output.stdout).map_err(strange)?;
        text.lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .map(|line| line.map(|line| seen(&line)))
            .collect()
    }
}

fn seen(line: &Value) -> (u32, String) {
    let seq = line["seq"].as_u64().and_then(|seq| seq.try_into().ok()).unwrap_or_default();
    (seq, line["text"].as_str().unwrap_or_default().to_owned())
}

fn listen(output: impl Read, ear: &Ear) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // Half a line: it was killed while it wrote.
        let Ok(line) = serde_json::from_str::<Value>(&line) else { break };
        let place = line["conversation"].as_u64().and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
        let (seq, text) = seen(&line);
        ear.told(place, line["handle"].as_str().unwrap_or_default(), &text, Some(seq.into()));
    }
    ear.end();
}

impl Wire for CommandLine {
    fn name(&self) -> &'static str {
        "command_line"
    }

    fn named(&self, _call: u64, _place: &Place) -> bool {
        true
    }

    fn open(&mut self, ear: &Arc<Ear>) -> io::Result<Box<dyn Line>> {
        let mut watch = self.command(&["watch", "--since-last", "--json"]).spawn()?;
        let (output, errors) = (watch.stdout.take(), watch.stderr.take());
        let (tell, notes) = channel();
        let own = ear.clone();
        let reader = output.map(|output| std::thread::spawn(move || listen(output, &own)));
        let own = Self { program: self.program.clone(), server: self.server, home: self.home.clone() };
        let open = Box::new(Open { watch, reader, own, ear: ear.clone() });
        if let Some(errors) = errors {
            // Read to the end: a full pipe would stop it.
            std::thread::spawn(move || {
                for line in BufReader::new(errors).lines().map_while(Result::ok) {
                    let _ = tell.send(line);
                }
            });
        }
        // "Connected. Ctrl-C ends."
        loop {
            let note = notes.recv_timeout(PATIENCE).map_err(strange)?;
            if note.starts_with("Connected") {
                return Ok(open);
            }
        }
    }
}

impl Line for Open {
    fn say(&mut self, _call: u64, place: &Place, text: &str) -> Said {
        let to = format!("id:{}", place.id);
        let sent = self.own.command(&["send", "--to", &to, "--wait", "20", "--json", text]).output();
        let Ok(sent) = sent else { return Said::Unknown };
        let line: Value = serde_json::from_slice(&sent.stdout).unwrap_or_default();
        match line["seq"].as_u64().and_then(|seq| seq.try_into().ok()) {
            Some(seq) if sent.status.success() => Said::Done { seq: Some(seq) },
            // It says that it took the message back, but whether the server has it nobody knows.
            _ => Said::Unknown,
        }
    }

    fn leave(mut self: Box<Self>) -> bool {
        let before = self.ear.is_over();
        let pid = i32::try_from(self.watch.id()).ok().and_then(Pid::from_raw);
        let said = pid.is_some_and(|pid| kill_process(pid, Signal::INT).is_ok());
        if let Some(reader) = self.reader.take().filter(|_| said) {
            let _ = reader.join();
        }
        let ended = self.watch.wait();
        said && !before && ended.is_ok_and(|status| status.success())
    }

    fn is_over(&mut self) -> bool {
        !matches!(self.watch.try_wait(), Ok(None))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.watch.kill();
        let _ = self.watch.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
