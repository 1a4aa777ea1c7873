"""Intent classification over any labelled CSV or JSONL file."""
