"""From files to passages: `readers` extract text, `chunking` cuts it, `loading` does both for whole folders.

`decoding` and `sentences` take text in parts, so that a file may be larger than the memory; `parts` names
those in which an index holds it.
"""
