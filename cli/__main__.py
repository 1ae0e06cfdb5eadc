"""`python -m cli`: the `ray-history` command of exactly this interpreter."""

import sys

from cli.begin import go_on

if (code := go_on()) is not None:
    sys.exit(code)

from cli.main import main

main()
