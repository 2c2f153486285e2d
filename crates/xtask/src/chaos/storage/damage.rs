//! Bits that turn over in a stopped store, and a first opening that is killed at each of its writes.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::{
    Bed, Verdict,
    http::Person,
    place::Place,
    process::{Checker, Random, Server},
    scenarios::{RATE, no_strace, words},
    tools::{says, text},
};

/// What a store is made of.
const FILES: [&str; 4] = ["chinwag.db", "chinwag.db-wal", "synced", "search.db"];

/// What is done to a copy of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Harm {
    Flip(&'static str),
    Cut(&'static str),
}

/// How a harm ended.
#[derive(Default)]
struct Score {
    found: u32,
    harmless: u32,
    /// The end of the log is gone as after a crash: what was lost there cannot be told from what was never finished.
    crashlike: u32,
    missed: u32,
}

/// A stopped store, what is said of it when it is whole, and somebody who can read it.
struct Sample {
    folder: PathBuf,
    contents: String,
}

/// F10: what a scrub does not find changed nothing, and nothing changed is ever served.
pub(super) fn flips(bed: &Bed) -> Result<Verdict> {
    let mut place = Place::new(bed, "F10")?;
    let server = place.start(&[])?;
    let anna = Person::register(place.address, "anna")?;
    let group = anna.group("Genuine")?;
    let checker = Checker::start(bed, place.address, bed.seed, RATE)?;
    for number in 0..150 {
        anna.say(group, &format!("n{number}"), &format!("what anna said at {number}, and not otherwise"))?;
    }
    thread::sleep(Duration::from_secs(2));
    let genuine = read_all(&anna, group)?;
    // As it is after a crash, with its log, and as it is after a proper end.
    server.signal("KILL");
    drop(server);
    drop(checker);
    let crashed = sample(bed, &place.data, &place.data.with_extension("crashed"))?;
    let mut server = place.start(&[])?;
    server.signal("TERM");
    server.ended_within(Duration::from_secs(10)).context("it does not end")?;
    let stopped = sample(bed, &place.data, &place.data.with_extension("stopped"))?;

    let plan: [(Harm, &Sample, u32); 6] = [
        (Harm::Flip("chinwag.db"), &stopped, 130),
        (Harm::Flip("chinwag.db-wal"), &crashed, 30),
        (Harm::Flip("search.db"), &stopped, 20),
        (Harm::Cut("chinwag.db"), &stopped, 8),
        (Harm::Cut("chinwag.db-wal"), &crashed, 8),
        (Harm::Cut("search.db"), &stopped, 4),
    ];
    let (mut scores, mut served, mut missed, mut read) = (HashMap::new(), 0, Vec::new(), 0);
    for (harm, sample, count) in plan {
        let score: &mut Score = scores.entry(harm).or_default();
        for number in 0..count * bed.times {
            let data = place.data.with_extension("harmed");
            copy(&sample.folder, &data)?;
            let what = hurt(&data, harm, &mut place.random)?;
            let quiet = judge(bed, &data, sample, harm, score)?;
            if !quiet {
                missed.push(format!("{harm:?} {what}"));
            }
            // Each tenth is also read by its owner.
            if number % 10 == 0 {
                let (lies, entries) = lies(bed, &place, &data, &anna, group, &genuine)?;
                served += lies;
                read += entries;
            }
            fs::remove_dir_all(&data)?;
        }
    }
    let mut lines: Vec<_> = scores.iter().collect();
    lines.sort_by_key(|(harm, _)| **harm);
    let figures: Vec<String> = lines
        .iter()
        .map(|(harm, s)| {
            format!(
                "{harm:?}: {} found, {} harmless, {} like a crash, {} missed",
                s.found, s.harmless, s.crashlike, s.missed
            )
        })
        .collect();
    let figures =
        format!("{}; {read} entries read from harmed stores, {served} not genuine", figures.join("; "));
    Ok(match missed.is_empty() && served == 0 && read > 0 {
        true => Verdict::Passed(figures),
        false => {
            let count = missed.len();
            Verdict::Failed(format!("{count} were missed: {figures}\n{}", missed.join("\n")))
        }
    })
}

fn sample(bed: &Bed, data: &Path, to: &Path) -> Result<Sample> {
    copy(data, to)?;
    let (clean, contents) = scrub(bed, to)?;
    anyhow::ensure!(clean, "the store is damaged before anything was done to it");
    // Looking may have tidied up.
    fs::remove_dir_all(to)?;
    copy(data, to)?;
    Ok(Sample { folder: to.to_owned(), contents })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for name in FILES {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name))?;
        }
    }
    Ok(())
}

/// Whether a scrub finds nothing, and the digest of the contents.
fn scrub(bed: &Bed, data: &Path) -> Result<(bool, String)> {
    let output = says(&bed.server, &["--json", "scrub", "--data", &text(data)])?;
    let said = String::from_utf8_lossy(&output.stdout);
    let last: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_default();
    Ok((output.status.success(), last["contents"].as_str().unwrap_or_default().to_owned()))
}

