"""The manifest of a file: typed records, and the text of each format version that they are read from and written to."""
