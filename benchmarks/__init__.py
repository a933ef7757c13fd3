"""Measurements of this project against its own straightforward forms; nothing here is imported by the project."""
