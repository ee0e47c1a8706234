"""Simple methods that a model must beat; all in numpy, all from behaviour before the origin."""
