"""The engine: axes, cut into chunks and lanes, computed anywhere, kept, rechecked and labelled."""
