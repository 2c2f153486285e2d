//! `chinwag fetch`: saves a file of a message.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use chinwag_protocol::{Anchor, Answer, Attachment, Event, Query, Seq};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{
    names,
    session::{Session, foreign},
};
use crate::{
    args::{Fetch, Global},
    exit::{Outcome, failed, usage},
    show::{self, Out},
};

/// `chinwag fetch`.
pub(crate) async fn run(global: &Global, out: &Out, args: Fetch) -> Outcome {
    let session = Session::find(global)?;
    let conversation = names::conversation(&session, &args.conversation).await?;
    let seq = Seq(args.message);
    let query = Query::History { conversation, anchor: Anchor::Before(seq.next()), limit: 1 };
    let Answer::History(page) = session.query(query).await? else { return foreign() };
    let files =
        page.items.into_iter().filter(|item| item.entry.seq == seq).find_map(|item| match item.entry.event {
            Event::Message(body) => Some(body.attachments),
            _ => None,
        });
    let files = files.unwrap_or_default();
    let index = args.file - 1;
    let Some(attachment) = files.get(index) else {
        return failed(match files.len() {
            0 => format!("message {seq} holds no files"),
            count => format!("message {seq} holds {count} files only"),
        });
    };
    let target = args.output.unwrap_or_else(|| PathBuf::from(&attachment.name));
    let mut half = Half::begin(&target, args.force).await?;
    let count = session.http.download((conversation, seq, index), &mut half.file).await?;
    if count != attachment.size {
        return failed("the file did not come whole");
    }
    half.finish(&target).await?;
    out.either(
        || json!({"path": target, "name": attachment.name, "size": count, "media_type": attachment.media_type}),
        || format!("Saved {} ({})", show::one_line(&target.display().to_string()), show::size(count)),
    )
}

/// A file that takes its name only when it is whole.
struct Half {
    file: tokio::fs::File,
    path: tempfile::TempPath,
}

impl Half {
    async fn begin(target: &Path, force: bool) -> Outcome<Self> {
        if !force && target.exists() {
            return usage(format!(
                "{} is there already: name another with --output, or use --force",
                target.display()
            ));
        }
        let folder =
            target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (file, path) = tempfile::NamedTempFile::new_in(folder)?.into_parts();
        Ok(Self { file: tokio::fs::File::from_std(file), path })
    }

    async fn finish(mut self, target: &Path) -> Outcome {
        self.file.flush().await?;
        self.file.sync_all().await?;
        match self.path.persist(target) {
            Ok(()) => Ok(()),
            Err(error) if error.error.kind() == ErrorKind::IsADirectory => {
                usage(format!("{} is a folder: name a file in it", target.display()))
            }
            Err(error) => Err(error.error.into()),
        }
    }
}

/// What stands for a file in a line of text.
pub(crate) fn shown(attachment: &Attachment) -> String {
    format!("[file] {} ({})", show::one_line(&attachment.name), show::size(attachment.size))
}
