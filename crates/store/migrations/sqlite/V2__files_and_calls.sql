-- Who holds which file, and the calls that go on.

CREATE TABLE holding (
    user INTEGER NOT NULL,
    -- SHA-256 of the content, by which it lies in the object store.
    file BLOB NOT NULL,
    size INTEGER NOT NULL,
    -- Since when it has waited for a message; NULL while there is one.
    waits INTEGER,
    messages INTEGER NOT NULL,
    record TEXT NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (user, file)
) STRICT, WITHOUT ROWID;

CREATE INDEX holding_file ON holding (file);
CREATE INDEX holding_waits ON holding (waits) WHERE waits IS NOT NULL;

CREATE TABLE call (
    conversation INTEGER PRIMARY KEY,
    record TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT;
