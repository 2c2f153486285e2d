//! `chinwag restore`: a data folder made of a backup. It never overwrites a store.

use chinwag_server::Want;

use super::backup::{described, words};
use crate::{
    args::Restore,
    exit::{Outcome, failed},
    show::{self, Out, Progress},
};

/// `chinwag restore`.
pub(crate) fn run(out: &Out, args: &Restore) -> Outcome {
    let mut bar = Progress::new("restoring");
    let want = if args.without_files { Want::NoFiles } else { Want::Everything };
    let done = chinwag_server::restore(&args.file, &args.data, want, |progress| {
        bar.count(progress.what, progress.rows);
    });
    drop(bar);
    let restored = done.map_err(anyhow::Error::from)?;
    let (file, data) = (args.file.display().to_string(), args.data.display().to_string());
    out.either(
        || described(&restored.manifest, &file, &restored.epoch),
        || {
            format!(
                "{} now holds {}\nClients load everything anew; the search index is made at the first start.{}",
                show::one_line(&data),
                words(&restored.manifest),
                match (&restored.manifest.attached, args.without_files) {
                    (None, _) => "\nThe files of messages are not in this backup; if there is a copy of the folder files, put it there.",
                    (Some(_), true) => "\nWithout the files of messages.",
                    (Some(_), false) => "",
                },
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
