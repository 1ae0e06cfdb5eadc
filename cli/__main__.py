"""`python -m cli`: the `ray-history` command of exactly this interpreter."""

from cli.main import main

main()
