//! Files of messages, and pictures of people and conversations: taking them in, giving them out, letting them go.
//!
//! Between the object store, which has the bytes, and the rules, which know who holds what and who sees it. Nothing
//! here decides who may: an upload is noted by a rule, and a file is found by a reading, through what shows
//! it.
//!
//! Invariant: the bytes are on disk before a rule hears of them, and go only after nobody holds them.

mod keeper;
mod media_type;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use chinwag_domain::{
    Actor, Failed, Request,
    facts::Stop,
    limits::{Limits, UPLOADS_PARALLEL_MAX},
    names, reading,
    rules::file::Uploaded,
};
use chinwag_protocol::{Attachment, ConversationId, FileId, Kind, Portrayed, Refused, Seq, UserId};
use chinwag_store::objects::{BLOCK_BYTES, Content, Incoming, ObjectError, Objects};

pub use keeper::keep_files;
pub(crate) use media_type::is_shown;

use crate::messenger::{Messenger, told};

/// What arrives is handed to the disk in pieces of about this size: each is a step onto another thread.
const PIECE_BYTES: usize = 256 * 1024;

/// So much of the beginning is looked at to find out what a file is.
const LOOKED_AT_BYTES: usize = 4 * 1024;

/// The object store, and who is uploading.
pub struct Files {
    objects: Arc<dyn Objects>,
    uploading: Arc<Mutex<HashMap<UserId, u32>>>,
}

impl Files {
    /// Files over an object store.
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects, uploading: Arc::default() }
    }

    /// Lets a user begin one more upload, if he may.
    fn enter(&self, user: UserId) -> Result<Place, Refused> {
        let mut uploading = self.uploading.lock().unwrap_or_else(PoisonError::into_inner);
        let count = uploading.entry(user).or_default();
        if *count >= UPLOADS_PARALLEL_MAX {
            let why = format!("at most {UPLOADS_PARALLEL_MAX} uploads at the same time");
            return Err(Refused::too_many("too_many_uploads", why, 1_000));
        }
        *count += 1;
        Ok(Place { uploading: Arc::clone(&self.uploading), user })
    }
}

/// One of the uploads that a user may have at the same time.
struct Place {
    uploading: Arc<Mutex<HashMap<UserId, u32>>>,
    user: UserId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut uploading = self.uploading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = uploading.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                uploading.remove(&self.user);
            }
        }
    }
}

/// A file that is being uploaded. Dropped before [`Upload::finish`], it never was.
pub struct Upload {
    messenger: Messenger,
    actor: Actor,
    name: String,
    /// Taken while a piece is being written.
    incoming: Option<Box<dyn Incoming>>,
    piece: Vec<u8>,
    beginning: Vec<u8>,
    size: u64,
    at_most: u64,
    _place: Place,
}

impl Upload {
    /// Adds bytes; waits for the disk now and then.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.size += bytes.len() as u64;
        if self.size > self.at_most {
            return Err(too_large(self.at_most));
        }
        let look = LOOKED_AT_BYTES.saturating_sub(self.beginning.len()).min(bytes.len());
        self.beginning.extend_from_slice(&bytes[..look]);
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Refused> {
        let piece = std::mem::take(&mut self.piece);
        let Some(mut incoming) = self.incoming.take() else { return Err(interrupted()) };
        let written = on_disk(move || incoming.write(&piece).map(|()| incoming)).await?;
        self.incoming = Some(written);
        Ok(())
    }

    /// Puts the file in place and notes whose it is: for an hour he can post it.
    pub async fn finish(mut self) -> Result<Attachment, Refused> {
        self.flush().await?;
        let Some(incoming) = self.incoming.take() else { return Err(interrupted()) };
        let kept = on_disk(move || incoming.finish()).await?;
        let media_type = media_type::of(&self.beginning, self.size).to_owned();
        let uploaded = Uploaded {
            file: kept.file,
            size: kept.size,
            media_type: media_type.clone(),
            bytes_per_user: self.messenger.limits().file_bytes_per_account,
        };
        self.messenger.transacted(Request::Uploaded { actor: self.actor.clone(), uploaded }).await?;
        // Only now does somebody hold it; until here the pin kept it.
        drop(kept.pin);
        Ok(Attachment { file: kept.file, name: self.name, size: kept.size, media_type })
    }
}

/// A file of a message that somebody may see, ready to be read.
pub struct Download {
    /// What it is.
    pub attachment: Attachment,
    content: Option<Box<dyn Content>>,
}

impl Download {
    /// Bytes of a block, but for the last.
    pub const BLOCK_BYTES: u64 = BLOCK_BYTES;

