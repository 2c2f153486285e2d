//! Disks that are full, that lie for a moment, and folders that cannot be used at all.

use std::{
    fs,
    io::Write,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    super::{
        Bed, Verdict,
        http::Person,
        place::Place,
        process::{Checker, Folder, Random, Server, address},
        scenarios::{RATE, no_strace, verdict},
        tools::{missing, says, text},
    },
    tools::{Memory, Thin},
    uploads::{Begun, content, on_disk},
};

/// How long a server may take to refuse and to recover, and its threads to tell each other that a sync failed.
const REFUSED_WITHIN: Duration = Duration::from_millis(100);
const RECOVERED_WITHIN: Duration = Duration::from_secs(5);
const KNOWN_AFTER_S: f64 = 0.005;

/// F06: the first failed sync ends the process; it does not try again.
pub(super) fn lost_writes(bed: &Bed) -> Result<Verdict> {
    if let Some(why) = missing(&["mkfs.ext4", "e2fsck", "mount", "losetup"]) {
        return Ok(Verdict::Skipped(why));
    }
    if let Some(skipped) = no_strace() {
        return Ok(skipped);
    }
    let runs = 2 * bed.times;
    let (mut slowest, mut after) = (0, Vec::new());
    for run in 0..runs {
        let place = Place::new(bed, &format!("F06-{run}"))?;
        let folder = Folder::new(&format!("F06-{run}-thin"))?;
        let thin = Thin::new(&folder.0, 60)?;
        let data = thin.path().join("data");
        let log = place.data.with_extension("strace");
        let log_text = text(&log);
        let tool =
            ["strace", "-f", "-qq", "-y", "-T", "-ttt", "-o", &log_text, "-e", "trace=fdatasync,fsync"];
        let mut server = Server::start(&bed.server, &tool, &data, place.address)?;
        let mut checker = Checker::start(bed, place.address, bed.seed + u64::from(run), RATE)?;
        let Some(status) = filled(&thin, &mut server)? else {
            return Ok(Verdict::Failed("it goes on although the disk lost what it wrote".to_owned()));
        };
        let ended = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
        drop(server);
        checker.crash()?;
        let (failed_ms, again) = syncs(&log)?;
        slowest = slowest.max(ended.saturating_sub(failed_ms));
        if status.success() || again > 0 {
            return Ok(Verdict::Failed(format!(
                "{status}, {again} more syncs of the store after the first failed"
            )));
        }
        // What is left is the file system's own matter: without a journal it loses its tables with the data, and with
        // them what was synced long ago. Whether the process told the truth about it is what counts here.
        thin.heal()?;
        let left = says(&bed.server, &["scrub", "--data", &text(&data)])?;
        let sound = if left.status.success() { "sound" } else { "damaged" };
        after.push(sound);
        drop(checker);
    }
    let figures = format!(
        "{runs} disks, ended at most {slowest} ms after the first failed sync, none tried again; the stores then: {}",
        after.join(", ")
    );
    Ok(if slowest > 1_000 { Verdict::Failed(figures) } else { Verdict::Passed(figures) })
}

/// Fills the disk below the disk, and waits until the server ends.
///
/// Not the disk itself: a file system that loses its own tables loses what was synced long ago, which nobody can help.
fn filled(thin: &Thin, server: &mut Server) -> Result<Option<std::process::ExitStatus>> {
    thread::sleep(Duration::from_secs(2));
    fill(&thin.below().join("filler"))?;
    Ok(server.ended_within(Duration::from_secs(60)))
}

/// When the first sync of the store had failed, in milliseconds, and how many were begun after that. Those that were
/// under way at that moment, or were begun before anybody could know, are no second attempts.
fn syncs(log: &Path) -> Result<(u128, usize)> {
    let text = fs::read_to_string(log).context("what strace wrote")?;
    let mut all = Vec::new();
    for line in text.lines().filter(|line| line.contains("/chinwag.db")) {
        let began: f64 = line.split_whitespace().nth(1).context("a time")?.parse()?;
        let took = line.rsplit_once('<').and_then(|(_, took)| took.trim_end_matches('>').parse().ok());
        all.push((began, began + took.unwrap_or(0.0_f64), line.contains(" = -1 ")));
    }
    let failed = all.iter().filter(|(_, _, failed)| *failed).map(|(_, ended, _)| *ended);
    let first = failed.min_by(f64::total_cmp).context("no sync of the store failed")?;
    Ok(((first * 1000.0) as u128, all.iter().filter(|(began, _, _)| *began > first + KNOWN_AFTER_S).count()))
}

