-- Records that have an age at which they go are found by it.
CREATE INDEX resources_updated ON resources (kind, updated_ms);
