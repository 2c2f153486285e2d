//! Where the bytes of files lie: an object store, named by content. Now a folder; a remote one fits the same face.
//!
//! It knows neither users nor messages, and decides nothing: who may read a file is a rule, and when one may go is
//! asked of the store by whoever calls [`Objects::condemn`] and [`Objects::remove`].
//!
//! Invariant: what [`Objects::open`] finds is complete and on disk for good; a half upload has no name.
//! Invariant: no byte is handed out whose check value does not fit.

mod carry;
mod folder;
mod pins;
mod sealed;

use std::path::Path;

use chinwag_protocol::FileId;
use sha2::{Digest, Sha256};

pub(crate) use carry::{Carrier, lend};
pub use folder::FolderObjects;
pub use pins::Pin;

/// Why a file cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no room.
    #[error("there is no room for more files")]
    Full,
    /// There is no such file.
    #[error("there is no file {0}")]
    Missing(FileId),
    /// Nothing is removed just now.
    #[error("a backup is being taken, so file {0} is not removed yet")]
    Lent(FileId),
    /// What lies there is not what was written.
    #[error("file {file} is damaged: {why}")]
    Damaged {
        /// Which.
        file: FileId,
        /// What does not fit.
        why: &'static str,
    },
    /// The disk said no.
    #[error("cannot {doing}: {cause}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        cause: std::io::Error,
    },
}

impl ObjectError {
    /// Says what was being done when an error came; a full disk is told from other trouble.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| match cause.kind() {
            #[cfg(feature = "canaries")]
            _ if crate::canary::is(crate::canary::Canary::FullUnnamed) => Self::Io { doing, cause },
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io { doing, cause },
        }
    }
}

/// An object store. Its methods wait for the disk: call them where waiting is allowed.
pub trait Objects: Send + Sync {
    /// Begins a new file.
    fn begin(&self) -> Result<Box<dyn Incoming>, ObjectError>;
    /// Opens a file for reading.
    fn open(&self, file: FileId) -> Result<Box<dyn Content>, ObjectError>;
    /// Marks a file for removal; `false` if it is just being uploaded. To be called *before* asking whether anybody
    /// holds it: whoever uploads it after that takes the mark away.
    fn condemn(&self, file: FileId) -> bool;
    /// Removes a file whose mark is still there; answers whether it was. Not while a backup is being taken.
    fn remove(&self, file: FileId) -> Result<bool, ObjectError>;
    /// Names every file that is there, in any order.
    fn list(&self, each: &mut dyn FnMut(FileId)) -> Result<(), ObjectError>;
}

/// A file that is being written. Dropped before [`Incoming::finish`], it never was.
pub trait Incoming: Send {
    /// Adds bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<(), ObjectError>;
    /// Puts the file in place under its name, for good.
    fn finish(self: Box<Self>) -> Result<Kept, ObjectError>;
}

/// A file that is complete and on disk. As long as this lives, nobody removes it.
pub struct Kept {
    /// Its name.
    pub file: FileId,
    /// How many bytes.
    pub size: u64,
    /// Keeps it from being removed until somebody holds it.
    pub pin: Pin,
}

/// A file that is being read.
pub trait Content: Send {
    /// How many bytes it has.
    fn size(&self) -> u64;
    /// Reads the block with this number, all of it: [`BLOCK_BYTES`], or less at the end. Verified.
    fn block(&mut self, index: u64) -> Result<Vec<u8>, ObjectError>;
}

/// Files are verified and read in pieces of this size.
pub const BLOCK_BYTES: u64 = sealed::BLOCK as u64;

/// Reads a whole file and compares it with its name.
pub fn verify(objects: &dyn Objects, file: FileId, size: u64) -> Result<(), ObjectError> {
    let mut content = objects.open(file)?;
    let damaged = |why| ObjectError::Damaged { file, why };
    if content.size() != size {
        return Err(damaged("it has another size"));
    }
    let mut hash = Sha256::new();
    for index in 0..size.div_ceil(BLOCK_BYTES) {
        hash.update(content.block(index)?);
    }
    if hash.finalize().as_slice() != file.0.as_slice() {
        return Err(damaged("its content is not that of its name"));
    }
    Ok(())
}

/// The object store of a data folder, for looking only: nothing is made or tidied up.
pub fn look_at(data: &Path) -> FolderObjects {
    FolderObjects::at(&data.join("files"))
}

#[cfg(test)]
mod tests;
