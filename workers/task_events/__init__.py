"""The engine: lines of event files to rows of the `tasks` table. Plain Python here, which says the rules; the same in Rust in `core/`."""
