//! Hybrid search over chunks: the seam, and its drivers (embedded, pgvector, OpenSearch).
