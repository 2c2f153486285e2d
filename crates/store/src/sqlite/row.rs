//! Rows of records with their check values: how they are written, read and verified.
//!
//! Nothing here knows what a record means. A row whose check value does not fit is never returned.

use std::fmt;

use chinwag_domain::{Failed, Known};
use rusqlite::{
    Connection, Params, Row,
    types::{ToSqlOutput, ValueRef},
};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// A table of records: its last column is the check value over all the others.
pub(super) struct Table {
    /// Its name.
    pub(super) name: &'static str,
    /// How many columns it has, the check value not counted.
    pub(super) columns: usize,
    /// Writes a row, replacing what stands under its key.
    put: &'static str,
    /// Writes a row unless there is one under its key.
    add: &'static str,
}

macro_rules! tables {
    ($($name:ident $table:literal $columns:literal $marks:literal;)*) => {
        $(pub(super) const $name: Table = Table {
            name: $table,
            columns: $columns,
            put: concat!("INSERT OR REPLACE INTO ", $table, " VALUES (", $marks, ")"),
            add: concat!("INSERT OR IGNORE INTO ", $table, " VALUES (", $marks, ")"),
        };)*
        /// Every table of records, for scrubbing.
        pub(super) const TABLES: &[Table] = &[$($name),*];
    };
}

tables! {
    META "meta" 2 "?,?,?";
    SENT "sent" 4 "?,?,?,?,?";
    SENT_TAIL "sent_tail" 5 "?,?,?,?,?,?";
    USER "user" 4 "?,?,?,?,?";
    NAME "name" 3 "?,?,?,?";
    CREDENTIALS "credentials" 2 "?,?,?";
    SESSION "session" 4 "?,?,?,?,?";
    CONVERSATION "conversation" 8 "?,?,?,?,?,?,?,?,?";
    MEMBER "member" 4 "?,?,?,?,?";
    RELATION "relation" 4 "?,?,?,?,?";
    OVERLAY "overlay" 4 "?,?,?,?,?";
    MENTION "mention" 3 "?,?,?,?";
    HOLDING "holding" 6 "?,?,?,?,?,?,?";
    CALL "call" 2 "?,?,?";
    INVITE "invite" 6 "?,?,?,?,?,?,?";
    ONE_TIME "one_time" 2 "?,?,?";
    SERVER "server" 2 "?,?,?";
    COUNTER "counter" 2 "?,?,?";
    CURSOR "cursor" 5 "?,?,?,?,?,?";
}

/// The check value of a row.
fn sum<'v>(table: &Table, values: impl Iterator<Item = ValueRef<'v>>) -> i64 {
    let mut hash = Sha256::new();
    // The name too: a row that strays into another table of the same shape is found.
    hash.update(table.name);
    values.for_each(|value| absorb(&mut hash, value));
    let digest: [u8; 32] = hash.finalize().into();
    i64::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
}

/// Takes a value into a digest, so that no other values can look like it.
pub(super) fn absorb(hash: &mut Sha256, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => hash.update([0]),
        ValueRef::Integer(number) => {
            hash.update([1]);
            hash.update(number.to_le_bytes());
        }
        ValueRef::Real(number) => {
            hash.update([2]);
            hash.update(number.to_le_bytes());
        }
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            hash.update([3]);
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
    }
}

/// Text as a value.
pub(super) fn text(text: &str) -> ValueRef<'_> {
    ValueRef::Text(text.as_bytes())
}

/// A number as a value.
pub(super) fn int(number: impl Into<i64>) -> ValueRef<'static> {
    ValueRef::Integer(number.into())
}

