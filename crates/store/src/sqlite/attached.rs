//! The files that a database names: which they are, and bringing them all from one folder into another.

use std::path::{Path, PathBuf};

use chinwag_protocol::FileId;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::scrub::Progress;
use crate::objects::{Carrier, ObjectError};

/// The files of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// How many there are.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many more are named, but were missing or damaged already.
    pub lacking: u64,
}

/// Calls `each` with every file that somebody holds, and its size.
pub(super) fn held<E: From<rusqlite::Error>>(
    conn: &Connection,
    mut each: impl FnMut(FileId, u64) -> Result<(), E>,
) -> Result<(), E> {
    let mut statement = conn.prepare("SELECT DISTINCT file, size FROM holding ORDER BY file")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, size): (Vec<u8>, i64) = (row.get(0)?, row.get(1)?);
        // A row that is damaged itself is named by a scrub of its table.
        if let Ok(name) = name.try_into() {
            each(FileId(name), size.unsigned_abs())?;
        }
    }
    Ok(())
}

/// Where the files of a backup lie.
pub(super) fn beside(backup: &Path) -> PathBuf {
    let mut name = backup.as_os_str().to_owned();
    name.push(".files");
    name.into()
}

/// The files of the backup in the same folder that was taken last before.
pub(super) fn before(backup: &Path) -> Option<PathBuf> {
    let (own, above) = (beside(backup), backup.parent()?);
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let others = std::fs::read_dir(above).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let meta = path.metadata().ok().filter(std::fs::Metadata::is_dir)?;
        let is_other =
            path.extension().is_some_and(|end| end == "files") && path.file_name() != own.file_name();
        is_other.then_some((meta.modified().ok()?, path))
    });
    others.max().map(|(_, path)| path)
}

/// Brings over every file that the database names.
pub(super) fn carry(
    conn: &Connection,
    mut carrier: Carrier,
    progress: &mut dyn FnMut(Progress),
) -> Result<Attached, Box<dyn std::error::Error + Send + Sync>> {
    let mut attached = Attached::default();
    held(conn, |file, size| {
        match carrier.carry(file, size) {
            Ok(()) => {
                attached.files += 1;
                attached.bytes += size;
            }
            Err(error @ (ObjectError::Missing(_) | ObjectError::Damaged { .. })) => {
                tracing::warn!(%error, "a file is not copied");
                attached.lacking += 1;
            }
            Err(error) => return Err(Box::<dyn std::error::Error + Send + Sync>::from(error)),
        }
        progress(Progress { what: "files", rows: attached.files });
        Ok(())
    })?;
    carrier.finish()?;
    Ok(attached)
}
