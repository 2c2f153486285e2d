//! F21: uploads that are cut. And somebody who uploads all the time, for rows that do something to the disk.

use std::{
    fs,
    io::Write,
    net::{Shutdown, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{
    clock::{Liar, library},
    copies::command,
};
use crate::chaos::{
    Bed, Verdict,
    http::{Person, answer, connect},
    place::Place,
    process::{Random, Server},
    proxy::{Proxy, Treatment},
    tools::{says, text},
};

/// Where uploads are cut: at each multiple of this.
const BLOCK: usize = 64 * 1024;
const BLOCKS: usize = 16;

/// How long a server may take to throw away what was cut.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// How often the server looks for uploads that no message took, and a little.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(65);

/// Bytes of which no two files share many.
pub(super) fn content(number: u64, length: usize) -> Vec<u8> {
    let mut random = Random(number);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.below(u64::MAX).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The files of a store that have a name, and how many have none.
pub(super) fn on_disk(data: &Path) -> Result<(Vec<PathBuf>, usize)> {
    let (mut named, mut half) = (Vec::new(), 0);
    for part in fs::read_dir(data.join("files"))? {
        let part = part?.path();
        for file in fs::read_dir(&part)? {
            let file = file?.path();
            if part.ends_with("incoming") { half += 1 } else { named.push(file) }
        }
    }
    Ok((named, half))
}

/// How an upload ends too early.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Both directions at once, by a proxy.
    Cut,
    /// The client says that it has nothing more to send, and waits for the answer.
    HalfClosed,
    /// The server is killed when it has got so far.
    Killed,
}

/// F21.
pub(super) fn cut(bed: &Bed) -> Result<Verdict> {
    let place = Place::new(bed, "F21")?;
    let library = library();
    let liar =
        library.as_deref().map(|library| Liar::new(library, place.data.with_extension("time"), "+0", false));
    let liar = liar.transpose()?;
    let tool = liar.as_ref().map(Liar::tool).unwrap_or_default();
    let mut server = place.start(&tool)?;
    let anna = Person::register(place.address, "anna")?;
    let group = anna.group("Files")?;
    let (mut cuts, mut kills, mut posted) = (0, 0, Vec::new());
    for number in 0..=BLOCKS {
        let file = content(bed.seed.wrapping_add(number as u64), BLOCKS * BLOCK + 1_000);
        let at = number * BLOCK;
        for way in [Way::Cut, Way::HalfClosed, Way::Killed] {
            // A start takes long beside the others.
            if matches!(way, Way::Killed) && !number.is_multiple_of(4) {
                continue;
            }
            let status = early(&anna, &place, &file, at, way, &mut server)?;
            if let Some(200) = status {
                return Ok(Verdict::Failed(format!("half an upload is answered 200 ({way:?} at {at})")));
            }
            if matches!(way, Way::Killed) {
                kills += 1;
                drop(server);
                server = place.start(&tool)?;
            }
            cuts += 1;
            let from = Instant::now();
            let (mut named, mut half) = on_disk(&place.data)?;
            while half > 0 && from.elapsed() < GONE_WITHIN {
                thread::sleep(Duration::from_millis(20));
                (named, half) = on_disk(&place.data)?;
            }
            if half > 0 || named.len() != posted.len() {
                let figures = format!("{} have a name, {half} have none", named.len() - posted.len());
                return Ok(Verdict::Failed(format!("half an upload stays ({way:?} at {at}): {figures}")));
            }
            if let (200, other) =
                anna.post_file(group, &format!("half-{number}-{way:?}"), &digest(&place, &file[..at])?)?
            {
                return Ok(Verdict::Failed(format!("half an upload can be posted: {other}")));
            }
        }
        posted.push((handed_over(&anna, group, &format!("whole-{number}"), &file)?, file));
    }
    let gone = match &liar {
        Some(liar) => Some(orphan(&anna, group, liar, &place.data, posted.len())?),
        None => None,
    };
    for (seq, file) in &posted {
        let (status, found) = anna.download(group, *seq)?;
        if status != 200 || found != *file {
            return Ok(Verdict::Failed(format!("message {seq} has lost its file: {status}")));
        }
    }
    server.signal("TERM");
    server.ended_within(Duration::from_secs(10)).context("it does not end")?;
    command(bed, &["scrub", "--data", &text(&place.data)])?;
    let orphans = match gone {
        None => "libfaketime is not installed, so nothing waited for an hour".to_owned(),
        Some(None) => return Ok(Verdict::Failed("an upload that no message took stays".to_owned())),
        Some(Some(took)) => {
            format!("what no message took was gone {:.1} s after its hour", took.as_secs_f64())
        }
    };
    Ok(Verdict::Passed(format!(
        "{cuts} uploads cut at {} places, {kills} of them by a kill: none answered, seen or left; {} uploaded again and whole; {orphans}; scrubbed clean",
        BLOCKS + 1,
        posted.len()
    )))
}

/// Uploads so much of a file and no more; the status of the answer, if there is one.
fn early(
    anna: &Person,
    place: &Place,
    file: &[u8],
    at: usize,
    way: Way,
    server: &mut Server,
) -> Result<Option<u16>> {
    let mut head = anna.upload_head("cut.bin", file.len());
    let Way::Cut = way else {
        head.extend_from_slice(&file[..at]);
        let mut stream = connect(place.address, None)?;
        stream.write_all(&head)?;
        if matches!(way, Way::HalfClosed) {
            stream.shutdown(Shutdown::Write)?;
            return Ok(answer(&mut stream).ok().map(|(status, _)| status));
        }
        // It has begun; how much of it was taken by now is left to chance.
        while on_disk(&place.data)?.1 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        server.signal("KILL");
        return Ok(None);
    };
    let treatment = Treatment { cut_bytes: head.len() + at, ..Treatment::default() };
    let proxy = Proxy::start(place.address, 0, treatment)?;
    let mut stream = connect(proxy.address, None)?;
    // It may be cut before all of it is sent.
    let _ = stream.write_all(&head).and_then(|()| stream.write_all(file));
    Ok(answer(&mut stream).ok().map(|(status, _)| status))
}

/// What a file with these bytes would be called.
fn digest(place: &Place, bytes: &[u8]) -> Result<String> {
    let file = place.data.with_extension("half");
    fs::write(&file, bytes)?;
    let said = says("sha256sum", &[&text(&file)])?;
    Ok(String::from_utf8_lossy(&said.stdout).split(' ').next().context("a digest")?.to_owned())
}

/// Uploads and posts a file, which must succeed; the number of its message.
fn handed_over(anna: &Person, group: u64, name: &str, bytes: &[u8]) -> Result<u64> {
    let (status, uploaded) = anna.upload(name, bytes)?;
    let file = uploaded["file"].as_str().filter(|_| status == 200);
    let file = file.with_context(|| format!("an upload is answered {status} {uploaded}"))?;
    let (status, posted) = anna.post_file(group, name, file)?;
    posted["posted"]["seq"].as_u64().with_context(|| format!("a file is posted: {status} {posted}"))
}

/// For F05: what is wrong with a server whose disk fails when a file is brought to it, if anything is.
pub(in crate::chaos) fn failed_sync(bed: &Bed) -> Result<Option<String>> {
    let place = Place::new(bed, "F05-file")?;
    let log = text(&place.data.with_extension("strace"));
    // The first upload of a process has this name until it has its own.
    let first = text(&place.data.join("files/incoming/0"));
    let fails = "inject=fsync,fdatasync:error=EIO";
    let tool = ["strace", "-f", "-qq", "-o", &log, "-P", &first, "-e", "trace=fsync,fdatasync", "-e", fails];
    let mut server = place.start(&tool)?;
    let anna = Person::register(place.address, "anna")?;
    let (file, group) = (content(bed.seed, 200_000), anna.group("Files")?);
    let (status, answer) = anna.upload("first", &file)?;
    if status != 503 {
        return Ok(Some(format!("an upload whose sync fails is answered {status} {answer}")));
    }
    let (named, half) = on_disk(&place.data)?;
    if !named.is_empty() || half > 0 {
        return Ok(Some(format!(
            "of an upload whose sync failed {} have a name, {half} have none",
            named.len()
        )));
    }
    // Another try is another file, so nothing of the first can be taken for synced.
    let seq = handed_over(&anna, group, "second", &file)?;
    if anna.download(group, seq)? != (200, file) || server.ended_within(Duration::ZERO).is_some() {
        return Ok(Some("after a failed sync of a file nobody gets files any more".to_owned()));
    }
    Ok(None)
}

/// Leaves an upload without a message for an hour; how long it took to go then, if it did.
fn orphan(anna: &Person, group: u64, liar: &Liar, data: &Path, others: usize) -> Result<Option<Duration>> {
    let (status, _) = anna.upload("orphan", &content(1, 100_000))?;
    let (named, _) = on_disk(data)?;
    if status != 200 || named.len() != others + 1 {
        bail!("an upload is answered {status}, {} are there", named.len());
    }
    let taken = handed_over(anna, group, "taken", &content(2, 100_000))?;
    liar.say("+3700")?;
    let from = Instant::now();
    // Whoever deletes a file makes the server look at once.
    anna.post("/api/command", &json!({"delete": {"conversation": group, "message": taken}}))?;
    while from.elapsed() < LOOKED_AT_WITHIN {
        if on_disk(data)?.0.len() == others {
            return Ok(Some(from.elapsed()));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(None)
}

/// Somebody who uploads and posts files through whatever happens to the server.
pub(in crate::chaos) struct Uploader {
    anna: Person,
    group: u64,
    acknowledged: Arc<Mutex<Vec<(u64, u64)>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn length(number: u64) -> usize {
    20_000 + usize::try_from(number.wrapping_mul(7_919) % 300_000).unwrap_or_default()
}

impl Uploader {
    pub(in crate::chaos) fn start(address: SocketAddr) -> Result<Self> {
        let anna = Person::register(address, "uploader")?;
        let group = anna.group("Uploads")?;
        let (acknowledged, end) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let mut uploader = Self { anna, group, acknowledged, end, thread: None };
        let (anna, group) = (uploader.anna.clone(), uploader.group);
        let (noted, end) = (uploader.acknowledged.clone(), uploader.end.clone());
        uploader.thread = Some(thread::spawn(move || {
            for number in 0.. {
                if end.load(Ordering::Acquire) {
                    return;
                }
                match handed_over(&anna, group, &format!("u{number}"), &content(number, length(number))) {
                    Ok(seq) => noted.lock().unwrap_or_else(PoisonError::into_inner).push((seq, number)),
                    // Nobody knows; it is not asked for.
                    Err(_) => thread::sleep(Duration::from_millis(20)),
                }
            }
        }));
        Ok(uploader)
    }

    fn stop(&mut self) {
        self.end.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Stops; how many files were acknowledged, and what became of those that are not whole.
    pub(in crate::chaos) fn found(mut self) -> Result<(usize, Vec<String>)> {
        self.stop();
        let all = std::mem::take(&mut *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
        let mut lost = Vec::new();
        for (seq, number) in &all {
            let (status, found) = self.anna.download(self.group, *seq)?;
            if status != 200 || found != content(*number, length(*number)) {
                lost.push(format!(
                    "file {number} was acknowledged with message {seq} and is answered {status}"
                ));
            }
        }
        Ok((all.len(), lost))
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An upload of which a part has been sent.
pub(super) struct Begun {
    stream: std::net::TcpStream,
    rest: Vec<u8>,
}

impl Begun {
    /// Sends this much of it.
    pub(super) fn new(anna: &Person, name: &str, bytes: &[u8], first: usize) -> Result<Self> {
        let mut stream = connect(anna.address, None)?;
        stream.write_all(&anna.upload_head(name, bytes.len()))?;
        // A refusal may come before that much was taken.
        let _ = stream.write_all(&bytes[..first]);
        Ok(Self { stream, rest: bytes[first..].to_vec() })
    }

    /// Sends the rest; the status and the answer.
    pub(super) fn end(mut self) -> Result<(u16, Value)> {
        // A refusal may come before all of it was taken.
        let _ = self.stream.write_all(&self.rest);
        let (status, answer) = answer(&mut self.stream)?;
        Ok((status, serde_json::from_slice(&answer).unwrap_or_default()))
    }
}
