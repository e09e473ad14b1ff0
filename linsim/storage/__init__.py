"""Results on disk: whole or not there, with checksums, of one run at a time."""