/// Writes a row with its check value, replacing what stands under its key.
pub(super) fn put(conn: &Connection, table: &Table, values: &[ValueRef<'_>]) -> Known<()> {
    write(conn, table, table.put, values)
}

/// Writes a row with its check value unless there is one under its key. Cheaper than replacing it, which SQLite
/// prepares to take back.
pub(super) fn add(conn: &Connection, table: &Table, values: &[ValueRef<'_>]) -> Known<()> {
    write(conn, table, table.add, values)
}

fn write(conn: &Connection, table: &Table, sql: &str, values: &[ValueRef<'_>]) -> Known<()> {
    debug_assert_eq!(values.len(), table.columns, "table {}", table.name);
    let write = || {
        let mut statement = conn.prepare_cached(sql)?;
        for (index, value) in values.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, ToSqlOutput::Borrowed(*value))?;
        }
        statement.raw_bind_parameter(values.len() + 1, sum(table, values.iter().copied()))?;
        statement.raw_execute()
    };
    write().map_err(|error| Failed::new(format!("cannot write to table {}", table.name), error))?;
    Ok(())
}

/// Runs a statement that is not a row.
pub(super) fn run(conn: &Connection, sql: &str, params: impl Params) -> Known<()> {
    let execute = || conn.prepare_cached(sql)?.execute(params);
    execute().map_err(|error| Failed::new("cannot write to the store", error))?;
    Ok(())
}

/// Whether the check value of a row fits.
pub(super) fn is_sound(table: &Table, row: &Row<'_>) -> rusqlite::Result<bool> {
    let mut values = Vec::with_capacity(table.columns);
    for index in 0..table.columns {
        values.push(row.get_ref(index)?);
    }
    #[cfg(feature = "canaries")]
    if crate::canary::is(crate::canary::Canary::NoCheckValues) {
        return Ok(true);
    }
    let expected = sum(table, values.into_iter());
    Ok(matches!(row.get_ref(table.columns)?, ValueRef::Integer(found) if found == expected))
}

/// Reads the rows that a statement finds, verifies each, and hands it to `read`.
pub(super) fn many<T>(
    conn: &Connection,
    table: &Table,
    sql: &str,
    params: impl Params,
    what: fmt::Arguments<'_>,
    mut read: impl FnMut(&Row<'_>) -> Known<T>,
) -> Known<Vec<T>> {
    let failed = |error: rusqlite::Error| Failed::new(format!("cannot read {what}"), error);
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(params).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        if !is_sound(table, row).map_err(failed)? {
            return Err(damaged(table, what).into());
        }
        found.push(read(row)?);
    }
    Ok(found)
}

/// The same for at most one row.
pub(super) fn one<T>(
    conn: &Connection,
    table: &Table,
    sql: &str,
    params: impl Params,
    what: fmt::Arguments<'_>,
    read: impl FnMut(&Row<'_>) -> Known<T>,
) -> Known<Option<T>> {
    Ok(many(conn, table, sql, params, what, read)?.pop())
}

/// Decodes the record of a row: the column before the check value.
pub(super) fn record<T: DeserializeOwned>(table: &Table, row: &Row<'_>) -> Known<T> {
    let decode = || -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
        Ok(serde_json::from_slice(row.get_ref(table.columns - 1)?.as_bytes()?)?)
    };
    Ok(decode()
        .map_err(|error| Failed::new(format!("cannot decode a row of table {}", table.name), error))?)
}

/// A number in a row.
pub(super) fn number<T: rusqlite::types::FromSql>(row: &Row<'_>, index: usize) -> Known<T> {
    Ok(row.get(index).map_err(|error| Failed::new("cannot read a number of a row", error))?)
}

fn damaged(table: &Table, what: fmt::Arguments<'_>) -> Failed {
    tracing::error!(table = table.name, %what, "a stored record is damaged");
    Failed::new(format!("cannot read {what}"), format!("a row of table {} is damaged", table.name))
}

/// A record as JSON.
pub(super) fn json<T: serde::Serialize>(record: &T) -> Known<String> {
    Ok(serde_json::to_string(record).map_err(|error| Failed::new("cannot encode a record", error))?)
}
