"""Who asks, and what they may: `caller` is what routes and services use, `modes` the ways to find out, `rules` what each route needs."""
