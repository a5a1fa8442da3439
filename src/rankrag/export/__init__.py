"""A model in the forms that other programs load, each with our scores; every export checks itself before it is kept."""
