"""Whether every path of a model gives a pair the score that it gets alone."""
