//! Killed at any moment under everybody at once: somebody on each of the five old wires, with a web page's connection,
//! with a native one, and at the command line.

use anyhow::Result;

use super::{
    Bed, Scenario, Verdict,
    place::Place,
    process::{Checker, Found, LIFTED, address},
    scenarios::verdict,
};

/// See the module.
pub(super) const ALL: &[Scenario] =
    &[Scenario { id: "F01D", what: "killed at any moment, with all doors and the command line", run: kill }];

const DOORS: [&str; 5] = ["tcp_json", "tag_json", "pipe_line", "udp_ack", "socket_io"];

/// Actions of all of them in a second.
const RATE: u32 = 24;

/// In one round. A long run has more of them, not longer ones: who shows what was missed a message a second, and hears
/// nothing at all in the first three of a connection, would have to be left alone for longer and longer in the end.
const KILLS: u32 = 8;

fn kill(bed: &Bed) -> Result<Verdict> {
    let (mut slowest, mut figures) = (0, String::new());
    for round in 0..bed.times {
        let (ready_ms, found) = self::round(bed, bed.seed + u64::from(round))?;
        slowest = slowest.max(ready_ms);
        let kills = (round + 1) * KILLS;
        figures = format!("{kills} kills, ready again in at most {slowest} ms; ");
        if found.broken || round + 1 == bed.times {
            return Ok(verdict(&found, &figures));
        }
    }
    Ok(Verdict::Passed(figures))
}

/// How long a start took at most, and what was found.
fn round(bed: &Bed, seed: u64) -> Result<(u128, Found)> {
    let mut place = Place::new(bed, &format!("F01D-{seed}"))?;
    let homes = place.data.with_extension("homes").display().to_string();
    let program = bed.server.display().to_string();
    let (mut settings, mut more) = (LIFTED.to_owned(), vec!["--program", &program, "--folder", &homes]);
    let doors = DOORS.map(|name| (name, address(&mut place.random)));
    for (name, at) in &doors {
        // Everything goes through the server only if the users of the wire are not told each other's addresses.
        let mode = if *name == "udp_ack" { "mode = \"relay\"\n" } else { "" };
        settings.push_str(&format!("[doors.{name}]\nlisten = \"{at}\"\n{mode}"));
    }
    let named = doors.map(|(name, at)| format!("{name}={at}"));
    more.extend(named.iter().flat_map(|door| ["--door", door]));
    // A wire that waits by its document cannot have everything in five seconds.
    more.extend(["--within", "50"]);
    let mut server = place.start_with(&[], &settings)?;
    let mut checker = Checker::start_with(bed, &[], place.address, seed, RATE, &more)?;
    let mut slowest = 0;
    for _ in 0..KILLS {
        place.random.pause_ms(1_000, 9_000);
        drop(server);
        checker.crash()?;
        server = place.start_with(&[], &settings)?;
        slowest = slowest.max(server.ready_ms);
    }
    place.random.pause_ms(1_000, 2_000);
    Ok((slowest, checker.heal()?))
}
