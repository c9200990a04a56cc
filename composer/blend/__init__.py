"""Blend overlapping tiles: multiband and feathered."""
