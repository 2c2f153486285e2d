//! What a server did, call by call, as `strace` wrote it down.
//!
//! Invariant: the order of calls here is the order in which they began and ended. A call stands between the line on
//! which it began and the line on which it ended, and a tool that is told to delay a call delays its end.

use std::{
    collections::HashMap,
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    process::Command,
};

/// A server is run under this, with what is to be traced and injected.
pub(crate) fn strace(log: &Path, calls: &str, inject: &[&str]) -> Command {
    let there = Command::new("strace").arg("--version").output();
    assert!(
        there.is_ok_and(|output| output.status.success()),
        "this test needs strace: `apt-get install strace`, or `cargo xtask test --only tools`"
    );
    let mut command = Command::new("strace");
    // All threads, no chatter, names of files behind numbers, and whole texts in hexadecimal.
    command.args(["-f", "-qq", "-y", "-xx", "-s", "70000"]).arg("-o").arg(log);
    command.args(["-e", &format!("trace={calls}"), "-e", "signal=none"]);
    for inject in inject {
        command.args(["-e", &format!("inject={inject}")]);
    }
    command
}

/// One system call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// What the first argument, a number, stands for: a path or a socket.
    pub(crate) file: PathBuf,
    /// The bytes that it was given, all pieces together.
    pub(crate) data: Vec<u8>,
    /// The last argument, if it is a number: of `pwrite64`, the place in the file.
    pub(crate) last: Option<u64>,
    /// The lines on which it began and ended; `None`: it never did.
    pub(crate) began: usize,
    pub(crate) ended: Option<usize>,
    /// It ended with an error, perhaps an injected one.
    pub(crate) failed: bool,
}

impl Call {
    pub(crate) fn is_of(&self, name: &str) -> bool {
        self.file.file_name().is_some_and(|found| found == name)
    }

    pub(crate) fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fdatasync" | "fsync")
    }

    pub(crate) fn is_socket(&self) -> bool {
        let file = self.file.to_string_lossy();
        file.starts_with("socket:") || file.starts_with("TCP:")
    }

    pub(crate) fn holds(&self, text: &str) -> bool {
        self.data.windows(text.len()).any(|part| part == text.as_bytes())
    }
}

/// Reads what `strace` wrote.
pub(crate) fn read(log: &Path) -> Vec<Call> {
    parse(&std::fs::read_to_string(log).expect("strace wrote a log"))
}

fn parse(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if rest.starts_with("<... ") {
            if let Some(index) = open.remove(thread) {
                calls[index].ended = Some(number);
                calls[index].failed = has_failed(rest);
            }
        } else if let Some((name, arguments)) = rest.split_once('(') {
            let is_open = rest.ends_with("<unfinished ...>");
            let (file, data, last) = arguments_of(arguments);
            let ended = (!is_open).then_some(number);
            let failed = !is_open && has_failed(rest);
            if is_open {
                open.insert(thread, calls.len());
            }
            calls.push(Call { name: name.to_owned(), file, data, last, began: number, ended, failed });
        }
    }
    calls
}

fn has_failed(rest: &str) -> bool {
    rest.rsplit_once(" = ").is_none_or(|(_, result)| result.starts_with('-') || result.starts_with('?'))
}

/// The file, the bytes in all strings, and the last number before the closing bracket.
fn arguments_of(arguments: &str) -> (PathBuf, Vec<u8>, Option<u64>) {
    // With `-xx` these names are in hexadecimal, too.
    let file = arguments.split_once('<').and_then(|(_, rest)| Some(bytes(rest.split_once('>')?.0)));
    let file = file.map(|name| PathBuf::from(OsString::from_vec(name)));
    let mut data = Vec::new();
    let mut parts = arguments.split('"');
    let mut last = parts.next().unwrap_or_default();
    while let Some(string) = parts.next() {
        data.extend(bytes(string));
        last = parts.next().unwrap_or_default();
        assert!(!last.starts_with("..."), "strace cut a string off");
    }
    let last = last.split([')', '<']).next().unwrap_or_default();
    let number = last.rsplit_once(',').and_then(|(_, word)| word.trim().parse().ok());
    (file.unwrap_or_default(), data, number)
}

/// What `\x2f\x64` or `/d` stands for.
fn bytes(printed: &str) -> Vec<u8> {
    if !printed.starts_with("\\x") {
        return printed.as_bytes().to_vec();
    }
    let digits = printed.split("\\x").skip(1);
    digits.map(|digits| u8::from_str_radix(&digits[..2], 16).expect("two digits")).collect()
}

#[test]
fn a_trace_is_read_with_calls_that_overlap() {
    let calls = parse(concat!(
        "7  pwrite64(5<\\x2f\\x64\\x2f\\x61\\x2d\\x77\\x61\\x6c>, \"\\x61\\x62\", 2, 4096) = 2\n",
        "7  fdatasync(5</d/a-wal> <unfinished ...>\n",
        "8  writev(9<socket:[77]>, [{iov_base=\"\\x63\", iov_len=1}, {iov_base=\"\\x64\", iov_len=1}], 2) = 2\n",
        "7  <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)\n",
        "8  pwrite64(5</d/a-wal>, \"\\x65\", 1, 8 <unfinished ...>\n",
        "8  +++ killed by SIGKILL +++\n",
    ));
    let facts: Vec<String> = calls
        .iter()
        .map(|call| {
            let text = String::from_utf8_lossy(&call.data);
            format!("{} {text} {:?} {} {:?} {}", call.name, call.last, call.began, call.ended, call.failed)
        })
        .collect();
    let expected = [
        "pwrite64 ab Some(4096) 0 Some(0) false",
        "fdatasync  None 1 Some(3) true",
        "writev cd Some(2) 2 Some(2) false",
        "pwrite64 e Some(8) 4 None false",
    ];
    assert_eq!(facts, expected);
    assert!(calls[0].is_of("a-wal") && calls[2].is_socket() && calls[2].holds("cd"));
}
