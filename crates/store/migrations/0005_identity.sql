-- Users, groups, roles, policies and keys: one row an entity, its JSON in `body`.
CREATE TABLE identity_entities (
    account TEXT NOT NULL,
    kind    TEXT NOT NULL,
    id      TEXT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (account, kind, id)
);

-- One more with every change, so that servers that share the records see when theirs are old.
CREATE TABLE identity_generations (
    account    TEXT   NOT NULL PRIMARY KEY,
    generation BIGINT NOT NULL
);

-- When a key was last used; written now and then, and of no consequence.
CREATE TABLE identity_key_uses (
    account TEXT   NOT NULL,
    key_id  TEXT   NOT NULL,
    used_ms BIGINT NOT NULL,
    service TEXT   NOT NULL,
    region  TEXT   NOT NULL,
    PRIMARY KEY (account, key_id)
);
