"""Keeps pull secrets, routing table, statuses and certificates as they should be: event, plan, act."""
