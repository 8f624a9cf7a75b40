"""Tools for the GPU engine."""
