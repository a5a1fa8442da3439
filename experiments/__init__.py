"""Experiments of this project. They use the library; nothing in the library knows them."""
