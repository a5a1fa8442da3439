"""Evaluation: systems answer the questions of sets, and every figure comes from the lines that they leave."""
