"""How fast the webhook is, beside what the same libraries do without its rules; never a test that can fail."""
