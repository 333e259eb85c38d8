"""How fast the product is, beside what the same machine does without its rules; never a test that can fail."""
