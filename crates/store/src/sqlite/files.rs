//! The data folder: its lock, its rights, and the ballast that is released when the disk is full.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Why a store did not open. One line each, for the person who started the server.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be made or used.
    #[error("cannot use the data folder {}: {cause}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The data folder belongs to somebody else: files of two owners in it would lock one of them out.
    #[error("the data folder {} belongs to user id {owner}, but this process runs as {me}", folder.display())]
    Owner {
        /// Which.
        folder: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        me: u32,
    },
    /// Another process has it.
    #[error("the data folder {} is in use by another running server", folder.display())]
    Locked {
        /// Which.
        folder: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a Chinwag store", file.display())]
    Foreign {
        /// Which.
        file: PathBuf,
    },
    /// Written by a newer version.
    #[error(
        "the store {} needs a newer version of Chinwag: it needs schema {compat}, this binary knows {schema}",
        file.display()
    )]
    Newer {
        /// Which.
        file: PathBuf,
        /// The schema that a binary must know to use it.
        compat: u32,
        /// The schema that this binary knows.
        schema: u32,
    },
    /// There is no store.
    #[error("there is no store at {}", file.display())]
    Missing {
        /// Which.
        file: PathBuf,
    },
    /// A step of opening failed.
    #[error("cannot open the store {}: {doing}: {cause}", file.display())]
    Store {
        /// Which.
        file: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The folder, held by this process alone as long as this lives.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, checks whose it is, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |cause| OpenError::Folder { folder: path.to_owned(), cause };
        #[cfg(feature = "canaries")]
        if crate::canary::is(crate::canary::Canary::MakesParents) {
            let _ = fs::create_dir_all(path);
        }
        if !path.exists() {
            // The folder above must exist: a mistyped path is not to grow a tree of folders.
            DirBuilder::new().mode(0o700).create(path).map_err(failed)?;
        }
        let (owner, me) = (fs::metadata(path).map_err(failed)?.uid(), rustix::process::geteuid().as_raw());
        if owner != me {
            return Err(OpenError::Owner { folder: path.to_owned(), owner, me });
        }
        let lock = private(true).open(path.join("lock")).map_err(failed)?;
        #[cfg(feature = "canaries")]
        if crate::canary::is(crate::canary::Canary::NoLock) {
            return Ok(Self { path: path.to_owned(), _lock: lock });
        }
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { folder: path.to_owned() }),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// How files of ours are opened: readable by their owner alone.
pub(crate) fn private(create: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false).mode(0o600);
    options
}

/// Makes an empty file that only its owner may read, unless there is one.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    private(true).open(path).map(drop)
}

/// Disk space that the server keeps in hand: given up when the disk is full, so that deleting remains possible.
pub(super) struct Ballast {
    file: PathBuf,
    folder: PathBuf,
    bytes: u64,
}

/// What must be free beside the ballast before writing begins again.
const MARGIN: u64 = 1024 * 1024;

impl Ballast {
    pub(super) fn new(folder: &Folder, bytes: u64) -> Self {
        Self { file: folder.file("ballast"), folder: folder.path().to_owned(), bytes }
    }

    /// Whether it lies there with real blocks under it.
    pub(super) fn is_in_place(&self) -> bool {
        fs::metadata(&self.file)
            .is_ok_and(|meta| meta.len() >= self.bytes && meta.blocks() * 512 >= self.bytes)
    }

    /// Gives the space up.
    pub(super) fn release(&self) {
        match fs::remove_file(&self.file) {
            Ok(()) => tracing::warn!(bytes = self.bytes, "the ballast was released"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "cannot release the ballast"),
        }
    }

    /// Whether there is room for the ballast and for going on.
    pub(super) fn has_room(&self) -> bool {
        let missing = if self.is_in_place() { 0 } else { self.bytes };
        self.free().is_some_and(|free| free >= missing + MARGIN)
    }

    /// Whether the whole disk is no larger than what a busy server's log may take now and then.
    pub(super) fn disk_is_small(&self) -> bool {
        rustix::fs::statvfs(&self.folder)
            .is_ok_and(|disk| disk.f_blocks.saturating_mul(disk.f_frsize) < 1 << 30)
    }

    /// What the disk has left for us.
    fn free(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Puts it in place, unless it is.
    pub(super) fn set(&self) -> io::Result<()> {
        if self.is_in_place() {
            return Ok(());
        }
        let write = || {
            let mut file = private(true).open(&self.file)?;
            file.set_len(0)?;
            // Not zeros: a file system that compresses would keep nothing back for them.
            let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
            let mut block = Vec::with_capacity(64 * 1024);
            let mut left = self.bytes;
            while left > 0 {
                block.clear();
                while block.len() < 64 * 1024 && (block.len() as u64) < left {
                    noise ^= noise << 13;
                    noise ^= noise >> 7;
                    noise ^= noise << 17;
                    block.extend_from_slice(&noise.to_le_bytes());
                }
                block.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                file.write_all(&block)?;
                left -= block.len() as u64;
            }
            file.sync_all()
        };
        write().inspect_err(|_| {
            // Half of it would be in the way of the very writes it is there for.
            let _ = fs::remove_file(&self.file);
        })
    }
}
