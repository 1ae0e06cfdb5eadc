"""Reading the object store: one port, one adapter per kind of store."""
