"""Licenses that stand in Secrets: what is in them, as License documents."""
