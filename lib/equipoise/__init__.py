"""Behaviour log in, segments, interests and balanced recommendations out."""

__version__ = "0.1.0"
