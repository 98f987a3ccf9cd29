"""What is made of a finished run: the summary and the report page. Reads the ledger, no torch."""
