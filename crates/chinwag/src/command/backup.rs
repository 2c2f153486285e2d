//! `chinwag backup`: a copy of the store in one file, and of its files beside it, taken beside a running server or
//! without one.

use chinwag_protocol::Millis;
use chinwag_server::{Manifest, Want};
use serde_json::{Value, json};

use crate::{
    args::Backup,
    exit::{Outcome, failed},
    show::{self, Out, Progress},
};

/// `chinwag backup`.
pub(crate) fn run(out: &Out, args: &Backup) -> Outcome {
    let now = Millis(jiff::Timestamp::now().as_millisecond());
    let mut bar = Progress::new("backing up");
    let done = chinwag_server::backup(&args.data, &args.file, Want::Everything, now, |progress| {
        bar.count(progress.what, progress.rows);
    });
    drop(bar);
    let manifest = done.map_err(anyhow::Error::from)?;
    let file = args.file.display().to_string();
    out.either(
        || described(&manifest, &file, &manifest.epoch),
        || format!("{} holds {}", show::one_line(&file), words(&manifest)),
    )?;
    match manifest.damaged {
        0 => Ok(()),
        count => failed(format!(
            "the backup is whole, but {count} things in the store are damaged: see chinwag scrub"
        )),
    }
}

/// What is in a backup, for programs.
pub(super) fn described(manifest: &Manifest, file: &str, epoch: &str) -> Value {
    json!({
        "file": file,
        "taken_at": show::time(manifest.taken_at),
        "last_at": show::time(manifest.last_at),
        "entries": manifest.entries,
        "records": manifest.records,
        "damaged": manifest.damaged,
        "contents": manifest.contents,
        "epoch": epoch,
        "bytes": manifest.bytes,
        "files": manifest.attached.as_ref().map(|attached| attached.files),
        "file_bytes": manifest.attached.as_ref().map(|attached| attached.bytes),
    })
}

/// What is in a backup, for people.
pub(super) fn words(manifest: &Manifest) -> String {
    let moment = |at| show::moment(at, "%Y-%m-%d %H:%M:%S");
    let files = manifest.attached.as_ref().map_or(0, |attached| attached.files);
    format!(
        "{} entries, {} records and {files} files, up to {} (taken at {})\ncontents {}",
        manifest.entries,
        manifest.records,
        moment(manifest.last_at),
        moment(manifest.taken_at),
        manifest.contents
    )
}
