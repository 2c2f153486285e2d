//! The scenario `idle` at a door: what a connection costs on which somebody is signed in and silent.

use std::time::Duration;

use tokio::{task::JoinSet, time::sleep};

use super::{
    super::{connections::Opening, report::Report, target::Target},
    Wire, people,
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
    let opening = Opening::of(target, connections);
    let links = people::sign_in(at, wire, connections).await?;
    let took = opening.took();
    let mut tasks = JoinSet::new();
    for mut link in links {
        tasks.spawn(async move { link.stay(|_link| false).await });
    }
    let mut report = Report::new();
    report.set("scenario", "idle");
    report.set("door", door);
    opening.rest(target, common, tasks, took, &mut report).await?;
    Ok(report)
}
