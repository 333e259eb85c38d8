"""What goes into a release and what is known about it: the image, its bill of materials, the audit of dependencies."""
