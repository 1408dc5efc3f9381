"""What an update costs by rules for which this is not what backpropagation costs. For plans only: no result uses it.

A module has the name of its rule and a function `cost(run) -> Work`. A rule without one costs what its base class does.
"""
