"""The section `overload`: what becomes of reviews when there are three times as many as the webhook can answer."""
