"""One module per version, named revision and what; never changed once released, and only adding.

Old and new processes run side by side during a roll-out, so that a version may add tables, and columns that may stay
empty, and may not rename or drop what the version before it reads.
"""
