//! `chinwag import`: handed to the server's importer, one line for each record.

use chinwag_server::import::{self, Line, Outcome as Became, Record};
use serde_json::json;

use crate::{
    args::Import,
    exit::{Outcome, Stop, failed},
    show::{Out, note},
};

/// `chinwag import`.
pub(crate) fn run(out: &Out, args: &Import) -> Outcome {
    let mut said: Outcome = Ok(());
    let imported = import::run(&args.file, &args.data, args.dry_run, &mut |line| {
        // Whoever stopped reading does not stop the import.
        if said.is_ok() {
            said = show(out, line);
        }
    });
    let summary = imported.map_err(|error| Stop::Failed(error.into()))?;
    said?;
    let import::Summary { imported, known, refused, notices } = summary;
    if args.dry_run && !out.json {
        note("Nothing was changed.");
    }
    out.either(
        || json!({"imported": imported, "known": known, "refused": refused, "notices": notices, "dry_run": args.dry_run}),
        || format!("{imported} imported, {known} known already, {refused} refused, {notices} delivery notices left out"),
    )?;
    if refused == 0 { Ok(()) } else { failed(format!("{refused} records were refused")) }
}

fn show(out: &Out, line: &Line) -> Outcome {
    let record = match line.record {
        Record::User => "user",
        Record::Message => "message",
    };
    let outcome = match line.outcome {
        Became::Imported => "imported",
        Became::Known => "known",
        Became::Refused => "refused",
    };
    let number = line.number;
    out.either(
        || json!({"record": record, "number": number, "name": line.name, "outcome": outcome, "why": line.why}),
        || {
            let why = if line.why.is_empty() { String::new() } else { format!(": {}", line.why) };
            format!("{record} {number}  {}  {outcome}{}", out.name(&line.name), out.name(&why))
        },
    )
}
