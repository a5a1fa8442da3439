"""From files to an index: `readers` extract text, `chunking` cuts it, `loading` does both, `indexing` keeps it current.

`formats/` has one reader a format; `workers` runs them in processes of their own.
"""
