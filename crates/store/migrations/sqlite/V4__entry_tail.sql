-- Entries of busy batches, in the order of commits. A batch of a thousand messages to a thousand conversations would
-- change the last page of each; here its rows stand one behind the other, and are moved to `entry` by the thousand, in
-- the order of their keys, so that those of one log share a page. The columns are those of `entry`.

CREATE TABLE entry_tail (
    key INTEGER NOT NULL,
    at INTEGER NOT NULL,
    by INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    client_id TEXT,
    body BLOB NOT NULL,
    thread INTEGER,
    prev BLOB NOT NULL,
    hash BLOB NOT NULL,
    digest BLOB
) STRICT;

CREATE UNIQUE INDEX entry_tail_key ON entry_tail (key);
CREATE INDEX entry_tail_thread ON entry_tail (thread, key) WHERE thread IS NOT NULL;

-- Every entry once. A row that was moved stays in the tail until all of it was: it is seen where it was moved to.
CREATE VIEW entries AS
    SELECT key, at, by, kind, messages, client_id, body, thread, prev, hash, digest FROM entry
    UNION ALL
    SELECT key, at, by, kind, messages, client_id, body, thread, prev, hash, digest FROM entry_tail
    WHERE NOT EXISTS (SELECT 1 FROM entry WHERE entry.key = entry_tail.key);
