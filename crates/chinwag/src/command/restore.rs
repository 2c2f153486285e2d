//! `chinwag restore`: a data folder made of a backup. It never overwrites a store.

use super::backup::{described, words};
use crate::{
    args::Restore,
    exit::{Outcome, failed},
    show::{self, Out, Progress},
};

/// `chinwag restore`.
pub(crate) fn run(out: &Out, args: &Restore) -> Outcome {
    let mut bar = Progress::new("restoring");
    let done = chinwag_server::restore(&args.file, &args.data, |progress| {
        bar.count(progress.what, progress.rows);
    });
    drop(bar);
    let restored = done.map_err(anyhow::Error::from)?;
    let (file, data) = (args.file.display().to_string(), args.data.display().to_string());
    out.either(
        || described(&restored.manifest, &file, &restored.epoch),
        || {
            format!(
                "{} now holds {}\nClients load everything anew; the search index is made at the first start.\nThe files of messages are not in a backup: copy the folder files beside it.",
                show::one_line(&data),
                words(&restored.manifest)
            )
        },
    )?;
    match restored.manifest.damaged {
        0 => Ok(()),
        count => failed(format!(
            "{count} things in it were damaged already when the backup was taken: see chinwag scrub"
        )),
    }
}
