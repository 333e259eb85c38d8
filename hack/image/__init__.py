"""Makes the file systems of the operator's image: exactly the files that it needs, from any Debian base with Python.

Runs inside the build (``Dockerfile``) on the builder's Python, and nowhere runs anything of the target platform: the
same steps make the image for every processor. Standard library only.
"""
