"""Where data layers read from: files, databases, pictures; and the transformation on the way in.

This is the one part of the layers that opens files. It returns host arrays and knows no blobs.
"""
