"""`python -m rankrag`."""

from rankrag.cli import main

main()
