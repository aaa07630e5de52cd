-- Objects on the file system: what is in which bucket under which key, and which file has the bytes.

CREATE TABLE object_buckets (
    name       TEXT   NOT NULL PRIMARY KEY,
    region     TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    -- off, enabled or suspended.
    versioning TEXT   NOT NULL
);

-- Policy, CORS rules, tags and the like, also of buckets that live elsewhere.
CREATE TABLE object_settings (
    bucket TEXT NOT NULL,
    name   TEXT NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (bucket, name)
);

-- A row for each version and each delete marker.
CREATE TABLE objects (
    bucket        TEXT   NOT NULL REFERENCES object_buckets (name),
    object_key    TEXT   NOT NULL,
    -- Rises with each version of a key; the latest version has the highest.
    seq           BIGINT NOT NULL,
    -- The word null for what was written while versioning was not on.
    version_id    TEXT   NOT NULL,
    latest        BIGINT NOT NULL,
    delete_marker BIGINT NOT NULL,
    size          BIGINT NOT NULL,
    etag          TEXT   NOT NULL,
    modified_ms   BIGINT NOT NULL,
    -- Where the bytes are, unless they are in parts: f and a file's name, or i and the id of a row of object_contents.
    blob          TEXT,
    -- The upload whose parts are the object.
    upload_id     TEXT,
    -- JSON: headers, checksum, number of parts.
    detail        TEXT   NOT NULL,
    -- JSON object; null when there are none.
    tags          TEXT,
    PRIMARY KEY (bucket, object_key, seq)
);

CREATE UNIQUE INDEX objects_latest ON objects (bucket, object_key) WHERE latest = 1;
CREATE UNIQUE INDEX objects_version ON objects (bucket, object_key, version_id);
CREATE INDEX objects_blob ON objects (blob) WHERE blob IS NOT NULL;
CREATE INDEX objects_upload ON objects (upload_id) WHERE upload_id IS NOT NULL;

-- Bytes of objects too small to be worth a file.
CREATE TABLE object_contents (
    blob    TEXT NOT NULL PRIMARY KEY,
    content BLOB NOT NULL
);

CREATE TABLE object_uploads (
    upload_id  TEXT   NOT NULL PRIMARY KEY,
    bucket     TEXT   NOT NULL REFERENCES object_buckets (name),
    object_key TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    -- JSON: headers, tags, checksum algorithm.
    detail     TEXT   NOT NULL
);

CREATE INDEX object_uploads_key ON object_uploads (bucket, object_key, upload_id);

-- Parts of open uploads, and of the objects that came of completed ones.
CREATE TABLE object_parts (
    upload_id   TEXT   NOT NULL,
    number      BIGINT NOT NULL,
    size        BIGINT NOT NULL,
    etag        TEXT   NOT NULL,
    -- JSON.
    checksum    TEXT,
    blob        TEXT   NOT NULL,
    modified_ms BIGINT NOT NULL,
    PRIMARY KEY (upload_id, number)
);

CREATE INDEX object_parts_blob ON object_parts (blob);
