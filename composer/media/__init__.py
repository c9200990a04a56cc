"""Photographs in and out: headers, pixels, colour profiles, metadata, saved compositions."""
