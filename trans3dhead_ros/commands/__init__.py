"""Subcommands of `trans3dhead` that have no better home; each module has a `main(argv)`."""
