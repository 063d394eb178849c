"""The studies: data, not code, one folder each."""
