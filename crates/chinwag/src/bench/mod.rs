//! `chinwag bench`: a load generator for the native protocol.
//!
//! A message counts when its sender has the acknowledgement *and* every receiver has the entry. In the open loop
//! its latency runs from the moment at which the schedule wanted it sent, so that a server that stalls cannot hide
//! it by slowing the generator down. The generator's own cost is kept small: raw frames, no JSON parser on the hot
//! path, writes in batches.

mod accounts;
mod connections;
mod doors;
mod lanes;
mod machine;
mod messages;
mod report;
mod socket;
mod target;

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    args::{Bench, BenchCommon, Global},
    exit::{Outcome, Stop, failed},
    show::Out,
};

use report::Report;
use target::Target;

/// `chinwag bench`.
pub(crate) fn run(global: &Global, out: &Out, scenario: &Bench) -> Outcome {
    let common = match scenario {
        Bench::Dm { common, .. }
        | Bench::Group { common, .. }
        | Bench::Idle { common, .. }
        | Bench::Offline { common, .. }
        | Bench::Reconnect { common, .. }
        | Bench::Doors { common, .. } => common.clone(),
    };
    machine::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(common.threads.into())
        .enable_all()
        .build()
        .map_err(Stop::from)?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let target = Target::prepare(global, &common, &doors::wanted(scenario)).await?;
        let measured = tokio::select! {
            measured = measure(&target, scenario, &common) => measured,
            _ = tokio::signal::ctrl_c() => failed("interrupted"),
            _ = terminated.recv() => failed("terminated"),
        };
        // Before anything can end this function: a server must not be left behind.
        let said = target.end().await;
        match measured {
            Ok(report) => report.show(out),
            Err(stop) => {
                if !said.is_empty() {
                    crate::show::note(&format!("The server said last:\n{said}"));
                }
                Err(stop)
            }
        }
    })
}

async fn measure(target: &Target, scenario: &Bench, common: &BenchCommon) -> Outcome<Report> {
    let mut report = match scenario {
        Bench::Dm { pairs, inflight, .. } => messages::dm(target, common, *pairs, *inflight).await?,
        Bench::Group { groups, members, inflight, .. } => {
            messages::group(target, common, *groups, *members, *inflight).await?
        }
        Bench::Idle { connections, door: None, .. } => {
            connections::idle(target, common, *connections).await?
        }
        Bench::Idle { connections, door: Some(door), .. } => {
            doors::idle(target, common, *connections, door).await?
        }
        Bench::Doors { fanout: true, members, .. } => doors::fanout(target, common, *members).await?,
        Bench::Doors { pairs, inflight, .. } => doors::pairs(target, common, *pairs, *inflight).await?,
        Bench::Offline { users, waiting, .. } => {
            connections::offline(target, common, *users, *waiting).await?
        }
        Bench::Reconnect { connections, .. } => connections::reconnect(target, *connections).await?,
    };
    target.describe(&mut report);
    Ok(report)
}

/// The longest that preparing or draining may take, so that no run goes on for ever.
const PATIENCE: Duration = Duration::from_secs(60);
