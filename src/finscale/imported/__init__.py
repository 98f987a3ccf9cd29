"""Results of other laboratories: read, recounted, fitted and shown apart from our own."""
