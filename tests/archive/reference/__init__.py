"""A second reader of files, written from docs/format.md alone; it shares nothing with the package."""
