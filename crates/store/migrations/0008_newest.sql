-- The newest records of a scope first, without reading all of them.
CREATE INDEX resources_newest ON resources (kind, account, region, created_ms DESC, id);
