//! OpenSearch Serverless: collections and their policies, and the REST API of a collection's indexes.
