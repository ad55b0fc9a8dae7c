"""The answer for one head in one image."""

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

    #: (4,) x0 y0 x1 y1 in px, the tight box of `landmarks`.
    box: Array
    #: Probability 0…1 that the crop shows a head whose landmarks can be placed.
    score: float
    #: Identity over time, unique in the process; None from `align` and `detect`.
    track_id: int | None
    #: (68, 3) points fixed on the head in iBUG-68 order, hidden ones too: x, y in px; z in px,
    #: smaller is nearer, 0 at the sellion.
    landmarks: Array
    #: (68, 2) px, the same inner 51 points with the jaw (0…16) on the visible contour.
    landmarks_contour: Array
    #: (68,) px, Laplace scale of every point of `landmarks`: the expected absolute error of a
    #: coordinate.
    landmark_scale: Array
    #: (3, 3) head frame → camera optical frame.
    rotation: Array
    #: (3,) m, the sellion in the camera optical frame.
    translation: Array
    #: True where camera intrinsics made the pose; False: weak-perspective rotation and a depth that
    #: rests on an assumed field of view.
    metric: bool
    #: (6, 6) of (x, y, z, rotation about the fixed camera axes x, y, z): m², m·rad, rad².
    pose_covariance: Array
    #: (yaw, pitch, roll) in degrees, AFLW2000-3D convention, of the crop's apparent rotation.
    euler_deg: tuple[float, float, float]
    #: (I,) identity coefficients.
    shape: Array
    #: (E,) expression coefficients, named by `HeadPipeline.expression_names`.
    expression: Array
    #: (V, 3) m in the camera optical frame.
    vertices: Array
    #: (V, 2) px, the vertices in the image.
    vertices_px: Array