/// F07: a full disk refuses at once, goes on reading, and takes messages again when there is room.
pub(super) fn full_disk(bed: &Bed) -> Result<Verdict> {
    if let Some(why) = missing(&["mount", "umount"]) {
        return Ok(Verdict::Skipped(why));
    }
    let place = Place::new(bed, "F07")?;
    let disk = Memory::mount(place.data.with_extension("disk"), 96)?;
    let data = disk.path().join("data");
    let server = Server::start(&bed.server, &[], &data, place.address)?;
    let checker = Checker::start(bed, place.address, bed.seed, RATE)?;
    let anna = Person::register(place.address, "anna")?;
    let group = anna.group("Full")?;
    let picture = content(bed.seed, 300_000);
    let (status, uploaded) = anna.upload("picture", &picture)?;
    let file = uploaded["file"].as_str().with_context(|| format!("an upload: {status} {uploaded}"))?;
    let (_, posted) = anna.post_file(group, "picture", file)?;
    let picture_at = posted["posted"]["seq"].as_u64().with_context(|| format!("a file: {posted}"))?;
    let (mut refused_in, mut recovered_in) = (Vec::new(), Duration::ZERO);
    for round in 0..2 * bed.times {
        let large = content(u64::from(round), 3_000_000);
        let begun = Begun::new(&anna, "half", &large, 500_000)?;
        let (status, first) = anna.say(group, &format!("first-{round}"), "there is room")?;
        if status != 200 {
            return Ok(Verdict::Failed(format!("before the disk is full: {status} {first}")));
        }
        let filler = disk.path().join("filler");
        fill(&filler)?;
        let refusal = until(Duration::from_secs(20), || {
            let asked = Instant::now();
            let (status, answer) = anna.say(group, &format!("full-{round}"), &"z".repeat(4_000))?;
            Ok((status != 200).then(|| (status, answer, asked.elapsed())))
        })?;
        let Some((507, _, _)) = refusal else {
            return Ok(Verdict::Failed(format!("a full disk is answered {refusal:?}")));
        };
        for number in 0..20 {
            let asked = Instant::now();
            let (status, _) = anna.say(group, &format!("probe-{round}-{number}"), &"z".repeat(4_000))?;
            refused_in.push(asked.elapsed());
            if status != 507 {
                return Ok(Verdict::Failed(format!("a full disk is answered {status}")));
            }
        }
        // It may not take the room that deleting needs.
        let large_too = Begun::new(&anna, "large", &content(2, 20_000_000), 17_000_000)?;
        let seq = first["posted"]["seq"].clone();
        let delete = json!({"delete": {"conversation": group, "message": seq}});
        let (read, deleted) = (anna.page(group, 0)?.0, anna.post("/api/command", &delete)?.0);
        if (read, deleted) != (200, 200) {
            return Ok(Verdict::Failed(format!("on a full disk: reading {read}, deleting {deleted}")));
        }
        drop(large_too);
        // What the store gave up for deleting is taken as well: now there is nothing left.
        let rest = disk.path().join("rest");
        fill(&rest)?;
        if let Some(why) = files_when_full(&anna, begun, &data, (group, picture_at), &picture)? {
            return Ok(Verdict::Failed(why));
        }
        fs::remove_file(&rest)?;
        fs::remove_file(&filler)?;
        let freed = Instant::now();
        let again = until(Duration::from_secs(30), || {
            let (status, _) = anna.say(group, &format!("again-{round}"), "room again")?;
            Ok((status == 200 && anna.upload("again", &large)?.0 == 200).then_some(()))
        })?;
        recovered_in = recovered_in.max(freed.elapsed());
        if again.is_none() {
            return Ok(Verdict::Failed("it does not recover".to_owned()));
        }
    }
    let found = checker.heal()?;
    drop(server);
    refused_in.sort();
    // Of all but a few: the machine has other things to do.
    let most = refused_in.get(refused_in.len() * 95 / 100).copied().unwrap_or_default();
    let figures = format!(
        "{} times, uploads too, 95 in 100 refused within {} ms (the slowest {:?}), recovered {} ms after there was room; ",
        2 * bed.times,
        most.as_millis(),
        refused_in.last(),
        recovered_in.as_millis()
    );
    if most > REFUSED_WITHIN || recovered_in > RECOVERED_WITHIN {
        return Ok(Verdict::Failed(figures));
    }
    Ok(verdict(&found, &figures))
}

