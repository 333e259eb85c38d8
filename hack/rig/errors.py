"""The one error that the rig raises on purpose."""


class RigError(Exception):
    """Something on this machine stands in the way; the message names it and the remedy."""
