"""Reads published snapshots: fields, tables of rows with filters, documents."""
