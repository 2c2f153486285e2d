-- What was sent lately, in the order of commits. A row of `sent` has a random place among millions, so a commit that
-- put its rows there would change as many pages as it has messages. Here they stand one behind the other, and are
-- moved to their places by the thousand, sorted. A row is in one of the two tables, or the same in both.

CREATE TABLE sent_tail (
    id INTEGER PRIMARY KEY,
    user INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    body INTEGER NOT NULL,
    reply TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT;
