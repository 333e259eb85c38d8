"""Uninstalling: what is ours is taken out of every namespace, and nothing else is touched."""
