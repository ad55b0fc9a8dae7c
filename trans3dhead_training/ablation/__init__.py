"""The method's parts, each left out or replaced in turn at equal budget."""
