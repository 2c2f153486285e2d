//! `chinwag send`.

use std::{
    io::{self, IsTerminal, Read},
    path::Path,
    time::Duration,
};

use chinwag_client::outbox::{Draft, Outbox, Outcome as Fate};
use chinwag_protocol::{Attach, ConversationId, Seq};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{
    names,
    outbox::{Delivered, deliver, settle},
    session::Session,
};
use crate::{
    args::{Global, Send},
    exit::{Outcome, Stop, failed, usage},
    show::{self, Out, note},
};

/// `chinwag send`.
pub(crate) async fn run(global: &Global, out: &Out, args: Send) -> Outcome {
    let session = Session::find(global)?;
    // Read before anything else: an empty message should not open a private chat.
    let text = if args.lines { None } else { Some(whole_text(&args.text, !args.file.is_empty())?) };
    let files = args.file.iter().map(|path| File::read(path)).collect::<Outcome<Vec<_>>>()?;
    let conversation = conversation(&session, &args).await?;
    let mut outbox = Outbox::open(&session.outbox()?)?;
    let Some(text) = text else {
        return each_line(&session, out, &args, conversation, &mut outbox).await;
    };
    let mut attachments = Vec::with_capacity(files.len());
    for file in files {
        let uploaded = session.http.upload(&file.name, file.bytes).await?;
        attachments.push(Attach::from(&uploaded));
    }
    send(&session, out, &args, conversation, &mut outbox, text, attachments).await
}

/// A file on its way out, read before anything is sent.
struct File {
    name: String,
    bytes: Vec<u8>,
}

impl File {
    fn read(path: &Path) -> Outcome<Self> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self { name, bytes }),
            Err(error) => usage(format!("cannot read {}: {error}", path.display())),
        }
    }
}

/// The text of the arguments, or else of standard input.
fn whole_text(words: &[String], beside_files: bool) -> Outcome<String> {
    if words.is_empty() && beside_files {
        return Ok(String::new());
    }
    let text = if words.is_empty() {
        if io::stdin().is_terminal() {
            note("Write the message, and end it with Ctrl-D on a line of its own.");
        }
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        let Ok(text) = String::from_utf8(bytes) else { return usage("standard input is not UTF-8 text") };
        text.strip_suffix('\n')
            .map_or(text.clone(), |text| text.strip_suffix('\r').unwrap_or(text).to_owned())
    } else {
        words.join(" ")
    };
    if text.trim().is_empty() && !beside_files { usage("there is nothing to send") } else { Ok(text) }
}

/// Where it goes; while the server cannot be reached, what the name meant the last time.
async fn conversation(session: &Session, args: &Send) -> Outcome<ConversationId> {
    match names::conversation(session, &args.to).await {
        Err(Stop::Unreachable(error)) => match names::remembered(session, &args.to)? {
            Some(id) if args.queue => Ok(id),
            _ => Err(Stop::Unreachable(error)),
        },
        other => other,
    }
}

async fn each_line(
    session: &Session,
    out: &Out,
    args: &Send,
    conversation: ConversationId,
    outbox: &mut Outbox,
) -> Outcome {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if !line.trim().is_empty() {
            send(session, out, args, conversation, outbox, line, Vec::new()).await?;
        }
    }
    Ok(())
}

async fn send(
    session: &Session,
    out: &Out,
    args: &Send,
    conversation: ConversationId,
    outbox: &mut Outbox,
    text: String,
    attachments: Vec<Attach>,
) -> Outcome {
    let mut draft = Draft::new(conversation, text);
    draft.attachments = attachments;
    draft.reply_to = args.reply_to.map(Seq);
    draft.thread = args.thread.map(Seq);
    let client_id = draft.client_id.clone();
    outbox.add(draft)?;
    match deliver(session, outbox, &client_id, Duration::from_secs(args.wait)).await? {
        Delivered::Fate(fate) => {
            let posted = settle(fate)?;
            out.either(
                || {
                    json!({"client_id": client_id, "conversation": conversation, "seq": posted.seq, "at": posted.at,
                        "time": show::time(posted.at)})
                },
                || format!("Sent as {} in id:{conversation}", posted.seq),
            )
        }
        Delivered::Waits { .. } if args.queue => out.either(
            || json!({"client_id": client_id, "conversation": conversation, "queued": true}),
            || "Queued: it is sent by the next `chinwag send` or `chinwag outbox send`".to_owned(),
        ),
        // Nobody knows whether the server has it: taking it back could not be meant honestly.
        Delivered::Waits { may_have_arrived: true, stop } => {
            note("It may or may not have arrived. It stays in the outbox and will not be sent twice.");
            match stop {
                stop @ (Stop::Refused(_) | Stop::NotSignedIn(_)) => Err(stop),
                _ => failed("no acknowledgement came in time"),
            }
        }
        Delivered::Waits { may_have_arrived: false, stop } => {
            outbox.finish(&client_id, Fate::Withdrawn {})?;
            Err(stop)
        }
    }
}
