"""Pictures with labelled heads, and the views of them that a detector learns from."""
