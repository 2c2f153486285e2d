//! What the documents of the doors say about each wire, as far as a judge must know it.

/// Whether a program is told what its own user said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// Like anything else.
    Always,
    /// In groups, if it was said on another connection.
    Perhaps,
    Never,
}

/// What the numbers of a wire are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    None,
    /// One number is one message for ever, and within a conversation they grow.
    Grow,
    /// Those of the log.
    Seq,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) name: &'static str,
    pub(super) own: Own,
    /// It says a thing again until it is answered: the same one twice in a row is one.
    pub(super) repeats: bool,
    /// It has no acknowledgement of what was received, or not for all of it: what is on its way when a connection
    /// breaks may be lost to the program.
    pub(super) loses: bool,
    pub(super) numbers: Numbers,
    /// How long after something was told nobody may have noted it on disk.
    pub(super) noted_us: u64,
}

/// "In its last second", says the server, and one more for a busy machine.
const SERVER_US: u64 = 2_000_000;
/// The command line notes every five seconds where it is.
const COMMAND_LINE_US: u64 = 7_000_000;

const fn wire(name: &'static str, own: Own, repeats: bool, loses: bool, numbers: Numbers) -> Wire {
    Wire { name, own, repeats, loses, numbers, noted_us: SERVER_US }
}

const WIRES: &[Wire] = &[
    wire("tcp_json", Own::Always, false, true, Numbers::None),
    wire("tag_json", Own::Perhaps, false, true, Numbers::None),
    wire("pipe_line", Own::Never, true, false, Numbers::Grow),
    // "Waiting messages have no acknowledgement on this wire."
    wire("udp_ack", Own::Never, true, true, Numbers::None),
    wire("socket_io", Own::Always, false, false, Numbers::None),
    // `chinwag watch --since-last`, which is no door.
    Wire { noted_us: COMMAND_LINE_US, ..wire("command_line", Own::Always, false, false, Numbers::Seq) },
];

/// The wire of this name.
pub(super) fn named(name: &str) -> Option<&'static Wire> {
    WIRES.iter().find(|wire| wire.name == name)
}
