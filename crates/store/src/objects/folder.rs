//! Files in a folder of the data folder, spread over 256 folders by the first two digits of their names.
//!
//! A file is written under `incoming`, brought to disk, and then given its name, which is brought to disk too: so
//! there is no moment at which a name stands for less than the whole. What lies in `incoming` at the start is what a
//! killed server left, and goes.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use chinwag_protocol::FileId;

use super::{
    Content, Incoming, Kept, ObjectError, Objects,
    pins::Pins,
    sealed::{Sealer, Unsealer},
};

/// Files leave so much of the disk to the messages: a twentieth of it within these bounds. The least is more than the
/// room that a full store gives up so that deleting goes on, and what is written between two looks.
const RESERVE_LEAST: u64 = 24 * 1024 * 1024 + LOOK_EVERY;
const RESERVE_MOST: u64 = 256 * 1024 * 1024;

/// How many bytes are written before the room is looked at again.
const LOOK_EVERY: u64 = 8 * 1024 * 1024;

/// An object store in a folder.
pub struct FolderObjects {
    folder: PathBuf,
    pins: Pins,
    next: AtomicU64,
}

impl FolderObjects {
    /// Opens the store in a folder and makes it if need be. The data folder around it is locked by its caller, so
    /// that nobody else writes here.
    pub fn open(folder: &Path) -> Result<Self, ObjectError> {
        let objects = Self::at(folder);
        let incoming = objects.incoming();
        make(folder).and_then(|()| make(&incoming)).map_err(ObjectError::io("make the folder for files"))?;
        let empty = || {
            for left in fs::read_dir(&incoming)? {
                fs::remove_file(left?.path())?;
            }
            Ok(())
        };
        empty().map_err(ObjectError::io("tidy up what was half uploaded"))?;
        Ok(objects)
    }

    /// The same without touching anything.
    pub(super) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), pins: Pins::default(), next: AtomicU64::new(0) }
    }

    /// How many bytes all files take, and how many there are.
    pub fn used(&self) -> Result<(u64, u64), ObjectError> {
        let (mut bytes, mut files) = (0, 0);
        self.list(&mut |file| {
            files += 1;
            bytes += fs::metadata(self.place(file)).map_or(0, |meta| meta.len());
        })?;
        Ok((bytes, files))
    }

    fn incoming(&self) -> PathBuf {
        self.folder.join("incoming")
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn place(&self, file: FileId) -> PathBuf {
        let name = file.to_string();
        self.folder.join(&name[..2]).join(&name[2..])
    }
}

/// Makes a folder that only its owner may enter, and brings that to disk.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => sync_folder(folder.parent().unwrap_or(Path::new("."))),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether the disk has more room than what is left to the messages.
fn has_room(folder: &Path) -> bool {
    #[cfg(feature = "canaries")]
    if crate::canary::is(crate::canary::Canary::FullUnnamed) {
        return true;
    }
    let Ok(disk) = rustix::fs::statvfs(folder) else { return true };
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    bytes(disk.f_bavail) > (bytes(disk.f_blocks) / 20).clamp(RESERVE_LEAST, RESERVE_MOST)
}

impl Objects for FolderObjects {
    fn begin(&self) -> Result<Box<dyn Incoming>, ObjectError> {
        if !has_room(&self.folder) {
            return Err(ObjectError::Full);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.incoming().join(number.to_string());
        let file = crate::sqlite::private(true).open(&path).map_err(ObjectError::io("begin a file"))?;
        Ok(Box::new(Half {
            sealer: Some(Sealer::new(file)),
            path,
            folder: self.folder.clone(),
            pins: self.pins.clone(),
            look_at: LOOK_EVERY,
            written: 0,
        }))
    }

    fn open(&self, file: FileId) -> Result<Box<dyn Content>, ObjectError> {
        match File::open(self.place(file)) {
            Ok(opened) => Ok(Box::new(Unsealer::new(opened, file)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(ObjectError::Missing(file)),
            Err(error) => Err(ObjectError::io("open a file")(error)),
        }
    }

    fn condemn(&self, file: FileId) -> bool {
        self.pins.condemn(file)
    }

    fn remove(&self, file: FileId) -> Result<bool, ObjectError> {
        // Whoever takes a backup holds this, see `lend`.
        let folder = File::open(&self.folder).map_err(ObjectError::io("remove a file"))?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ObjectError::Lent(file)),
            Err(TryLockError::Error(error)) => return Err(ObjectError::io("remove a file")(error)),
        }
        self.pins.execute(file, || match fs::remove_file(self.place(file)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(ObjectError::io("remove a file")(error)),
        })
    }

    fn list(&self, each: &mut dyn FnMut(FileId)) -> Result<(), ObjectError> {
        let entries = |folder: &Path| match fs::read_dir(folder) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let mut walk = || {
            for part in entries(&self.folder)? {
                let first = part.file_name();
                for file in entries(&part.path())? {
                    let rest = file.file_name();
                    let name =
                        first.to_str().zip(rest.to_str()).map(|(first, rest)| format!("{first}{rest}"));
                    // Whatever else somebody put here is left alone.
                    if let Some(file) = name.and_then(|name| name.parse().ok()) {
                        each(file);
                    }
                }
            }
            Ok(())
        };
        walk().map_err(ObjectError::io("list the files"))
    }
}

/// A file under way.
struct Half {
    sealer: Option<Sealer>,
    path: PathBuf,
    folder: PathBuf,
    pins: Pins,
    written: u64,
    look_at: u64,
}

impl Incoming for Half {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ObjectError> {
        self.written += bytes.len() as u64;
        if self.written >= self.look_at {
            self.look_at = self.written + LOOK_EVERY;
            if !has_room(&self.folder) {
                return Err(ObjectError::Full);
            }
        }
        let sealer = self.sealer.as_mut().expect("only `finish` takes it, and the file with it");
        sealer.write(bytes).map_err(ObjectError::io("write a file"))
    }

    fn finish(mut self: Box<Self>) -> Result<Kept, ObjectError> {
        let sealer = self.sealer.take().expect("only this takes it, and the file with it");
        let (file, size) = sealer.finish().map_err(ObjectError::io("bring a file to disk"))?;
        // From here on it is not removed, whether it is new or was there before.
        let pin = self.pins.pin(file);
        let name = file.to_string();
        let place = self.folder.join(&name[..2]);
        let settle = || {
            make(&place)?;
            // In place of what may lie there already: that may be damaged, and this is not.
            fs::rename(&self.path, place.join(&name[2..]))?;
            #[cfg(feature = "canaries")]
            if crate::canary::is(crate::canary::Canary::FilesUnsynced) {
                return Ok(());
            }
            sync_folder(&place)
        };
        settle().map_err(ObjectError::io("give a file its name"))?;
        Ok(Kept { file, size, pin })
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            // It has its name now.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "cannot remove a half upload"),
        }
    }
}
