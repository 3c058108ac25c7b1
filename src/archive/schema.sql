-- The index of sessions: derived from the log, never the truth. Every row can be made again from the segments.
CREATE TABLE progress (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    segment INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    sequence INTEGER,
    hash BLOB,
    salt BLOB,
    last_segment INTEGER,
    last_offset INTEGER,
    last_sequence INTEGER,
    last_previous BLOB
);
-- Segments that are encrypted: what they hold is not in here.
CREATE TABLE closed (
    segment INTEGER PRIMARY KEY
);
CREATE TABLE batch (
    sequence INTEGER PRIMARY KEY,
    segment INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    previous BLOB NOT NULL
);
CREATE TABLE config (
    sequence INTEGER PRIMARY KEY,
    generation INTEGER NOT NULL,
    batch INTEGER NOT NULL
);
CREATE TABLE session (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    issuer TEXT,
    subject TEXT,
    owner TEXT,
    purpose TEXT,
    name TEXT NOT NULL,
    named_by TEXT NOT NULL,
    route TEXT,
    started_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    allow INTEGER NOT NULL,
    block INTEGER NOT NULL,
    approve INTEGER NOT NULL,
    refuse INTEGER NOT NULL
);
CREATE INDEX session_last ON session (last_us, key);
CREATE INDEX session_subject ON session (subject, last_us);
CREATE TABLE exchange (
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    session INTEGER,
    head_sequence INTEGER,
    end_sequence INTEGER,
    started_us INTEGER NOT NULL,
    ended_us INTEGER,
    purpose TEXT,
    route TEXT,
    upstream TEXT,
    method TEXT,
    target TEXT,
    decision TEXT,
    policy TEXT,
    status INTEGER,
    cause TEXT,
    reason TEXT,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL
);
CREATE INDEX exchange_session ON exchange (session, head_sequence);
CREATE INDEX exchange_head ON exchange (head_sequence) WHERE head_sequence IS NOT NULL;
CREATE INDEX exchange_end ON exchange (end_sequence) WHERE end_sequence IS NOT NULL;
-- What people decided about an exchange.
CREATE TABLE approval (
    sequence INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL,
    exchange INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    approval TEXT NOT NULL,
    event TEXT NOT NULL,
    author TEXT,
    reason TEXT
);
CREATE INDEX approval_exchange ON approval (exchange);
CREATE TABLE part (
    exchange INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    PRIMARY KEY (exchange, batch)
) WITHOUT ROWID;
CREATE INDEX part_batch ON part (batch);
