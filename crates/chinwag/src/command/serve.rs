//! `chinwag serve` and `chinwag scrub`: handed to the server and the store.

use std::{future::Future, io};

use anyhow::Context;
use chinwag_server::{
    config::{self, ConfigError, Flags, Loaded},
    log,
    serve::Server,
};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    args::{Scrub, Serve},
    exit::{Outcome, failed, usage},
    show::{Out, Progress},
};

/// `chinwag serve`: runs until it is told to stop.
pub(crate) fn run(out: &Out, args: &Serve) -> Outcome {
    let flags = Flags {
        config: args.config.clone(),
        data: args.data.clone(),
        listen: args.listen.map(|address| address.to_string()),
        plaintext: args.i_understand_plaintext,
        metrics: None,
        doors: args.door.clone(),
    };
    let loaded = match config::load(&flags, std::env::vars()) {
        Ok(loaded) => loaded,
        // Nothing is wrong with the command line if a file cannot be read.
        Err(error @ ConfigError::Unreadable { .. }) => return failed(error.to_string()),
        Err(error) => return usage(error.to_string()),
    };
    if args.print_config {
        return out.line(loaded.print().trim_end());
    }
    serve(loaded, |greeting| {
        out.line(greeting)?;
        out.line("Ready. Stop with Ctrl+C.")
    })
}

/// Runs a server until it is told to stop. `greet` says that it is there.
pub(super) fn serve(loaded: Loaded, greet: impl FnOnce(&str) -> Outcome) -> Outcome {
    if let Err(error) = log::start(&loaded.config.log) {
        return usage(error);
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the threads of the server")?;
    let ended = runtime.block_on(async {
        // Asked for before anything is printed: whoever reads "Ready" may stop us at once.
        let stop = stopped().context("cannot listen for signals")?;
        let server = match Server::start(loaded.config).await {
            Ok(server) => server,
            Err(error) => return failed(error.to_string()),
        };
        greet(&server.greeting())?;
        server.run(stop).await;
        Ok(())
    });
    log::flush(std::time::Duration::from_secs(1));
    ended
}

/// Ends when somebody asks the process to end, by Ctrl+C or SIGTERM.
fn stopped() -> io::Result<impl Future<Output = ()>> {
    async fn either(mut interrupt: Signal, mut terminate: Signal) {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    Ok(either(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
}

/// Each connection is an open file; the usual 1,024 are for programs of another kind.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// `chinwag scrub`: says what is damaged, one line each.
pub(crate) fn scrub(out: &Out, args: &Scrub) -> Outcome {
    let mut bar = Progress::new("checking");
    let checked = chinwag_server::scrub(&args.data, |progress| bar.count(progress.what, progress.rows));
    drop(bar);
    let report = checked.map_err(anyhow::Error::from)?;
    for finding in &report.findings {
        out.either(|| json!({ "damaged": finding }), || finding.clone())?;
    }
    for note in &report.notes {
        out.either(|| json!({ "note": note }), || note.clone())?;
    }
    let (entries, records, damaged) = (report.entries, report.records, report.findings.len());
    out.either(
        || {
            let contents = &report.contents;
            json!({ "entries": entries, "records": records, "damaged": damaged, "contents": contents })
        },
        || {
            let contents = &report.contents;
            format!("{entries} entries and {records} records checked, {damaged} damaged\ncontents {contents}")
        },
    )?;
    if report.is_clean() {
        Ok(())
    } else {
        failed("the store is damaged: restore what is named from a backup")
    }
}
