"""The command-line client: files, folders and globs -> the batch endpoint -> a table, CSV or JSON."""
