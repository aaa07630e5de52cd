//! Flows: graphs of nodes, validated, versioned and run.
