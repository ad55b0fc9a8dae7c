"""
Fuzz the readers: mutated files are read, or refused in one line, and nothing else.

`python -m tools.fuzz` reads 5,000 mutated files with each reader; `--help` says more.
"""
