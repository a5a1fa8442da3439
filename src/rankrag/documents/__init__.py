"""From files to passages: `readers` extract text, `chunking` cuts it, `loading` does both for whole folders."""
