"""Find what photographs have in common: features, matches, homographies."""
