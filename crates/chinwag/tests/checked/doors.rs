//! G1 to G3 between everything at once: a server with all doors is killed again and again under somebody on each wire,
//! with a web page's connection, a native one, and at the command line; judged from outside. A failing run prints its
//! seed; `CHINWAG_SEED=N` makes the same choices again.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use chinwag_checker::{
    Random,
    doors::run::{Doors, Plan, Run},
    judge::judge_within,
    random,
};

use super::{
    address, keep,
    support::{BINARY, Server, folder, lifted},
};

/// How often the server is killed.
const KILLS: u32 = 3;

fn start(data: &Path, plan: &Plan) -> Server {
    let config = lifted(data);
    let doors = [
        ("tcp_json", plan.doors.tcp_json, ""),
        ("tag_json", plan.doors.tag_json, ""),
        ("pipe_line", plan.doors.pipe_line, ""),
        ("udp_ack", plan.doors.udp_ack, "mode = \"relay\"\n"),
        ("socket_io", plan.doors.socket_io, ""),
    ];
    let mut text = std::fs::read_to_string(&config).expect("readable");
    for (name, address, more) in doors {
        text.push_str(&format!("[doors.{name}]\nlisten = \"{address}\"\n{more}"));
    }
    std::fs::write(&config, text).expect("writable");
    let config = config.to_str().expect("plain");
    Server::start_with(data, &["--listen", &plan.address.to_string(), "--config", config])
}

fn pause(random: &mut Random, least_ms: u64, more_ms: u64) {
    let until = Instant::now() + Duration::from_millis(least_ms + random.below(more_ms));
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

#[test]
fn all_doors_the_web_and_the_command_line_see_no_broken_promise_of_a_server_that_is_killed() {
    let seed = random::seed();
    println!("seed {seed}: CHINWAG_SEED={seed} makes the same choices again");
    let mut random = Random::new(seed).fork(8);
    let (data, homes) = (folder(), folder());
    let mut free = || address(&mut random);
    let plan = Plan {
        address: free(),
        doors: Doors {
            tcp_json: free(),
            tag_json: free(),
            pipe_line: free(),
            udp_ack: free(),
            socket_io: free(),
        },
        program: BINARY.into(),
        folder: homes.path().to_owned(),
        seed,
        each: 1,
        actions_per_s: 50,
        seldom_per_mille: 200,
    };
    let mut server = start(data.path(), &plan);
    let run = Run::start(&plan).expect("everybody comes in");
    for _ in 0..KILLS {
        pause(&mut random, 500, 1_200);
        server.kill();
        run.workload().crash();
        server = start(data.path(), &plan);
    }
    // Whoever was killed with it is back, and is cut off by itself a few times more.
    pause(&mut random, 1_000, 500);
    let records = run.heal().expect("the server is well");
    let report = judge_within(&records, Duration::from_secs(60));
    println!("seed {seed}: {report}");
    keep(seed, &report, &records);
    for figure in ["told", "heard", "asked", "links", "logged"] {
        assert!(report.counts.get(figure).is_some_and(|count| *count > 20), "nothing to judge: {report}");
    }
    assert_eq!(report.counts.get("crashes").copied(), Some(KILLS as usize));
}
