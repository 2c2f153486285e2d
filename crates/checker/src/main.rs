//! `chinwag-checker`: runs a workload against a server, or judges a history that was kept.
//!
//! While it runs, lines on standard input say what is done to the server: `crash` when it was killed and before it
//! is started again, `backup` before one is taken, `restored` when the store was taken back to it, `heal` when it is
//! well for good. Then the clients catch up, the history is judged, and the exit code says what was found:
//! 0 nothing, 1 a broken promise, 2 a wrong command line, 3 no verdict.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to the person who started it")]

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, BufWriter},
    process::ExitCode,
    time::Duration,
};

use chinwag_checker::{
    Record,
    doors::{self, run::Doors},
    history, judge, random,
    workload::{Plan, Workload},
};

const USAGE: &str = "\
usage: chinwag-checker run --address HOST:PORT [--seed N] [--seconds N] [--users N] [--devices N]
                           [--conversations N] [--rate N] [--within SECONDS]
                           [--history FILE]
                           [--door NAME=HOST:PORT]... [--program PATH] [--folder DIR] [--each N]
       chinwag-checker judge FILE

run    makes users on that server and keeps them busy. With --seconds, it ends by itself;
       else it reads lines from standard input: `crash` (the server was killed), `backup` (one is
       about to be taken), `restored` (the server was killed and has the store of the last
       backup) and `heal` (it is well again), after which it judges and ends.
       --within: how soon everything has to arrive when all is well again (else 5 seconds).
       With all five doors named: somebody on each wire, with a web page's connection, with a
       native one and at the command line (--program: chinwag; --folder: where he keeps his
       things), so many of each; then --users, --devices and --conversations mean nothing.
judge  judges a history once more.
";

/// In a long run the wire that tells what was missed a message a second must be able to keep up.
const SELDOM_PER_MILLE: u64 = 60;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match (arguments.next().as_deref(), arguments.collect::<Vec<_>>()) {
        (Some("run"), rest) => run(&rest),
        (Some("judge"), rest) if rest.len() == 1 => again(&rest[0]),
        _ => Err(None),
    };
    done.unwrap_or_else(|error| match error {
        Some(error) => {
            eprintln!("chinwag-checker: {error}");
            ExitCode::from(3)
        }
        None => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    })
}

type Done = Result<ExitCode, Option<String>>;

fn run(arguments: &[String]) -> Done {
    let mut plan = Plan {
        address: ([127, 0, 0, 1], 8008).into(),
        seed: random::seed(),
        users: 6,
        devices: 2,
        conversations: 6,
        actions_per_s: 400,
    };
    let (mut seconds, mut file, mut within) = (None, None, judge::IN_TIME);
    let (mut doors, mut program, mut folder, mut each) = (BTreeMap::new(), None, None, 1);
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return Err(None) };
        let number = || value.parse::<u32>().map_err(|_| None);
        match name.as_str() {
            "--address" => plan.address = value.parse().map_err(|_| None)?,
            "--seed" => plan.seed = value.parse().map_err(|_| None)?,
            "--users" => plan.users = number()?,
            "--devices" => plan.devices = number()?,
            "--conversations" => plan.conversations = number()?,
            "--rate" => plan.actions_per_s = number()?,
            "--seconds" => seconds = Some(number()?),
            "--within" => within = Duration::from_secs(number()?.into()),
            "--history" => file = Some(value),
            "--door" => {
                let (name, address) = value.split_once('=').ok_or(None)?;
                doors.insert(name, address.parse().map_err(|_| None)?);
            }
            "--program" => program = Some(value),
            "--folder" => folder = Some(value),
            "--each" => each = number()?,
            _ => return Err(None),
        }
    }
    println!("seed {}", plan.seed);
    let records = match (program, folder) {
        (Some(program), Some(folder)) => {
            let door = |name| doors.get(name).copied().ok_or(None);
            let plan = doors::run::Plan {
                address: plan.address,
                doors: Doors {
                    tcp_json: door("tcp_json")?,
                    tag_json: door("tag_json")?,
                    pipe_line: door("pipe_line")?,
                    udp_ack: door("udp_ack")?,
                    socket_io: door("socket_io")?,
                },
                program: program.into(),
                folder: folder.into(),
                seed: plan.seed,
                each,
                actions_per_s: plan.actions_per_s,
                seldom_per_mille: SELDOM_PER_MILLE,
            };
            let all =
                doors::run::Run::start(&plan).map_err(|error| Some(format!("cannot start: {error}")))?;
            listen(all.workload(), seconds)?;
            all.heal().map_err(|error| Some(format!("cannot read the end: {error}")))?
        }
        (None, None) if doors.is_empty() => {
            let all = Workload::start(&plan).map_err(|refused| Some(format!("cannot start: {refused}")))?;
            listen(&all, seconds)?;
            all.heal().map_err(|refused| Some(format!("cannot read the end: {refused}")))?
        }
        _ => return Err(None),
    };
    if let Some(file) = file {
        let kept = File::create(file).and_then(|opened| history::write(&records, BufWriter::new(opened)));
        kept.map_err(|error| Some(format!("cannot write {file}: {error}")))?;
    }
    Ok(verdict(&records, within))
}

/// Takes down what is done to the server, until it is well for good.
fn listen(workload: &Workload, seconds: Option<u32>) -> Result<(), Option<String>> {
    println!("running");
    if let Some(seconds) = seconds {
        std::thread::sleep(Duration::from_secs(seconds.into()));
        return Ok(());
    }
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.trim() {
            "crash" => workload.crash(),
            "backup" => workload.backup(),
            "restored" => workload.restored(),
            "heal" => break,
            _ => return Err(None),
        }
        println!("noted");
    }
    Ok(())
}

fn again(file: &str) -> Done {
    let records = File::open(file).and_then(|opened| history::read(BufReader::new(opened)));
    Ok(verdict(&records.map_err(|error| Some(format!("cannot read {file}: {error}")))?, judge::IN_TIME))
}

fn verdict(records: &[Record], within: Duration) -> ExitCode {
    let report = judge::judge_within(records, within);
    print!("{}", report.explain(records));
    println!("{report}");
    if let Some((median, worst)) = history::latencies_ms(records) {
        println!("answers to messages: half within {median} ms, 99 in 100 within {worst} ms");
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
