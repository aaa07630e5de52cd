-- What is known of each document of a data source.
CREATE TABLE kb_documents (
    knowledge_base       TEXT   NOT NULL,
    data_source          TEXT   NOT NULL,
    -- an object's URI, a page's URL, or the id its owner gave it
    document             TEXT   NOT NULL,
    -- as the API names it
    status               TEXT   NOT NULL,
    status_reason        TEXT,
    -- what the source's listing said of it when it was last read
    fingerprint          TEXT   NOT NULL,
    -- SHA-256 of the bytes that were indexed
    content_hash         TEXT   NOT NULL,
    metadata_fingerprint TEXT   NOT NULL,
    -- how it was cut and embedded
    settings             TEXT   NOT NULL,
    chunks               BIGINT NOT NULL,
    -- the ingestion job that last wrote this row
    ingestion_job        TEXT,
    -- of a document that was put in directly and waits: what to do, and its bytes
    request              TEXT,
    content              BLOB,
    updated_ms           BIGINT NOT NULL,
    PRIMARY KEY (knowledge_base, data_source, document)
);

CREATE INDEX kb_documents_status ON kb_documents (knowledge_base, data_source, status);
