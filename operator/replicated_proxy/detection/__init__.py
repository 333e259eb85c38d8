"""Whether images can be pulled without a password: asking registries, and keeping what they said."""
