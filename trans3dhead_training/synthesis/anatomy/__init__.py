"""The source meshes and their registration to one head."""
