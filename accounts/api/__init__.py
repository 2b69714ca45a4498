"""The API of keys, projects, service accounts and the audit log for programs."""
