//! Too little memory, and a machine without a network.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    super::{
        Bed, Verdict,
        place::Place,
        process::Checker,
        scenarios::{RATE, verdict},
        tools::missing,
    },
    tools::{Group, Island},
};

const MIB: u64 = 1 << 20;

/// F12: with the promised memory it goes on; with less and less it is killed, and nothing acknowledged is lost.
pub(super) fn memory(bed: &Bed) -> Result<Verdict> {
    let Some(group) = Group::new() else {
        return Ok(Verdict::Skipped("no control group with a limit of memory can be made here".to_owned()));
    };
    let place = Place::new(bed, "F12")?;
    let tool = group.tool();
    let tool: Vec<&str> = tool.iter().map(String::as_str).collect();
    group.limit(256 * MIB)?;
    let mut server = place.start(&tool)?;
    let mut checker = Checker::start(bed, place.address, bed.seed, RATE)?;
    if server.ended_within(Duration::from_secs(10) * bed.times).is_some() {
        return Ok(Verdict::Failed("it does not live with 256 MiB".to_owned()));
    }
    let (mut killed, mut alive) = (Vec::new(), Vec::new());
    for mib in [96, 48, 32, 24, 20, 16, 12] {
        drop(server);
        checker.crash()?;
        group.limit(mib * MIB)?;
        // It may end before it is ready.
        let ended = match place.start(&tool) {
            Ok(mut started) => started.ended_within(Duration::from_secs(3)).is_some(),
            Err(_) => true,
        };
        if ended { &mut killed } else { &mut alive }.push(mib);
        checker.crash()?;
        group.limit(256 * MIB)?;
        server = place.start(&tool)?;
        thread::sleep(Duration::from_millis(500));
    }
    let found = checker.heal()?;
    drop(server);
    let figures = format!("256 MiB under load; lives with {alive:?} MiB, killed with {killed:?} MiB; ");
    if killed.is_empty() {
        return Ok(Verdict::Failed(format!("nothing was injected: {figures}")));
    }
    Ok(verdict(&found, &figures))
}

/// F43: it starts and works where there is nothing but loopback.
pub(super) fn offline(bed: &Bed) -> Result<Verdict> {
    if let Some(why) = missing(&["ip"]) {
        return Ok(Verdict::Skipped(why));
    }
    let island = match Island::new() {
        Ok(island) => island,
        Err(error) => return Ok(Verdict::Skipped(format!("no network namespace can be made: {error:#}"))),
    };
    let place = Place::new(bed, "F43")?;
    let server = match place.start(&island.tool()) {
        Ok(server) => server,
        Err(error) => return Ok(Verdict::Failed(format!("it does not start without a network: {error:#}"))),
    };
    let ready_ms = server.ready_ms;
    let checker = Checker::start_with(bed, &island.tool(), place.address, bed.seed, RATE, &[])?;
    thread::sleep(Duration::from_secs(4) * bed.times);
    let found = checker.heal()?;
    drop(server);
    let figures = format!("no route and no resolver, ready in {ready_ms} ms; ");
    if ready_ms > 2_000 {
        return Ok(Verdict::Failed(figures));
    }
    Ok(verdict(&found, &figures))
}
