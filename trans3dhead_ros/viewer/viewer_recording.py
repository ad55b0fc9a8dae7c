"""A Rerun recording, where it goes, and the layout of the viewer."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import rerun as rr
import rerun.blueprint as rrb
import rerun_cli

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.viewer.viewer_scene import TIMELINE

_APPLICATION = 'trans3dhead'
_FLUSH_LIVE, _FLUSH_BAG = 0.2, 60.0  # s


def check_destination(options: argparse.Namespace) -> None:
    """
    Check where the recording goes, before anything is loaded.

    :param options: `source`, `save`, `force` and `web` of the command line.
    :raises UserError: if the source does not exist, the recording does, or there is no display.
    """
    if options.source is not None and not Path(options.source).exists():
        raise UserError(f'source: {options.source} does not exist')
    if options.save is not None and options.save.exists() and not options.force:
        raise UserError(f'save: {options.save} exists; choose another name, or replace it with '
                        '--force')
    needs_display = options.save is None and not options.web and sys.platform == 'linux'
    if needs_display and not (os.environ.get('DISPLAY') or os.environ.get('WAYLAND_DISPLAY')):
        raise UserError('there is no display: use --save FILE.rrd, or --web and a browser')


@contextmanager
def open_recording(
    options: argparse.Namespace, live: bool, diagnostics: bool,
) -> Iterator[rr.RecordingStream]:
    """
    Open a recording that goes to a file, a browser or a viewer, and complete it at the end.

    :param options: `save`, `web` and `port` of the command line.
    :param live: whether somebody watches the data arrive.
    :param diagnostics: whether the layout has a place for the diagnostics of the node.
    :yield: the recording.
    """
    # Live data are wanted at once; larger batches are shown faster.
    batches = rr.ChunkBatcherConfig(flush_tick=_FLUSH_LIVE if live else _FLUSH_BAG)
    recording = rr.RecordingStream(_APPLICATION, batcher_config=batches)
    recording.set_log_time_enabled(False)
    recording.set_log_tick_enabled(False)
    layout = _layout(diagnostics)
    if options.save is not None:
        options.save.parent.mkdir(parents=True, exist_ok=True)
        recording.save(options.save, default_blueprint=layout)
    elif options.web:
        address = recording.serve_grpc(grpc_port=options.port + 1, default_blueprint=layout)
        rr.serve_web_viewer(web_port=options.port, open_browser=False, connect_to=address)
        # At once, also where it is read through a pipe.
        print(f'the viewer: http://localhost:{options.port}/?url={quote(address)}', flush=True)
    else:
        # The program of the same installation, whatever PATH says.
        program = Path(rerun_cli.__file__).with_name('rerun')
        rr.spawn(executable_path=str(program), default_blueprint=layout, recording=recording)
    try:
        yield recording
    finally:
        recording.flush()
        recording.disconnect()


def _layout(diagnostics: bool) -> rrb.Blueprint:
    """Return the layout of the viewer, with or without the diagnostics of the node."""
    def plot(title: str, origin: str, *keys: str) -> rrb.TimeSeriesView:
        contents = [f'{origin}/{key}' for key in keys] or f'{origin}/**'
        return rrb.TimeSeriesView(origin=origin, name=title, contents=contents)

    heads = rrb.Horizontal(plot('Position (m)', 'plots/position'),
                           plot('Angles (°)', 'plots/angles'), plot('Score', 'plots/score'),
                           name='Heads')
    node = rrb.Horizontal(
        plot('Times (ms)', 'diagnostics', 'inference_p50_ms', 'inference_p95_ms', 'frame_age_ms'),
        plot('Images per second', 'diagnostics', 'input_rate_Hz'),
        plot('Dropped images', 'diagnostics', 'images_replaced_by_newer_ones',
             'images_above_max_rate', 'bad_images'),
        rrb.TextLogView(origin='diagnostics/log', name='Log'), name='Node')
    return rrb.Blueprint(
        rrb.Vertical(
            rrb.Horizontal(rrb.Spatial2DView(origin='camera/image', name='Image'),
                           rrb.Spatial3DView(origin='camera', name='Space')),
            *([heads, node] if diagnostics else [heads]),
            row_shares=[4, 2, 2] if diagnostics else [2, 1]),
        rrb.TimePanel(timeline=TIMELINE, state='collapsed'), collapse_panels=True)
