//! `chinwag doctor`: is this machine fit for a server, and is the server well?

use std::{
    fs::{self, File},
    io::Write,
    net::TcpListener,
    path::Path,
    time::Instant,
};

use chinwag_client::Http;
use serde_json::json;

use super::session;
use crate::{
    args::{Doctor, Global},
    exit::{Outcome, failed},
    show::{self, Out},
};

/// A finding.
enum Mark {
    Good,
    Poor,
    Bad,
}

struct Finding {
    what: &'static str,
    mark: Mark,
    found: String,
}

/// Writes that are timed on the disk.
const WRITES: u32 = 20;
const OPEN_FILES_WANTED: u64 = 4_096;
const FREE_WANTED: u64 = 1 << 30;

/// `chinwag doctor`.
pub(crate) async fn run(global: &Global, out: &Out, args: Doctor) -> Outcome {
    let server = global.server.clone().map_or_else(|| args.listen.to_string().parse().map_err(|_| ()), Ok);
    let server = match server {
        Ok(server) => server,
        Err(()) => session::server(global)?,
    };
    let answers = Http { server: server.clone(), token: None }.server_info().await;
    let findings = [
        disk(&args.data),
        space(&args.data),
        files(&args.data),
        open_files(),
        configuration(&args.data),
        match &answers {
            Ok(info) => {
                let found = format!("{server} answers: {} {}", info.name, info.version);
                Finding { what: "server", mark: Mark::Good, found }
            }
            Err(error) => Finding { what: "server", mark: Mark::Poor, found: error.to_string() },
        },
        port(&args, answers.is_ok()),
    ];
    for Finding { what, mark, found } in &findings {
        let (sign, word) = match mark {
            Mark::Good => ("✓", "good"),
            Mark::Poor => ("!", "poor"),
            Mark::Bad => ("✗", "bad"),
        };
        out.either(
            || json!({"check": what, "result": word, "found": found}),
            || format!("{sign} {what:<14} {}", crate::show::one_line(found)),
        )?;
    }
    match findings.iter().any(|finding| matches!(finding.mark, Mark::Bad)) {
        true => failed("at least one check is bad"),
        false => Ok(()),
    }
}

/// How long the disk takes to keep a small write for good, the median of some.
pub(crate) fn fdatasync_ms(folder: &Path) -> std::io::Result<f64> {
    let file = tempfile::NamedTempFile::new_in(folder)?;
    let mut handle: &File = file.as_file();
    let mut times = Vec::new();
    for _ in 0..WRITES {
        handle.write_all(&[7; 4096])?;
        let began = Instant::now();
        handle.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2].as_secs_f64() * 1000.0)
}

/// The folder, or the nearest above it that is there.
fn existing(folder: &Path) -> &Path {
    let mut folder = folder;
    while !folder.exists() {
        folder = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
    }
    folder
}

fn disk(data: &Path) -> Finding {
    let what = "disk";
    match fdatasync_ms(existing(data)) {
        Ok(ms) => {
            let mark = if ms < 20.0 { Mark::Good } else { Mark::Poor };
            Finding {
                what,
                mark,
                found: format!("a write is safe after {ms:.2} ms (fdatasync, median of {WRITES})"),
            }
        }
        Err(error) => {
            Finding { what, mark: Mark::Bad, found: format!("cannot write to {}: {error}", data.display()) }
        }
    }
}

fn space(data: &Path) -> Finding {
    let what = "space";
    match rustix::fs::statvfs(existing(data)) {
        Ok(stat) => {
            let free = stat.f_bavail * stat.f_frsize;
            let mark = match free {
                0..0x400_0000 => Mark::Bad,
                0x400_0000..FREE_WANTED => Mark::Poor,
                _ => Mark::Good,
            };
            Finding { what, mark, found: format!("{:.1} GiB free", free as f64 / f64::from(1 << 30)) }
        }
        Err(error) => {
            Finding { what, mark: Mark::Bad, found: format!("cannot ask for the free space: {error}") }
        }
    }
}

/// How much of the disk is taken, and by what.
fn files(data: &Path) -> Finding {
    let what = "files";
    match chinwag_server::files_used(data) {
        Ok((bytes, count)) => {
            let messages: u64 = ["chinwag.db", "chinwag.db-wal", "search.db"]
                .iter()
                .filter_map(|name| Some(fs::metadata(data.join(name)).ok()?.len()))
                .sum();
            let found =
                format!("{count} files take {}, messages {}", show::size(bytes), show::size(messages));
            Finding { what, mark: Mark::Good, found }
        }
        Err(error) => Finding { what, mark: Mark::Bad, found: error.to_string() },
    }
}

/// The soft and the hard limit of open files.
pub(crate) fn open_files_limit() -> Option<(u64, u64)> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
    Some((words.next()?, words.next()?))
}

fn open_files() -> Finding {
    let what = "open files";
    match open_files_limit() {
        Some((_, hard)) if hard < OPEN_FILES_WANTED => Finding {
            what,
            mark: Mark::Poor,
            found: format!("at most {hard}: each connection needs one (raise LimitNOFILE)"),
        },
        Some((soft, hard)) => Finding { what, mark: Mark::Good, found: format!("{soft}, up to {hard}") },
        None => Finding { what, mark: Mark::Poor, found: "the limit is not known".to_owned() },
    }
}

fn configuration(data: &Path) -> Finding {
    let what = "configuration";
    let file = data.join("chinwag.toml");
    match fs::read_to_string(&file) {
        Ok(text) => match text.parse::<toml::Table>() {
            Ok(_) => Finding {
                what,
                mark: Mark::Good,
                found: format!("{} can be read; see serve --print-config", file.display()),
            },
            Err(error) => {
                Finding { what, mark: Mark::Bad, found: format!("{}: {}", file.display(), error.message()) }
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding { what, mark: Mark::Good, found: "no file: defaults".to_owned() }
        }
        Err(error) => Finding { what, mark: Mark::Bad, found: format!("{}: {error}", file.display()) },
    }
}

fn port(args: &Doctor, is_answering: bool) -> Finding {
    let what = "port";
    let listen = args.listen;
    match TcpListener::bind(listen) {
        Ok(_) => Finding { what, mark: Mark::Good, found: format!("{listen} is free") },
        Err(_) if is_answering => {
            Finding { what, mark: Mark::Good, found: format!("{listen} is in use, by a Chinwag server") }
        }
        Err(error) => Finding { what, mark: Mark::Bad, found: format!("{listen} cannot be used: {error}") },
    }
}
