"""Colours of a pasted region made to fit its surroundings."""
