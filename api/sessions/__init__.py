"""Our own routes: which sessions there are, entering one, its load status."""
