"""Mending: holes in one photograph, and what fills them."""
