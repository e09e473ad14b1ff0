"""One module a question: a frozen configuration, run(config) -> Dataset, and a command line."""