/// Turns one bit over, or cuts something off; what exactly.
fn hurt(data: &Path, harm: Harm, random: &mut Random) -> Result<String> {
    let (Harm::Flip(name) | Harm::Cut(name)) = harm;
    let file = data.join(name);
    let mut bytes = fs::read(&file).with_context(|| format!("no {name} to hurt"))?;
    let at = usize::try_from(random.below(bytes.len() as u64))?;
    let what = match harm {
        Harm::Flip(_) => {
            let bit = random.below(8);
            let byte = bytes.get_mut(at).context("an empty file")?;
            *byte ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        }
        Harm::Cut(_) => {
            bytes.truncate(at);
            format!("from byte {at} on")
        }
    };
    fs::write(&file, bytes)?;
    Ok(what)
}

/// Scrubs, and counts how it ended; `false` if something changed and nobody said so.
fn judge(bed: &Bed, data: &Path, sample: &Sample, harm: Harm, score: &mut Score) -> Result<bool> {
    let log = matches!(harm, Harm::Flip("chinwag.db-wal") | Harm::Cut("chinwag.db-wal"));
    let (clean, contents) = scrub(bed, data)?;
    match (clean, contents == sample.contents) {
        (false, _) => score.found += 1,
        (true, true) => score.harmless += 1,
        (true, false) if log => score.crashlike += 1,
        (true, false) => {
            score.missed += 1;
            return Ok(false);
        }
    }
    Ok(true)
}

/// All entries of a conversation, by number.
fn read_all(person: &Person, conversation: u64) -> Result<HashMap<u64, Value>> {
    let mut all = HashMap::new();
    let mut after = 0;
    loop {
        let (status, answer) = person.page(conversation, after)?;
        let entries = answer["entries"]["entries"].as_array().filter(|_| status == 200);
        let Some(entries) = entries.filter(|entries| !entries.is_empty()) else { return Ok(all) };
        for entry in entries {
            after = entry["seq"].as_u64().context("a number")?;
            all.insert(after, entry.clone());
        }
    }
}

/// What a server says that runs on a harmed store: how many entries are not as they were, and how many it says.
fn lies(
    bed: &Bed,
    place: &Place,
    data: &Path,
    anna: &Person,
    group: u64,
    genuine: &HashMap<u64, Value>,
) -> Result<(usize, usize)> {
    // It may well refuse to start.
    let Ok(_server) = Server::start(&bed.server, &[], data, place.address) else { return Ok((0, 0)) };
    let said = read_all(anna, group).unwrap_or_default();
    Ok((said.iter().filter(|(seq, entry)| genuine.get(seq) != Some(entry)).count(), said.len()))
}

/// F37: the first opening, which makes the schema by running all migrations, killed at each of its writes.
pub(super) fn migration(bed: &Bed) -> Result<Verdict> {
    if let Some(skipped) = no_strace() {
        return Ok(skipped);
    }
    let (mut killed, mut states) = (0, HashMap::<&str, u32>::new());
    for call in ["pwrite64", "fdatasync", "ftruncate"] {
        for number in 1.. {
            let place = Place::new(bed, &format!("F37-{call}-{number}"))?;
            let log = text(&place.data.with_extension("strace"));
            let paths = ["chinwag.db", "chinwag.db-wal"].map(|name| text(&place.data.join(name)));
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let tool: Vec<String> =
                ["strace", "-f", "-qq", "-o", &log, "-P", &paths[0], "-P", &paths[1], "-e"]
                    .into_iter()
                    .map(str::to_owned)
                    .chain([format!("trace={call}"), "-e".to_owned(), inject])
                    .collect();
            if let Ok(mut server) = place.start(&words(&tool)) {
                // It came through the opening; a call later on belongs to what follows.
                let _ = server.ended_within(Duration::from_millis(20));
                break;
            }
            killed += 1;
            let state = state(&place.data)?;
            *states.entry(state).or_default() += 1;
            if state == "neither" {
                return Ok(Verdict::Failed(format!("killed at {call} {number}: neither old nor new")));
            }
            let server = match place.start(&[]) {
                Ok(server) => server,
                Err(error) => return Ok(Verdict::Failed(format!("killed at {call} {number}: {error:#}"))),
            };
            let anna = Person::register(place.address, "anna")?;
            let said = anna.say(anna.group("After")?, "one", "it works")?;
            drop(server);
            let (clean, _) = scrub(bed, &place.data)?;
            if said.0 != 200 || !clean {
                return Ok(Verdict::Failed(format!("killed at {call} {number}: {said:?}, clean: {clean}")));
            }
        }
    }
    let mut states: Vec<_> = states.into_iter().collect();
    states.sort_unstable();
    let figures =
        format!("{killed} kills, the store was then {states:?}; each started again, worked and was clean");
    Ok(if killed == 0 { Verdict::Failed(figures) } else { Verdict::Passed(figures) })
}

/// What was left, as far as a file can say it: nothing, a database without its name, or one with it.
fn state(data: &Path) -> Result<&'static str> {
    let file = data.join("chinwag.db");
    let header = match fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok("not there"),
        Err(error) => return Err(error.into()),
    };
    let log = fs::metadata(file.with_extension("db-wal")).map_or(0, |meta| meta.len());
    let named = header.get(68..72) == Some(&0x4368_7767_u32.to_be_bytes());
    Ok(match (header.is_empty(), named, log > 0) {
        (true, _, _) => "empty",
        (false, true, _) => "new",
        (false, false, true) => "new or old by its log",
        (false, false, false) if header.starts_with(b"SQLite format 3\0") => "old",
        (false, false, false) => "neither",
    })
}
