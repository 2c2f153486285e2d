-- The foundation: logs, what was sent, and the records that follow from the logs.
--
-- Every table but `entry` ends with `sum`, a check value over all its other columns in the order of the table;
-- an entry has its hash and the hash of the entry before it. A row is checked whenever it is read.

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- key = (number of the log << 32) | seq: a log is one run of the table.
CREATE TABLE entry (
    key INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    by INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    client_id TEXT,
    body BLOB NOT NULL,
    -- Key of the first message of the thread that this message belongs to; repeats what is in `body`.
    thread INTEGER,
    prev BLOB NOT NULL,
    hash BLOB NOT NULL,
    -- Of an entry whose text was erased: digest of the body as it was, and a check value of the body as it is.
    digest BLOB
) STRICT;

CREATE INDEX entry_thread ON entry (thread, key) WHERE thread IS NOT NULL;

CREATE TABLE sent (
    user INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    body INTEGER NOT NULL,
    reply TEXT NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (user, client_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
    id INTEGER PRIMARY KEY,
    folded_handle TEXT NOT NULL,
    folded_name TEXT NOT NULL,
    record TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE TABLE name (
    key TEXT NOT NULL PRIMARY KEY,
    skeleton TEXT NOT NULL,
    record TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX name_skeleton ON name (skeleton);

CREATE TABLE credentials (
    user INTEGER PRIMARY KEY,
    record TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    user INTEGER NOT NULL,
    token BLOB NOT NULL,
    record TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE INDEX session_user ON session (user, id);
CREATE INDEX session_token ON session (token);

CREATE TABLE conversation (
    id INTEGER PRIMARY KEY,
    -- The two users of a direct conversation, the smaller id first.
    one INTEGER,
    other INTEGER,
    -- Public and not closed.
    listed INTEGER NOT NULL,
    folded_handle TEXT NOT NULL,
    folded_name TEXT NOT NULL,
    folded_topic TEXT NOT NULL,
    record TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE INDEX conversation_direct ON conversation (one, other) WHERE one IS NOT NULL;
CREATE INDEX conversation_listed ON conversation (folded_handle, id) WHERE listed = 1;

CREATE TABLE member (
    conversation INTEGER NOT NULL,
    user INTEGER NOT NULL,
    -- 0 active, 1 gone, 2 banned.
    standing INTEGER NOT NULL,
    record TEXT NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX member_active ON member (user, conversation) WHERE standing = 0;
CREATE INDEX member_banned ON member (conversation, user) WHERE standing = 2;

CREATE TABLE relation (
    of INTEGER NOT NULL,
    to_user INTEGER NOT NULL,
    contact INTEGER NOT NULL,
    blocked INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (of, to_user)
) STRICT, WITHOUT ROWID;

-- The key is that of the message's entry.
CREATE TABLE overlay (
    key INTEGER PRIMARY KEY,
    pinned INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    record TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE INDEX overlay_pinned ON overlay (key) WHERE pinned = 1;

CREATE TABLE mention (
    conversation INTEGER NOT NULL,
    user INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (conversation, user, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE invite (
    id INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL,
    token BLOB NOT NULL,
    -- Neither revoked nor used up.
    usable INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    record TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

CREATE INDEX invite_token ON invite (token);
CREATE INDEX invite_usable ON invite (conversation, id) WHERE usable = 1;

CREATE TABLE one_time (
    token BLOB NOT NULL PRIMARY KEY,
    record TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE server (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    record TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT;

-- The last number handed out of each sort, so that none comes twice even if its record is gone.
CREATE TABLE counter (
    name TEXT NOT NULL PRIMARY KEY,
    last INTEGER NOT NULL,
    sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE cursor (
    conversation INTEGER NOT NULL,
    user INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    read_seq INTEGER NOT NULL,
    read_messages INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (conversation, user)
) STRICT, WITHOUT ROWID;
