"""`python -m nst`, the same as the command `nst`."""

from __future__ import annotations

import sys

from nst.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
