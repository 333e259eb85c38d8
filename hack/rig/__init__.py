"""The rig: real Kubernetes on the developer's machine, for tests and the demo.

Nothing here is part of the product. It exists because every behaviour is shown on a real API server or a real node,
never on a mock, and because that must work on a fresh machine without Docker and without an image registry.
"""
