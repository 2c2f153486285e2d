//! The form of a file on disk: its bytes, a check value for each block of them, and at the end how many there are.
//!
//! The name of a file is the hash of all of it, which says nothing about a piece before the whole was read. With
//! the check values any piece can be verified alone, as a player that jumps about in a film needs it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

use chinwag_protocol::FileId;
use sha2::{Digest, Sha256};

use super::{Content, ObjectError};

/// Bytes of a block.
pub(super) const BLOCK: usize = 64 * 1024;
const CHECK: usize = 16;
const FOOTER: usize = 16;
const MAGIC: &[u8; 8] = b"chinwag1";

/// Bound to its place, so that two blocks that change places are found.
fn check(index: u64, block: &[u8]) -> [u8; CHECK] {
    let mut hash = Sha256::new();
    hash.update(index.to_le_bytes());
    hash.update(block);
    let digest: [u8; 32] = hash.finalize().into();
    *digest.first_chunk().expect("a digest has 32 bytes")
}

/// Writes a file in this form.
pub(super) struct Sealer {
    file: File,
    block: Vec<u8>,
    checks: Vec<u8>,
    size: u64,
    hash: Sha256,
}

impl Sealer {
    pub(super) fn new(file: File) -> Self {
        Self { file, block: Vec::with_capacity(BLOCK), checks: Vec::new(), size: 0, hash: Sha256::new() }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        self.size += bytes.len() as u64;
        self.hash.update(bytes);
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let index = (self.checks.len() / CHECK) as u64;
        self.checks.extend_from_slice(&check(index, &self.block));
        self.file.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }

    /// Writes the rest and waits until all of it is on disk.
    pub(super) fn finish(mut self) -> std::io::Result<(FileId, u64)> {
        if !self.block.is_empty() {
            self.flush()?;
        }
        self.file.write_all(&self.checks)?;
        self.file.write_all(MAGIC)?;
        self.file.write_all(&self.size.to_le_bytes())?;
        #[cfg(feature = "canaries")]
        if crate::canary::is(crate::canary::Canary::FilesUnsynced) {
            return Ok((FileId(self.hash.finalize().into()), self.size));
        }
        self.file.sync_all()?;
        Ok((FileId(self.hash.finalize().into()), self.size))
    }
}

/// Reads a file in this form.
pub(super) struct Unsealer {
    file: File,
    name: FileId,
    size: u64,
    checks: Vec<u8>,
}

impl Unsealer {
    pub(super) fn new(mut file: File, name: FileId) -> Result<Self, ObjectError> {
        let failed = || ObjectError::io("read a file");
        let damaged = |why| ObjectError::Damaged { file: name, why };
        let length = file.metadata().map_err(failed())?.len();
        let mut footer = [0; FOOTER];
        let at = length.checked_sub(FOOTER as u64).ok_or_else(|| damaged("it is cut short"))?;
        file.seek(SeekFrom::Start(at)).map_err(failed())?;
        file.read_exact(&mut footer).map_err(failed())?;
        let (magic, size) = footer.split_at(MAGIC.len());
        let size = u64::from_le_bytes(size.try_into().expect("the other half of sixteen bytes"));
        let checks = size.div_ceil(BLOCK as u64).saturating_mul(CHECK as u64);
        if magic != MAGIC || size.checked_add(checks) != Some(at) {
            return Err(damaged("its end does not fit its length"));
        }
        // Bounded by the length of the file, so that no number in it can make this large.
        let mut read = vec![0; usize::try_from(checks).map_err(|_| damaged("it is too large"))?];
        file.seek(SeekFrom::Start(size)).map_err(failed())?;
        file.read_exact(&mut read).map_err(failed())?;
        Ok(Self { file, name, size, checks: read })
    }
}

impl Content for Unsealer {
    fn size(&self) -> u64 {
        self.size
    }

    fn block(&mut self, index: u64) -> Result<Vec<u8>, ObjectError> {
        let start = index.saturating_mul(BLOCK as u64);
        let length = self.size.saturating_sub(start).min(BLOCK as u64);
        let mut block = vec![0; usize::try_from(length).unwrap_or(BLOCK)];
        if block.is_empty() {
            return Ok(block);
        }
        self.file.seek(SeekFrom::Start(start)).map_err(ObjectError::io("read a file"))?;
        self.file.read_exact(&mut block).map_err(ObjectError::io("read a file"))?;
        let at = usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(CHECK);
        let kept = self.checks.get(at..at.saturating_add(CHECK));
        if kept != Some(&check(index, &block)[..]) {
            return Err(ObjectError::Damaged {
                file: self.name,
                why: "a block does not fit its check value",
            });
        }
        Ok(block)
    }
}
