"""Trying an installation out, as `helm test` does: a Pod that is never stored."""
