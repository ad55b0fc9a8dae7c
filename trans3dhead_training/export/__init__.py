"""`trans3dhead export`: a checkpoint as a file that other runtimes execute, held against torch."""
