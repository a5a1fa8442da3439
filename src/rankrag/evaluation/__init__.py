"""Measuring: what is measured on, how, and what came out."""
