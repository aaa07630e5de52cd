//! Objects: bytes under (bucket, key), on the file system with metadata in the records, or in a real S3.
//!
//! The seam that the S3 front, ingestion and every job read and write through.
