"""Admission over HTTPS: reads reviews, asks the core, answers."""
