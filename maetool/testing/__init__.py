"""Contract tests that plugin authors import, and small models."""
