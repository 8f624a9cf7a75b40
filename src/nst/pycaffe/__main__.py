"""`python -m nst.pycaffe SCRIPT.py ...` runs a Caffe script, see `nst.pycaffe.script`."""

from __future__ import annotations

import sys

from nst.pycaffe.script import run_script

sys.exit(run_script(sys.argv[1:]))
