//! D1, D5, D7, O1 to O3, L1, L2, L6, M1, M2, C1, C2: a server that is killed again and again under many clients, judged
//! from outside. A failing run prints its seed; `CHINWAG_SEED=N` makes the same choices again.

mod doors;
#[path = "../support/mod.rs"]
mod support;

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use chinwag_checker::{
    Random, Record, Report, history,
    judge::judge_within,
    random,
    workload::{Plan, Workload},
};
use support::{Server, lifted};

/// How often the server is killed.
const KILLS: u32 = 6;

fn start(data: &Path, address: SocketAddr) -> Server {
    let config = lifted(data);
    Server::start_with(data, &["--listen", &address.to_string(), "--config", config.to_str().expect("plain")])
}

/// A free port that no outgoing connection is given while the server is down.
fn address(random: &mut Random) -> SocketAddr {
    loop {
        let port = 20_000 + u16::try_from(random.below(10_000)).expect("a small number");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Fails if a promise was broken, and says where the history is.
fn keep(seed: u64, report: &Report, records: &[Record]) {
    if report.violations.is_empty() {
        return;
    }
    let kept = std::env::temp_dir().join(format!("chinwag-history-{seed}.jsonl"));
    let wrote =
        std::fs::File::create(&kept).and_then(|file| history::write(records, std::io::BufWriter::new(file)));
    panic!(
        "seed {seed}: broken promises; the history is in {} ({wrote:?})\n{}",
        kept.display(),
        report.explain(records)
    );
}

#[test]
fn many_clients_of_a_server_that_is_killed_again_and_again_see_no_broken_promise() {
    let seed = random::seed();
    println!("seed {seed}: CHINWAG_SEED={seed} makes the same choices again");
    let mut random = Random::new(seed).fork(7);
    let data = tempfile::Builder::new().prefix("chinwag-checked-").tempdir().expect("a temporary folder");
    let address = address(&mut random);
    let mut server = start(data.path(), address);
    let plan = Plan { address, seed, users: 6, devices: 2, conversations: 6, actions_per_s: 600 };
    let workload = Workload::start(&plan).expect("accounts and conversations");
    for _ in 0..KILLS {
        let until = Instant::now() + Duration::from_millis(200 + random.below(900));
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        drop(server);
        workload.crash();
        server = start(data.path(), address);
    }
    let records = workload.heal().expect("the server is well");
    // The promised five seconds are judged where the machine has nothing else to do; here it may be busy.
    let report = judge_within(&records, Duration::from_secs(20));
    println!("seed {seed}: {report}");
    keep(seed, &report, &records);
    for figure in ["done", "heard", "logged"] {
        assert!(report.counts.get(figure).is_some_and(|count| *count > 100), "nothing to judge: {report}");
    }
    assert_eq!(report.counts.get("crashes").copied(), Some(KILLS as usize));
}
