"""What stands behind the commands of the Makefile. Nothing here is needed to read the book or to use `llmbook`."""
