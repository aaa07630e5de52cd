//! IAM and STS: users, groups, roles, policies and keys; who is asking, and temporary credentials.
