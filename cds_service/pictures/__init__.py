"""Drawings for people, made on the server: dose bars, therapy timeline, pain before and after, stacked counts.

Pure: values in, SVG text and the rows of its text alternative out. The app that clinicians use draws with the same
functions, so that both sides of a request look at one picture.
"""
