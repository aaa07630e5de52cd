-- Plain column types and no SQLite-only clauses, so that the same statements run on PostgreSQL.
CREATE TABLE resources (
    kind       TEXT   NOT NULL,
    account    TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    name       TEXT,
    body       TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    PRIMARY KEY (kind, account, region, id)
);

-- NULL names are distinct, so kinds without unique names leave the column empty.
CREATE UNIQUE INDEX resources_name ON resources (kind, account, region, name);

CREATE TABLE idempotency_tokens (
    kind         TEXT   NOT NULL,
    account      TEXT   NOT NULL,
    region       TEXT   NOT NULL,
    token        TEXT   NOT NULL,
    request_hash TEXT   NOT NULL,
    resource_id  TEXT   NOT NULL,
    answer       TEXT   NOT NULL,
    created_ms   BIGINT NOT NULL,
    PRIMARY KEY (kind, account, region, token)
);

CREATE INDEX idempotency_tokens_resource ON idempotency_tokens (kind, account, region, resource_id);

CREATE TABLE tags (
    resource TEXT NOT NULL,
    tag_key  TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (resource, tag_key)
);
