"""The result for one head in one image."""

from dataclasses import dataclass

from trans3dhead_ros.types import Array


@dataclass(frozen=True, eq=False)
class Head:
    """
    One head of one image.

    Pixels have their centres at integers, x right, y down. The camera optical frame is x right,
    y down, z forward, in metres. The head frame has its origin at the sellion, x out of the face,
    y to the head's left, z up: `p_camera = rotation @ p_head + translation`.
    """

    box: Array
    """(4,) x0 y0 x1 y1 px, the tight box of `landmarks`."""
    score: float
    """Probability 0…1 that the crop shows a head whose landmarks can be located."""
    track_id: int | None
    """Identity over time, unique in the process; None from `align` and `detect`."""
    landmarks: Array
    """(68, 3) points fixed on the head in iBUG-68 order, also the hidden ones: x, y in px; z in px,
    smaller is nearer, 0 at the sellion."""
    landmarks_contour: Array
    """(68, 2) px, the same inner 51 points with the jaw (0…16) on the visible contour."""
    landmark_scale: Array
    """(68,) px, Laplace scale of `landmarks`: the expected absolute error of each coordinate."""
    rotation: Array
    """(3, 3) head frame → camera optical frame."""
    translation: Array
    """(3,) m, the sellion in the camera optical frame."""
    metric: bool
    """True: the pose was solved with the camera's intrinsics. False: the weak-perspective rotation,
    and a depth from an assumed field of view."""
    pose_covariance: Array
    """(6, 6) of (x, y, z, rotation about the fixed camera axes x, y, z), in m², m·rad and rad²."""
    euler_deg: tuple[float, float, float]
    """(yaw, pitch, roll) degrees of the apparent rotation in the crop, as in AFLW2000-3D."""
    shape: Array
    """(I,) identity coefficients."""
    expression: Array
    """(E,) expression coefficients, named by `HeadPipeline.expression_names`."""
    vertices: Array
    """(V, 3) m in the camera optical frame."""
    vertices_px: Array
    """(V, 2) px, the vertices in the image."""
