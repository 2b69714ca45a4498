"""SCIM 2.0 (RFC 7643, 7644): the door through which an organization's directory provisions people and groups."""
