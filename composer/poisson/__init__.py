"""Poisson image editing: guidance fields, and a solver that works where the boundary is."""
