"""Bytes in and out: text, weights, states and pictures become plain values and back."""