    /// The block with this number, verified; empty behind the end.
    pub async fn block(&mut self, index: u64) -> Result<Bytes, Refused> {
        let Some(mut content) = self.content.take() else { return Err(interrupted()) };
        let (block, content) = on_disk(move || content.block(index).map(|block| (block, content))).await?;
        self.content = Some(content);
        Ok(Bytes::from(block))
    }

    /// All of it at once, unless it is larger than `at_most`.
    pub async fn bytes(mut self, at_most: u64) -> Result<Bytes, Refused> {
        if self.attachment.size > at_most {
            return Err(too_large(at_most));
        }
        let mut all = Vec::new();
        for index in 0..self.attachment.size.div_ceil(BLOCK_BYTES) {
            all.extend_from_slice(&self.block(index).await?);
        }
        Ok(Bytes::from(all))
    }
}

impl Messenger {
    /// How much is allowed.
    fn limits(&self) -> &Limits {
        self.limiter().limits()
    }

    /// Begins an upload. `size`: how many bytes will come, as far as that is known.
    pub async fn upload(&self, actor: &Actor, name: &str, size: Option<u64>) -> Result<Upload, Refused> {
        let name = names::file(name)?;
        let (at_most, per_user) = (self.limits().upload_bytes, self.limits().file_bytes_per_account);
        let size = size.unwrap_or(0);
        if size > at_most {
            return Err(too_large(at_most));
        }
        let (asker, now) = (actor.clone(), self.now());
        self.read(move |reader| reading::may_upload(reader, &asker, size, per_user, now)).await?;
        self.limiter().upload(actor.user)?;
        let place = self.files().enter(actor.user)?;
        let objects = Arc::clone(&self.files().objects);
        let incoming = on_disk(move || objects.begin()).await?;
        Ok(Upload {
            messenger: self.clone(),
            actor: actor.clone(),
            name,
            incoming: Some(incoming),
            piece: Vec::new(),
            beginning: Vec::new(),
            size: 0,
            at_most,
            _place: place,
        })
    }

    /// Uploads what is at hand already.
    pub async fn upload_bytes(&self, actor: &Actor, name: &str, bytes: &[u8]) -> Result<Attachment, Refused> {
        let mut upload = self.upload(actor, name, Some(bytes.len() as u64)).await?;
        upload.write(bytes).await?;
        upload.finish().await
    }

    /// What a file of a message is, for whoever sees the message.
    pub async fn attachment(
        &self,
        actor: &Actor,
        conversation: ConversationId,
        seq: Seq,
        index: usize,
    ) -> Result<Attachment, Refused> {
        let (asker, now) = (actor.clone(), self.now());
        self.read(move |reader| reading::attachment(reader, &asker, conversation, seq, index, now)).await
    }

    /// Opens a file of a message, for whoever sees the message.
    pub async fn download(
        &self,
        actor: &Actor,
        conversation: ConversationId,
        seq: Seq,
        index: usize,
    ) -> Result<Download, Refused> {
        let attachment = self.attachment(actor, conversation, seq, index).await?;
        self.open(attachment).await
    }

    /// Opens the picture of a user or a conversation, if it is this file, for whoever may know of them.
    pub async fn avatar(&self, actor: &Actor, of: Portrayed, file: FileId) -> Result<Download, Refused> {
        let (asker, now) = (actor.clone(), self.now());
        let found = self.read(move |reader| reading::avatar(reader, &asker, of, file, now)).await?;
        self.open(found).await
    }

    async fn open(&self, attachment: Attachment) -> Result<Download, Refused> {
        let (objects, file) = (Arc::clone(&self.files().objects), attachment.file);
        let content = on_disk(move || objects.open(file)).await?;
        Ok(Download { attachment, content: Some(content) })
    }
}

/// Does what waits for the disk where waiting harms nobody.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ObjectError> + Send + 'static,
) -> Result<T, Refused> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(refusal),
        Err(panicked) => Err(told(Stop::Failed(Failed::new("cannot work on a file", panicked)))),
    }
}

fn refusal(error: ObjectError) -> Refused {
    match error {
        ObjectError::Full => Refused {
            retry_after_ms: Some(5_000),
            ..Refused::new(Kind::StorageFull, "storage_full", "the server has no room for more files")
        },
        // Not trouble, only not yet.
        ObjectError::Lent(_) => Refused::new(Kind::Unavailable, "lent", error.to_string()),
        other => told(Stop::Failed(Failed::new("cannot work on a file", other))),
    }
}

fn too_large(at_most: u64) -> Refused {
    Refused::too_large("file", format!("a file has at most {} MiB", at_most >> 20))
}

/// A piece failed before; whoever goes on after that hears the same for every further one.
fn interrupted() -> Refused {
    Refused::new(Kind::Unavailable, "interrupted", "the file could not be worked on: begin again")
}
