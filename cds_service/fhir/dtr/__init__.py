"""DTR on the wire: parameters of its operations in, packages and drafts out. What differs by version is a parameter."""
