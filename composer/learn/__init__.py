"""Learned stages: the only room that may import torch."""