/// What is wrong with the files of a server whose disk is full, if anything is. `begun`: an upload from before that.
fn files_when_full(
    anna: &Person,
    begun: Begun,
    data: &Path,
    (group, seq): (u64, u64),
    picture: &[u8],
) -> Result<Option<String>> {
    let (status, answer) = begun.end()?;
    if status != 507 {
        return Ok(Some(format!("an upload to a full disk is answered {status} {answer}")));
    }
    let asked = Instant::now();
    let (status, answer) = anna.upload("new", &content(1, 50_000))?;
    if status != 507 || asked.elapsed() > REFUSED_WITHIN {
        let took = asked.elapsed();
        return Ok(Some(format!("an upload to a full disk is answered {status} {answer} after {took:?}")));
    }
    if on_disk(data)?.1 > 0 {
        return Ok(Some("a refused upload keeps its place on the disk".to_owned()));
    }
    let (status, found) = anna.download(group, seq)?;
    Ok((status != 200 || found != picture)
        .then(|| format!("on a full disk a file is answered {status}, {} bytes", found.len())))
}

/// Writes until there is no room.
fn fill(file: &Path) -> Result<()> {
    let mut file = fs::File::create(file)?;
    let block = vec![7; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    Ok(())
}

/// Tries until something comes of it.
fn until<T>(at_most: Duration, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let end = Instant::now() + at_most;
    loop {
        if let Some(found) = attempt()? {
            return Ok(Some(found));
        }
        if Instant::now() > end {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Everything under a folder, with lengths and times of change.
fn listing(folder: &Path) -> Result<Vec<(PathBuf, u64, Option<std::time::SystemTime>)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(&folder)? {
            let file = file?;
            let meta = file.metadata()?;
            found.push((file.path(), meta.len(), meta.modified().ok()));
            if meta.is_dir() {
                folders.push(file.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// F08: one clear line, an exit code, and nothing is touched.
pub(super) fn unusable(bed: &Bed) -> Result<Verdict> {
    if let Some(why) = missing(&["mount", "umount", "setpriv"]) {
        return Ok(Verdict::Skipped(why));
    }
    let folder = Folder::new("F08")?;
    let disk = Memory::mount(folder.0.join("disk"), 64)?;
    let address = address(&mut Random(bed.seed));
    let data = |name: &str| disk.path().join(name);
    let missing = data("no").join("such").join("folder");
    let (file, others, sealed) = (data("file"), data("others"), data("sealed"));
    fs::write(&file, "mine")?;
    fs::create_dir(&others)?;
    chown(&others, Some(12_345), Some(12_345))?;
    fs::create_dir(&sealed)?;
    let whole = data("whole");
    drop(Server::start(&bed.server, &[], &whole, address)?);
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let can_be_nobody = Command::new(nobody[0])
        .args(&nobody[1..])
        .arg(&bed.server)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let mut cases: Vec<(&str, &Path, &[&str])> = vec![
        ("the folder above is missing", &missing, &[]),
        ("a file in its place", &file, &[]),
        ("somebody else's", &others, &[]),
    ];
    if can_be_nobody {
        cases.push(("no right to write", &sealed, &nobody));
        cases.push(("a store of somebody else", &whole, &nobody));
    }
    let (mut slowest, mut wrong) = (Duration::ZERO, Vec::new());
    let mut attempt = |what: &str, data: &Path, tool: &[&str]| -> Result<()> {
        let before = listing(disk.path())?;
        let began = Instant::now();
        let mut line: Vec<&str> = tool.to_vec();
        let (server, data_text, address) = (text(&bed.server), text(data), address.to_string());
        line.extend([server.as_str(), "serve", "--listen", &address, "--data", &data_text]);
        let mut child = Command::new(line[0])
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let ended = until(Duration::from_secs(10), || Ok(child.try_wait()?))?;
        slowest = slowest.max(began.elapsed());
        if ended.is_none() {
            child.kill()?;
        }
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let clear = said.trim().lines().count() == 1 && said.contains(&*data_text);
        if ended.and_then(|status| status.code()) != Some(1) || !clear || listing(disk.path())? != before {
            wrong.push(format!("{what}: {ended:?}, says {said:?}"));
        }
        Ok(())
    };
    for (what, data, tool) in &cases {
        attempt(what, data, tool)?;
    }
    disk.again("ro")?;
    attempt("read-only, no store", &data("new"), &[])?;
    attempt("read-only, a store", &whole, &[])?;
    let figures = format!("{} ways, refused in at most {} ms", cases.len() + 2, slowest.as_millis());
    Ok(match wrong.is_empty() && slowest < Duration::from_secs(1) {
        true => Verdict::Passed(figures),
        false => Verdict::Failed(format!("{figures}; {}", wrong.join("; "))),
    })
}
