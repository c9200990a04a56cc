"""Stacks of one scene: exposure fusion, focus stacking, HDR, statistics."""
