"""Faults in pictures: found, and mended."""
