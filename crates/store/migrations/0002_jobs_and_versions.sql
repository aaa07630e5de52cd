-- Durable work. A job is due when it is queued and `due_ms` has passed, or running and its lease has ended.
CREATE TABLE jobs (
    id             TEXT   NOT NULL PRIMARY KEY,
    kind           TEXT   NOT NULL,
    exclusive_key  TEXT,
    payload        TEXT   NOT NULL,
    status         TEXT   NOT NULL,
    attempts       BIGINT NOT NULL,
    max_attempts   BIGINT NOT NULL,
    -- queued: not before; running: when the lease ends
    due_ms         BIGINT NOT NULL,
    owner          TEXT,
    stop_requested BIGINT NOT NULL,
    progress       TEXT,
    error          TEXT,
    created_ms     BIGINT NOT NULL,
    updated_ms     BIGINT NOT NULL
);

CREATE INDEX jobs_due ON jobs (kind, status, due_ms);

-- At most one unfinished job of a kind for one key.
CREATE UNIQUE INDEX jobs_exclusive ON jobs (kind, exclusive_key) WHERE status IN ('queued', 'running');

-- Numbered, immutable copies of a resource's draft.
CREATE TABLE versions (
    kind        TEXT   NOT NULL,
    account     TEXT   NOT NULL,
    region      TEXT   NOT NULL,
    resource_id TEXT   NOT NULL,
    number      BIGINT NOT NULL,
    body        TEXT   NOT NULL,
    created_ms  BIGINT NOT NULL,
    PRIMARY KEY (kind, account, region, resource_id, number)
);

-- The last number given; numbers of deleted versions are not given again.
CREATE TABLE version_counters (
    kind        TEXT   NOT NULL,
    account     TEXT   NOT NULL,
    region      TEXT   NOT NULL,
    resource_id TEXT   NOT NULL,
    last        BIGINT NOT NULL,
    PRIMARY KEY (kind, account, region, resource_id)
);

CREATE TABLE aliases (
    kind        TEXT   NOT NULL,
    account     TEXT   NOT NULL,
    region      TEXT   NOT NULL,
    resource_id TEXT   NOT NULL,
    id          TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    -- NULL: the draft
    number      BIGINT,
    body        TEXT   NOT NULL,
    created_ms  BIGINT NOT NULL,
    updated_ms  BIGINT NOT NULL,
    PRIMARY KEY (kind, account, region, resource_id, id)
);

CREATE UNIQUE INDEX aliases_name ON aliases (kind, account, region, resource_id, name);
