"""Speed and memory of the library on this machine, beside networks of the same task."""
