//! Killed at any moment under everybody at once: somebody on each of the five old wires, with a web page's connection,
//! with a native one, and at the command line.

use anyhow::Result;

use super::{
    Bed, Scenario, Verdict,
    place::Place,
    process::{Checker, LIFTED, address},
    scenarios::verdict,
};

/// See the module.
pub(super) const ALL: &[Scenario] =
    &[Scenario { id: "F01D", what: "killed at any moment, with all doors and the command line", run: kill }];

const DOORS: [&str; 5] = ["tcp_json", "tag_json", "pipe_line", "udp_ack", "socket_io"];

/// Actions of all of them in a second.
const RATE: u32 = 24;

fn kill(bed: &Bed) -> Result<Verdict> {
    let mut place = Place::new(bed, "F01D")?;
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
    let mut checker = Checker::start_with(bed, &[], place.address, bed.seed, RATE, &more)?;
    let kills = 8 * bed.times;
    let mut slowest = 0;
    for _ in 0..kills {
        // Who shows what was missed a message a second has to catch up now and then.
        place.random.pause_ms(1_000, 9_000);
        drop(server);
        checker.crash()?;
        server = place.start_with(&[], &settings)?;
        slowest = slowest.max(server.ready_ms);
    }
    place.random.pause_ms(1_000, 2_000);
    let found = checker.heal()?;
    Ok(verdict(&found, &format!("{kills} kills, ready again in at most {slowest} ms; ")))
}
