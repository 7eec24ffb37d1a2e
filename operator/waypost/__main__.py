"""`python -m waypost`: the command line."""

import sys

from waypost.cli import main

if __name__ == "__main__":
    sys.exit(main())
