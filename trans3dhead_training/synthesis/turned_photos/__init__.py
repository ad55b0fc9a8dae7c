"""
Real photographs turned in depth: large poses and closed eyes from faces that look at the camera.

`surface` prepares the head model, `photograph` puts it on a labelled face, `turn` poses it anew
with its labels, `render_posed_head` makes the picture, and `plan` chooses poses for a whole set.
"""
