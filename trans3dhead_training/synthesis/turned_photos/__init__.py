"""
Photographs turned in depth: large poses and closed eyes from faces that look at the camera.

The face profiling of 300W-LP (Zhu et al., CVPR 2016), with a full head. `head_surface` prepares the
head model, `photograph` fits it to a labelled face, `target_pose` poses it anew with its labels,
`turned_renderer` renders it, and `pose_sampler` chooses the poses of a whole set.
"""
