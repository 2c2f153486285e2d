//! The users of a load test: registered a few at a time, and kept with the data folder for the next run.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use chinwag_client::Http;
use chinwag_protocol::{Device, UserId};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{machine, target::Target};
use crate::{
    exit::{Outcome, Stop},
    show::Progress,
};

/// Registered users for a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) id: UserId,
    pub(super) token: String,
}

/// Accounts of earlier runs, by handle.
type Known = BTreeMap<String, User>;

/// The first `count` users, registering those who are not there yet.
///
/// A password is slow to hash by design, so a run with many users takes a while to prepare; `--data` keeps them.
pub(super) async fn users(target: &Target, count: u32) -> Outcome<Vec<User>> {
    let file = target.data.as_deref().map(|data| data.join("bench-accounts.json"));
    let mut known = file.as_deref().map(load).unwrap_or_default();
    // A server of somebody else's may hold users of an earlier test, whose passwords are not known any more.
    let prefix = match target.data {
        Some(_) => "bench".to_owned(),
        None => format!("bench{:08x}", rand_number()),
    };
    let wanted: Vec<String> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
    let mut missing: VecDeque<String> =
        wanted.iter().filter(|handle| !known.contains_key(*handle)).cloned().collect();
    let (of, mut done) = (missing.len(), 0);
    let mut progress = Progress::new("registered");
    let mut running = JoinSet::new();
    let parallel = machine::cores() * 2;
    let mut failure = None;
    loop {
        while failure.is_none() && running.len() < parallel {
            let Some(handle) = missing.pop_front() else { break };
            running.spawn(register(target.server.clone(), handle));
        }
        let Some(finished) = running.join_next().await else { break };
        match finished.map_err(|error| Stop::Failed(error.into())).and_then(|outcome| outcome) {
            Ok((handle, user)) => drop(known.insert(handle, user)),
            Err(stop) => failure = Some(stop),
        }
        done += 1;
        progress.step(done, of);
    }
    drop(progress);
    if let (Some(file), true) = (&file, done > 0) {
        save(file, &known)?;
    }
    match failure {
        Some(stop) => Err(stop),
        None => Ok(wanted.iter().filter_map(|handle| known.get(handle).cloned()).collect()),
    }
}

async fn register(server: chinwag_client::Address, handle: String) -> Outcome<(String, User)> {
    let http = Http { server, token: None };
    let device = Device {
        handle: handle.clone(),
        password: chinwag_client::fresh_id(),
        device: "bench".to_owned(),
        invite: None,
        cookie: false,
    };
    let signed_in = http.register(&device).await?;
    let Some(token) = signed_in.token else { return crate::exit::failed("the server handed out no token") };
    Ok((handle, User { id: signed_in.user, token }))
}

fn rand_number() -> u32 {
    // Enough to keep runs apart; nothing secret depends on it.
    u32::try_from(chinwag_client::now().0 & 0xffff_ffff).unwrap_or_default()
}

fn load(file: &Path) -> Known {
    fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Kept beside the store of the test, which is worth nothing: no more care than a rename.
fn save(file: &PathBuf, known: &Known) -> Outcome {
    let beside = file.with_extension("new");
    fs::write(&beside, serde_json::to_vec(known).map_err(|error| Stop::Failed(error.into()))?)?;
    Ok(fs::rename(&beside, file)?)
}
