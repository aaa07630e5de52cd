-- Embedded vector indexes. Everything else about them is a cache of these rows.
CREATE TABLE vector_indexes (
    id          TEXT   NOT NULL PRIMARY KEY,
    -- Names the folder of the caches, so that an index made anew never meets those of its predecessor.
    incarnation TEXT   NOT NULL,
    dimensions  BIGINT NOT NULL,
    -- Numbers are given to chunks in order and never again.
    last_number BIGINT NOT NULL,
    -- One more with each change.
    sequence    BIGINT NOT NULL
);

CREATE TABLE chunks (
    index_id    TEXT   NOT NULL,
    number      BIGINT NOT NULL,
    owner       TEXT   NOT NULL,
    data_source TEXT   NOT NULL,
    document    TEXT   NOT NULL,
    chunk_id    TEXT   NOT NULL,
    text        TEXT   NOT NULL,
    -- JSON: parent, metadata, location, payload.
    details     TEXT   NOT NULL,
    -- 32-bit floats, little-endian.
    vector      BLOB   NOT NULL,
    PRIMARY KEY (index_id, number)
);

CREATE INDEX chunks_document ON chunks (index_id, owner, data_source, document);
