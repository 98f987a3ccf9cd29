"""The command line: it parses, calls the package's functions, and prints."""
