"""Whether the vendor signed a License, and what it says then; cryptography in, values out."""
