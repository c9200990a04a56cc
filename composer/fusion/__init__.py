"""Several photographs of one view made into one: alignment, weights, pyramids, statistics, HDR."""
