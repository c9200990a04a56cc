"""From matched photographs to a plan: cameras, projection, exposure, seams."""
