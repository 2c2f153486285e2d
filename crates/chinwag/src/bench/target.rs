//! The server under test: one of our own, or one that is there already.

use std::{
    collections::BTreeMap,
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chinwag_client::{Address, Http};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    sync::oneshot,
    time::timeout,
};

use super::{machine, report::Report};
use crate::{
    args::{BenchCommon, Global},
    exit::{Outcome, Stop, failed},
    show::note,
};

const READY_WITHIN: Duration = Duration::from_secs(30);
const END_WITHIN: Duration = Duration::from_secs(12);
/// So many of the server's last lines are kept, to show them if something fails.
const LINES_KEPT: usize = 20;

/// Rates of `[limits]`; a load test would measure them and not the server.
const RATES: &[&str] = &[
    "messages_per_account",
    "messages_per_conversation",
    "commands_per_account",
    "frames_per_connection",
    "pings_per_connection",
    "resumes_per_session",
    "searches_per_account",
    "queries_per_account",
    "sign_ins_per_address",
    "sign_ins_per_network",
    "guests_per_address",
    "registrations_per_address",
    "failures_per_address",
    "strangers_per_account",
];
/// Counts of `[limits]`.
const COUNTS: &[&str] = &[
    "connections_per_session",
    "connections_per_user",
    "connections_per_address",
    "connections_per_private_address",
];

/// A server to be measured.
pub(super) struct Target {
    pub(super) server: Address,
    /// Where accounts are kept between runs; only of a server of our own.
    pub(super) data: Option<PathBuf>,
    pub(super) pid: Option<u32>,
    metrics: Option<Address>,
    /// Where its doors listen.
    doors: BTreeMap<String, SocketAddr>,
    fdatasync_ms: Option<f64>,
    own: Option<Own>,
}

