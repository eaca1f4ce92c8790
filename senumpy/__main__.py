"""`python -m senumpy`."""

from __future__ import annotations

import sys

from senumpy.cli import main

if __name__ == "__main__":
    sys.exit(main())
