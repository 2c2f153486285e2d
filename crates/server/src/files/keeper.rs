//! Lets go of files that nobody needs: uploads that no message took, and those of deleted messages.
//!
//! The rule comes first and the bytes go last, so a crash in between leaves bytes without a holder, never the
//! other way round; those are found at the next start,
//! or at the next pass where it was trouble or a backup that kept them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chinwag_domain::{Request, rules::file::idle_before};
use chinwag_protocol::{FileId, Refused};
use chinwag_store::objects::Objects;
use tokio_util::sync::CancellationToken;

use super::on_disk;
use crate::{chores::Chores, messenger::Messenger};

/// How often it looks without being told of a deletion.
const EVERY: Duration = Duration::from_secs(60);

/// How many are let go of in one step.
const AT_ONCE: usize = 500;

/// Works until the server goes down.
pub async fn keep_files(messenger: Messenger, chores: Arc<Chores>, shutdown: CancellationToken) {
    let work = async {
        // At the start, and after trouble.
        let mut all = true;
        loop {
            let swept = if all { sweep(&messenger).await } else { Ok(()) };
            let collected = collect(&messenger).await;
            all = swept.is_err() || collected.is_err();
            log(swept.and(collected));
            // Whichever comes first; a deletion that is told while this works is remembered.
            let _ = tokio::time::timeout(EVERY, chores.files.notified()).await;
        }
    };
    shutdown.run_until_cancelled(work).await;
}

/// Trouble is tried again at the next pass.
fn log(done: Result<(), Refused>) {
    if let Err(refused) = done {
        tracing::warn!(%refused, "files that nobody needs are kept for now");
    }
}

/// Lets go of what no message takes, and removes it if nobody else holds it.
async fn collect(messenger: &Messenger) -> Result<(), Refused> {
    loop {
        let before = idle_before(messenger.now());
        let idle = messenger.read(move |reader| reader.idle_holdings(before, AT_ONCE)).await?;
        if idle.is_empty() {
            return Ok(());
        }
        let idle: Vec<_> = idle.iter().map(|held| (held.user, held.file)).collect();
        let files: BTreeSet<FileId> = idle.iter().map(|(_, file)| *file).collect();
        messenger.transacted(Request::CollectFiles { idle }).await?;
        for file in files {
            remove_if_free(messenger, file).await?;
        }
    }
}

/// Removes what a crash left: bytes whose last holder is gone already.
async fn sweep(messenger: &Messenger) -> Result<(), Refused> {
    let objects = objects(messenger);
    let files = on_disk(move || {
        let mut files = Vec::new();
        objects.list(&mut |file| files.push(file))?;
        Ok(files)
    })
    .await?;
    for file in files {
        remove_if_free(messenger, file).await?;
    }
    Ok(())
}

async fn remove_if_free(messenger: &Messenger, file: FileId) -> Result<(), Refused> {
    // Marked first and asked afterwards: an upload in between takes the mark away.
    if !messenger.files().objects.condemn(file) {
        return Ok(());
    }
    if messenger.read(move |reader| reader.is_held(file)).await? {
        return Ok(());
    }
    let objects = objects(messenger);
    if on_disk(move || objects.remove(file)).await? {
        tracing::debug!(%file, "a file that nobody holds was removed");
    }
    Ok(())
}

fn objects(messenger: &Messenger) -> Arc<dyn Objects> {
    Arc::clone(&messenger.files().objects)
}
