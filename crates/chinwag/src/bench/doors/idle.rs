//! The scenario `idle` at a door: what a connection costs on which somebody is signed in and silent.

use std::{io, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    super::{machine, messages::watch_over, report::Report, target::Target},
    Wire,
    drive::{Link, Marks},
    people,
};
use crate::{args::BenchCommon, exit::Outcome};

/// `bench idle --door NAME`.
pub(in super::super) async fn idle(
    target: &Target,
    common: &BenchCommon,
    connections: u32,
    door: &str,
) -> Outcome<Report> {
    let (wire, at) = (Wire::by_name(door)?, target.door(door)?);
    if wire.has_accounts() {
        // Each is somebody else: these wires let nobody in twice.
        people::register(target, wire, connections).await?;
    }
    // Whatever the first sign-ins need, passwords above all, is no matter of the connections.
    drop(people::sign_in(at, wire, connections.min(32)).await?);
    sleep(Duration::from_secs(1)).await;
    let without = machine::usage(target.pid);
    let began = Instant::now();
    let links = people::sign_in(at, wire, connections).await?;
    let opening = began.elapsed();
    let mut tasks = JoinSet::new();
    for link in links {
        tasks.spawn(stay(link));
    }
    watch_over(&mut tasks, Instant::now() + Duration::from_secs(common.warm_up)).await?;
    let before = machine::usage(target.pid);
    watch_over(&mut tasks, Instant::now() + Duration::from_secs(common.duration)).await?;
    let after = machine::usage(target.pid);
    let mut report = Report::new();
    report.set("scenario", "idle");
    report.set("door", door);
    report.set("duration_s", common.duration);
    report.set("connections", connections);
    report.figure("opened_per_s", f64::from(connections) / opening.as_secs_f64());
    if let (Some(without), Some(after)) = (without, after) {
        let bytes = after.rss.saturating_sub(without.rss) as f64 / f64::from(connections);
        report.figure("server_bytes_per_connection", bytes);
    }
    report.server(before, after, 0, Duration::from_secs(common.duration));
    tasks.shutdown().await;
    Ok(report)
}

/// Reads what comes, and keeps nothing of it.
async fn stay(mut link: Link) -> io::Result<()> {
    let marks = Marks::new("", 0);
    loop {
        link.more().await?;
        link.take(&marks, |_seen| {})?;
        link.flush().await?;
    }
}
