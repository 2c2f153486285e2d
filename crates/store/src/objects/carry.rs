//! Taking files over from one folder into another, as a backup does and a restore: each is compared with its name where
//! it arrives, and what is there already, or in an earlier copy, is not copied again.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use chinwag_protocol::FileId;

use super::{
    FolderObjects, ObjectError,
    folder::{make, sync_folder},
    verify,
};

/// See the module. Nobody else writes into the folder that it carries to.
pub(crate) struct Carrier {
    from: FolderObjects,
    to: FolderObjects,
    /// Where a copy may be that another name can be given.
    earlier: Option<FolderObjects>,
    /// Folders with new names in them.
    touched: BTreeSet<PathBuf>,
}

/// Keeps a server from removing files from a folder for as long as it lives. Nothing, if there is no such folder.
pub(crate) fn lend(files: &Path) -> io::Result<Option<File>> {
    match File::open(files) {
        Ok(folder) => folder.lock_shared().map(|()| Some(folder)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Carrier {
    pub(crate) fn new(from: &Path, to: &Path, earlier: Option<&Path>) -> Self {
        let (from, to) = (FolderObjects::at(from), FolderObjects::at(to));
        Self { from, to, earlier: earlier.map(FolderObjects::at), touched: BTreeSet::new() }
    }

    /// Brings a file over. That it is missing or damaged where it comes from says an error of that name.
    pub(crate) fn carry(&mut self, file: FileId, size: u64) -> Result<(), ObjectError> {
        if verify(&self.to, file, size).is_ok() {
            return Ok(());
        }
        let place = self.to.place(file);
        let above = place.parent().expect("a file's place is in a folder");
        let ready = make(self.to.folder()).and_then(|()| make(above));
        ready.map_err(ObjectError::io("make a folder for files"))?;
        self.touched.insert(above.to_owned());
        if let Some(earlier) = &self.earlier {
            let linked = self.give(file, |part| fs::hard_link(earlier.place(file), part));
            if linked.is_ok() && verify(&self.to, file, size).is_ok() {
                return Ok(());
            }
        }
        self.give(file, |part| {
            fs::copy(self.from.place(file), part)?;
            File::open(part)?.sync_all()
        })?;
        let arrived = verify(&self.to, file, size);
        if arrived.is_err() {
            fs::remove_file(place).map_err(ObjectError::io("remove a file"))?;
        }
        arrived
    }

    /// Makes a file and gives it its name, in place of what may have it.
    fn give(&self, file: FileId, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), ObjectError> {
        let part = self.to.folder().join("part");
        let given = fs::remove_file(&part)
            .or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .and_then(|()| make(&part))
            .and_then(|()| fs::rename(&part, self.to.place(file)));
        given.map_err(|error| match error.kind() {
            ErrorKind::NotFound => ObjectError::Missing(file),
            _ => ObjectError::io("copy a file")(error),
        })
    }

    /// Brings the names to disk.
    pub(crate) fn finish(self) -> io::Result<()> {
        if self.touched.is_empty() {
            return Ok(());
        }
        self.touched.iter().try_for_each(|folder| sync_folder(folder))?;
        // A copy that failed may have left it.
        match fs::remove_file(self.to.folder().join("part")) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sync_folder(self.to.folder())
    }
}
