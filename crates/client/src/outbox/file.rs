//! The file under the outbox: lines, locks, and what a crash may leave.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{Line, OutboxError};

/// Held while the file is changed; another process waits.
pub(super) struct Guard(#[expect(dead_code, reason = "closing it gives the lock back")] File);

pub(super) struct NewLines {
    /// The file was replaced: forget what was read from the old one.
    pub(super) from_start: bool,
    pub(super) lines: Vec<Line>,
}

#[derive(Debug)]
pub(super) struct JournalFile {
    path: PathBuf,
    file: File,
    inode: u64,
    /// Up to here the file was read.
    read: u64,
    sender: Option<File>,
}

impl JournalFile {
    pub(super) fn open(path: &Path) -> Result<Self, OutboxError> {
        let error = |cause| failed(path, "open", cause);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(error)?;
        }
        let file = open_private(path).map_err(error)?;
        let inode = file.metadata().map_err(error)?.ino();
        Ok(Self { path: path.to_owned(), file, inode, read: 0, sender: None })
    }

    /// Waits for the lock. It is a file of its own, because the outbox itself is replaced when it is compacted.
    pub(super) fn lock(&self) -> Result<Guard, OutboxError> {
        let lock = open_private(&self.beside("lock")).map_err(|cause| self.failed("lock", cause))?;
        lock.lock().map_err(|cause| self.failed("lock", cause))?;
        Ok(Guard(lock))
    }

    pub(super) fn become_sender(&mut self) -> Result<bool, OutboxError> {
        if self.sender.is_some() {
            return Ok(true);
        }
        let lock = open_private(&self.beside("sender")).map_err(|cause| self.failed("lock", cause))?;
        match lock.try_lock() {
            Ok(()) => {
                self.sender = Some(lock);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(cause)) => Err(self.failed("lock", cause)),
        }
    }

    pub(super) fn stop_sending(&mut self) {
        self.sender = None;
    }

    pub(super) fn is_unchanged(&self) -> Result<bool, OutboxError> {
        match fs::metadata(&self.path) {
            Ok(found) => Ok(found.ino() == self.inode && found.len() == self.read),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(cause) => Err(self.failed("read", cause)),
        }
    }

    /// Reads the lines that are new since the last time. Only under the lock.
    pub(super) fn read_new(&mut self) -> Result<NewLines, OutboxError> {
        self.try_read_new().map_err(|cause| self.failed("read", cause))
    }

    fn try_read_new(&mut self) -> io::Result<NewLines> {
        let mut from_start = self.read == 0;
        let current = open_private(&self.path)?;
        let found = current.metadata()?;
        if found.ino() != self.inode || found.len() < self.read {
            (self.file, self.inode, self.read, from_start) = (current, found.ino(), 0, true);
        }
        self.file.seek(SeekFrom::Start(self.read))?;
        let mut text = Vec::new();
        self.file.read_to_end(&mut text)?;
        let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut lines = Vec::new();
        for line in text[..complete].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            lines.push(
                serde_json::from_slice(line)
                    .map_err(|cause| io::Error::new(io::ErrorKind::InvalidData, cause))?,
            );
        }
        self.read += complete as u64;
        if complete < text.len() {
            // Nobody else writes now, so this was left by a crash in the middle of an addition.
            self.file.set_len(self.read)?;
            self.file.sync_data()?;
        }
        Ok(NewLines { from_start, lines })
    }

    /// Adds a line and waits until it is on the disk. Only under the lock, after reading.
    pub(super) fn append(&mut self, line: &str) -> Result<(), OutboxError> {
        let written = self.file.seek(SeekFrom::Start(self.read)).and_then(|_| {
            self.file.write_all(line.as_bytes())?;
            self.file.sync_data()
        });
        if let Err(cause) = written {
            // What was said to have failed must not be sent later; if this fails too, the half line is cut off
            // by the next reader, and a whole one is harmless because of its client id.
            let _ = self.file.set_len(self.read);
            return Err(self.failed("write to", cause));
        }
        self.read += line.len() as u64;
        Ok(())
    }

    /// Puts a new file in the place of the old one, at once or not at all. Only under the lock.
    pub(super) fn replace(&mut self, text: &str) -> Result<(), OutboxError> {
        self.try_replace(text).map_err(|cause| self.failed("compact", cause))
    }

    fn try_replace(&mut self, text: &str) -> io::Result<()> {
        let beside = self.beside("new");
        let mut file = open_private(&beside)?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.inode = file.metadata()?.ino();
        self.read = text.len() as u64;
        self.file = file;
        Ok(())
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(extension);
        name.into()
    }

    fn failed(&self, doing: &'static str, cause: io::Error) -> OutboxError {
        failed(&self.path, doing, cause)
    }
}

fn failed(path: &Path, doing: &'static str, cause: io::Error) -> OutboxError {
    OutboxError { doing, path: path.display().to_string(), cause }
}

/// What people write is theirs: nobody else on the machine may read it.
fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
impl JournalFile {
    /// Puts another handle in the place of the file's, to see what happens when writing fails.
    pub(super) fn put_file(&mut self, file: File) {
        self.file = file;
    }
}