struct Own {
    child: Child,
    lines: Lines,
    _folder: Option<TempDir>,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Target {
    /// A server with these doors open.
    pub(super) async fn prepare(global: &Global, common: &BenchCommon, doors: &[&str]) -> Outcome<Self> {
        if let Some(server) = &global.server {
            if !doors.is_empty() {
                return failed("the doors are only measured at a server of the load test's own");
            }
            let target = Self {
                server: server.clone(),
                data: None,
                pid: common.pid,
                metrics: None,
                doors: BTreeMap::new(),
                fdatasync_ms: None,
                own: None,
            };
            Http { server: server.clone(), token: None }.server_info().await?;
            note(&format!("Measuring {server}; its own [limits] apply."));
            return Ok(target);
        }
        let (data, folder) = match &common.data {
            Some(data) => (data.clone(), None),
            None => {
                let folder = tempfile::Builder::new().prefix("chinwag-bench-").tempdir()?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        fs::create_dir_all(&data)?;
        let fdatasync_ms = Some(machine::fdatasync_ms(&data)?);
        let config = data.join("bench.toml");
        let metrics = free_address()?;
        let settings = format!("metrics = \"127.0.0.1:{}\"\n{}{}", metrics.port, lifted(), opened(doors));
        fs::write(&config, settings)?;
        let (child, lines, server, doors) = start(&data, &config, doors).await?;
        let pid = child.id();
        let own = Some(Own { child, lines, _folder: folder });
        Ok(Self { server, data: Some(data), pid, metrics: Some(metrics), doors, fdatasync_ms, own })
    }

    /// The same without the process, for tasks of their own.
    pub(super) fn for_tasks(&self) -> Self {
        Self {
            server: self.server.clone(),
            data: None,
            pid: self.pid,
            metrics: None,
            doors: BTreeMap::new(),
            fdatasync_ms: None,
            own: None,
        }
    }

    /// Where a door listens.
    pub(super) fn door(&self, name: &str) -> Outcome<SocketAddr> {
        let found = self.doors.get(name).copied();
        found.map_or_else(|| failed(format!("the server did not say where {name} listens")), Ok)
    }

    /// What a figure of `/metrics` stands at; `None` for a server that is not our own.
    pub(super) async fn counted(&self, name: &str) -> Outcome<Option<u64>> {
        let Some(address) = &self.metrics else { return Ok(None) };
        let mut stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", address.authority());
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(Some(count_in(&text, name)))
    }

    /// Adds what a reader needs in order to compare the figures.
    pub(super) fn describe(&self, report: &mut Report) {
        report.machine(self.fdatasync_ms);
        if self.own.is_some() {
            let lifted: Vec<String> = RATES.iter().chain(COUNTS).map(ToString::to_string).collect();
            report.list("limits_lifted", lifted);
        }
    }

    /// Ends the server if it is our own, and tells what it said last.
    pub(super) async fn end(self) -> String {
        let Some(mut own) = self.own else { return String::new() };
        let asked = own.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = asked {
            // It may have ended by itself, which the wait below finds out.
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        if timeout(END_WITHIN, own.child.wait()).await.is_err() {
            note("The server did not end within 12 seconds and was killed.");
            let _ = own.child.kill().await;
        }
        own.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

fn lifted() -> String {
    let rates = RATES.iter().map(|name| format!("{name} = {{ per_s = 1000000000.0, burst = 4294967295 }}\n"));
    let counts = COUNTS.iter().map(|name| format!("{name} = 4294967295\n"));
    format!(
        "# Written by `chinwag bench`: the rates are lifted for a load test.\n[limits]\n{}",
        rates.chain(counts).collect::<String>()
    )
}

/// The configuration of doors, each on a port that the system chooses.
fn opened(doors: &[&str]) -> String {
    let door =
        |name: &&str| format!("[doors.{name}]\nlisten = \"127.0.0.1:0\"\nopen = true\nmode = \"relay\"\n");
    doors.iter().map(door).collect()
}

/// An address of this machine that nobody listens on now.
fn free_address() -> Outcome<Address> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    format!("http://127.0.0.1:{port}").parse().or_else(|_| failed("this machine has no free port"))
}

/// The value of a figure in a text for Prometheus; none was counted yet if it is not there.
fn count_in(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

async fn start(
    data: &Path,
    config: &Path,
    doors: &[&str],
) -> Outcome<(Child, Lines, Address, BTreeMap<String, SocketAddr>)> {
    let mut child = Command::new(env::current_exe()?)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .arg("--data")
        .arg(data)
        .arg("--config")
        .arg(config)
        .env_remove("CHINWAG_LISTEN")
        .env_remove("CHINWAG_DATA")
        .env_remove("CHINWAG_SERVER")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let lines = Lines::default();
    let (found, address) = oneshot::channel();
    let places = Arc::<Mutex<BTreeMap<String, SocketAddr>>>::default();
    let wanted: Vec<String> = doors.iter().map(ToString::to_string).collect();
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    if let (Some(output), Some(errors)) = (output, errors) {
        let found = Found { address: Some(found), server: None, doors: wanted, places: Arc::clone(&places) };
        tokio::spawn(listen(output, lines.clone(), Some(found)));
        tokio::spawn(listen(errors, lines.clone(), None));
    }
    let ready = async {
        let Ok(address) = address.await else {
            return failed("the server ended before it was ready");
        };
        let http = Http { server: address, token: None };
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        loop {
            pause.tick().await;
            match http.server_info().await.map_err(Stop::from) {
                Ok(_) => return Ok(http.server),
                Err(Stop::Unreachable(_)) => {}
                Err(stop) => return Err(stop),
            }
        }
    };
    match timeout(READY_WITHIN, ready).await {
        Ok(Ok(server)) => {
            let doors = std::mem::take(&mut *places.lock().unwrap_or_else(PoisonError::into_inner));
            Ok((child, lines, server, doors))
        }
        Ok(Err(stop)) => {
            note(&lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n"));
            Err(stop)
        }
        Err(_) => failed("the server was not ready within 30 seconds"),
    }
}

/// What is looked for in the greeting.
struct Found {
    address: Option<oneshot::Sender<Address>>,
    server: Option<Address>,
    doors: Vec<String>,
    places: Arc<Mutex<BTreeMap<String, SocketAddr>>>,
}

impl Found {
    fn look(&mut self, line: &str) {
        for name in &self.doors {
            if let Some(place) = door_in(line, name) {
                self.places.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), place);
            }
        }
        if self.server.is_none() {
            self.server = address_in(line);
        }
        // The greeting tells the doors after the address; this is its last line.
        if line.starts_with("Ready")
            && let (Some(address), Some(tell)) = (self.server.clone(), self.address.take())
        {
            // Nobody waits any more once the patience is over.
            let _ = tell.send(address);
        }
    }
}

/// Keeps the last lines, and looks for addresses in them.
async fn listen(from: impl AsyncRead + Unpin, kept: Lines, mut found: Option<Found>) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(found) = &mut found {
            found.look(&line);
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == LINES_KEPT {
            kept.remove(0);
        }
        kept.push(line);
    }
}

fn address_in(line: &str) -> Option<Address> {
    let from = line.find("http://127.0.0.1:")?;
    let word = line[from..].split(|c: char| c.is_whitespace() || c == '"').next()?;
    word.parse().ok().filter(|address: &Address| address.port != 0)
}

/// Where a door listens, if this line of the greeting says so.
fn door_in(line: &str, name: &str) -> Option<SocketAddr> {
    let mut words = line.split_whitespace().skip_while(|word| *word != name).skip(1);
    words.next()?.trim_end_matches([':', ',']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_found_in_what_the_server_prints() {
        let line = "  Doors          tcp_json   127.0.0.1:4711: passwords and messages unencrypted";
        assert_eq!(door_in(line, "tcp_json"), "127.0.0.1:4711".parse().ok());
        assert_eq!(door_in(line, "tag_json"), None);
        let table: toml::Table = (lifted() + &opened(&["tcp_json", "udp_ack"])).parse().unwrap();
        assert_eq!(table["doors"]["udp_ack"]["open"].as_bool(), Some(true));
    }

    #[test]
    fn the_address_is_found_in_what_the_server_prints() {
        let found = |line| address_in(line).map(|address| address.port);
        assert_eq!(found("  Open http://127.0.0.1:4711 in a browser"), Some(4711));
        assert_eq!(found("http://127.0.0.1:4711/#/setup/abc"), Some(4711));
        assert_eq!(found("listening"), None);
        assert_eq!(found("http://127.0.0.1:0"), None);
    }

    #[test]
    fn a_figure_is_found_by_its_whole_name() {
        let text = "HTTP/1.1 200 OK\r\n\r\n# TYPE reads counter\nreads_total 7\nreads 3\n";
        assert_eq!(
            (count_in(text, "reads"), count_in(text, "reads_total"), count_in(text, "rea")),
            (3, 7, 0)
        );
    }

    #[test]
    fn what_is_lifted_is_toml() {
        let table: toml::Table = lifted().parse().unwrap();
        assert_eq!(table["limits"].as_table().unwrap().len(), RATES.len() + COUNTS.len());
    }
}
