"""Ablations: seeded runs that go on where they broke off, and what few seeds may claim."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from command_line import ablate as main
from synthetic import small_network
from training_set import overrides

from trans3dhead_ros.network.checkpoint import load_checkpoint, save_checkpoint
from trans3dhead_ros.network.cost import weight_count
from trans3dhead_training.ablation.ablation_report import markdown, write_report
from trans3dhead_training.ablation.comparison import Comparison
from trans3dhead_training.ablation.outcomes import Outcomes
from trans3dhead_training.ablation.results import Failure, Result, RunFolder
from trans3dhead_training.ablation.study import Study
from trans3dhead_training.ablation.variants import all_variants, chosen_variants

ROOT = Path(__file__).resolve().parents[3]
VARIANT = 'marr_mean'


def base_keys(prepared: Path, steps: int) -> list[str]:
    """The keys of a small training, without those that a study sets itself."""
    return [key for key in overrides(prepared, Path('-'), steps)
            if not key.startswith(('output=', 'minutes='))]


def arguments(prepared: Path, output: Path, *more: str, steps: int = 2) -> list[str]:
    return ['--output', str(output), '--variants', VARIANT, '--seeds', '2', '--jobs', '2',
            '--backbone', 'none', *base_keys(prepared, steps), *more]


@pytest.fixture(scope='module')
def backbone(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('backbone') / 'model.safetensors'
    save_checkpoint(path, small_network(), {})
    return path


@pytest.fixture(scope='module')
def study(prepared, tmp_path_factory) -> dict:
    """Two variants and seeds; first one run cannot write, and then one result is lost."""
    root = tmp_path_factory.mktemp('ablation') / 'study'
    in_the_way = root / VARIANT / 'seed1' / 'train'
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text('a file where a folder should be')
    first = main(arguments(prepared, root)), Outcomes.read(root), (root / 'report.md').read_text()
    in_the_way.unlink()
    lost = root / 'base' / 'seed0' / 'result.json'
    lost.unlink()
    made = {path: path.stat().st_mtime_ns for path in root.glob('*/*/result.json')}
    second = main(arguments(prepared, root)), Outcomes.read(root), (root / 'report.md').read_text()
    return {'root': root, 'first': first, 'second': second, 'made': made}


def test_a_failing_run_is_told_while_the_others_finish(study):
    code, outcomes, report = study['first']
    assert code == 1
    assert {(r.variant, r.seed) for r in outcomes.results} == {
        ('base', 0), ('base', 1), (VARIANT, 0)}
    failure, = outcomes.failures
    assert (failure.variant, failure.seed) == (VARIANT, 1) and 'train' in failure.reason
    assert failure.reason in report and '1, 1 failed' in report and '1 of 4 runs' in report


def test_the_next_call_makes_only_what_is_missing(study):
    code, outcomes, report = study['second']
    assert code == 0 and not outcomes.failures and len(outcomes.results) == 4
    assert 'Unfinished' not in report and 'failed' not in report
    assert study['made'] == {path: path.stat().st_mtime_ns for path in study['made']}


def test_a_result_holds_the_figures_and_the_cost_of_its_network(study):
    run = RunFolder.of(study['root'], VARIANT, 0)
    network, metadata = load_checkpoint(run.training / 'last.safetensors', torch.device('cpu'))
    assert network.config.reference == 'mean' and metadata['metrics']['step'] == 2
    result = run.result()
    assert result.figures['inner51_percent'] > 0 and result.seconds >= 0
    assert result.weights == pytest.approx(weight_count(network) / 1e6)
    assert result.multiply_adds > 0
    assert not run.unfinished()


def test_equal_seeds_give_equal_figures(study):
    """Lost and made again, a run is the same; another seed is another run."""
    before = {(r.variant, r.seed): r.figures for r in study['first'][1].results}
    after = {(r.variant, r.seed): r.figures for r in study['second'][1].results}
    assert before['base', 0] == after['base', 0] != after['base', 1]


def test_another_configuration_is_refused_by_name(study, prepared):
    with pytest.raises(ValueError, match=r'^batch_size: .*seed0 holds a run with 8, now 4 is asked'):
        main(arguments(prepared, study['root'], 'batch_size=4'))


@pytest.mark.parametrize(('more', 'message'), [
    (['seed=3'], 'seed: the study sets it'),
    (['steps=0', 'minutes=1'], 'give steps=N'),
    (['--variants', 'marr,dance'], "'dance' is unknown"),
    (['--seeds', '0'], '--seeds: at least 1'),
    (['--backbone', 'nowhere'], '--backbone: no file nowhere'),
    (['--report-only'], 'no run has ended'),
])
def test_a_mistake_is_told_before_anything_is_trained(prepared, tmp_path, more, message):
    with pytest.raises(ValueError, match=message):
        main(arguments(prepared, tmp_path, *more))
    assert not list(tmp_path.glob('*/*/log.txt'))


def claim(root: Path, prepared: Path, backbone: Path) -> None:
    Study(root, None, tuple(base_keys(prepared, 2)), chosen_variants([VARIANT]), 1,
          backbone).jobs()


def test_a_study_goes_on_with_the_same_files_elsewhere(prepared, backbone, tmp_path):
    claim(tmp_path / 'study', prepared, backbone)
    (tmp_path / 'study').rename(tmp_path / 'moved')
    copy = tmp_path / 'copy.safetensors'
    copy.write_bytes(backbone.read_bytes())
    claim(tmp_path / 'moved', prepared, copy)


@pytest.mark.parametrize('hashes', [True, False], ids=['by hash', 'by path'])
def test_a_study_does_not_go_on_with_another_backbone(prepared, backbone, tmp_path, hashes):
    claim(tmp_path / 'study', prepared, backbone)
    if not hashes:  # as studies were that knew paths alone
        for path in (tmp_path / 'study').glob('*/*/config.json'):
            keys = json.loads(path.read_text())
            path.write_text(json.dumps({k: v for k, v in keys.items() if 'sha256' not in k}))
    other = tmp_path / 'other.safetensors'
    save_checkpoint(other, small_network(seed=1), {})
    with pytest.raises(ValueError, match=r'^init_checkpoint: .*other\.safetensors'):
        claim(tmp_path / 'study', prepared, other)
    other.write_bytes(backbone.read_bytes())
    claim(tmp_path / 'study', prepared, other)


def test_a_file_that_changed_in_its_place_is_refused(prepared, backbone, tmp_path):
    path = tmp_path / 'model.safetensors'
    path.write_bytes(backbone.read_bytes())
    claim(tmp_path / 'study', prepared, path)
    save_checkpoint(path, small_network(seed=1), {})
    with pytest.raises(ValueError, match=r'^init_checkpoint: .* of other content'):
        claim(tmp_path / 'study', prepared, path)


def test_a_result_that_cannot_be_written_is_a_failure_of_that_run(study, tmp_path):
    done = RunFolder.of(study['root'], 'base', 1)
    run = RunFolder.of(tmp_path, 'base', 1)
    run.path.mkdir(parents=True)
    run.log.write_text('done')
    run.training.symlink_to(done.training)
    (run.path / 'result.json').mkdir()
    outcome = run.keep(0, 2)
    assert isinstance(outcome, Failure) and 'result.json' in outcome.reason
    assert run.failure() == outcome and run.result() is None


def processes_with(text: str) -> list[int]:
    found = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            if text in path.read_bytes().decode(errors='replace'):
                found.append(int(path.parent.name))
        except OSError:  # ended meanwhile
            continue
    return found


@pytest.mark.skipif(not Path('/proc/self/cmdline').is_file(), reason='needs /proc')
def test_interrupting_the_study_stops_its_runs_in_order(prepared, tmp_path):
    root = tmp_path / 'study'
    command = [sys.executable, '-m', 'trans3dhead_ros.cli.main', 'ablate',
               *arguments(prepared, root, steps=10 ** 7), 'log_steps=1']
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    process = subprocess.Popen(command, env={**os.environ, 'PYTHONPATH': path},
                               start_new_session=True)
    runs = [RunFolder.of(root, name, 0) for name in ('base', VARIANT)]
    try:
        deadline = time.monotonic() + 180
        while not all((run.training / 'losses.csv').is_file()
                      and (run.training / 'losses.csv').stat().st_size for run in runs):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        assert not processes_with(str(root))
    finally:
        process.kill()
        for number in processes_with(str(root)):
            os.kill(number, signal.SIGKILL)
    assert all(run.unfinished() and run.failure() is None for run in runs)


def result(variant: str, seed: int, **figures: float) -> Result:
    return Result(variant, seed, figures, 5.5, 35.7, 60.0)


def test_three_seeds_need_four_standard_errors():
    seen = Comparison.of([1.0, 2.0, 3.0])
    half = 4.302652729911275 / 3 ** 0.5  # Student's t, 2 degrees of freedom
    assert (seen.mean, seen.low, seen.high) == pytest.approx((2.0, 2 - half, 2 + half))
    assert seen.verdict == 'no difference seen'
    assert Comparison.of([1.9, 2.0, 2.1]).verdict == 'worse'
    assert Comparison.of([-1.9, -2.0, -2.1]).verdict == 'better'
    assert Comparison.of([0.0, 0.0, 0.0]).verdict == 'no difference seen'
    assert Comparison.of([2.0]) is None


def test_the_report_pairs_seeds_and_counts_its_comparisons():
    # Seeds differ by more than variants do, and equally in both.
    base, own = (5.0, 6.0, 7.0), (5.4, 6.5, 7.6)
    outcomes = Outcomes((*(result('base', s, inner51_percent=v) for s, v in enumerate(base)),
                         *(result(VARIANT, s, inner51_percent=v) for s, v in enumerate(own))), ())
    text = markdown(outcomes)
    assert '| 6.00 ± 1.00 |' in text
    assert '| 6.50 ± 1.10<br>+0.50 [+0.25, +0.75] **worse** |' in text
    assert '* **from the mean**: worse in 1 of 1 figures.' in text
    assert 'Comparisons: 1, of which with a verdict: 1.' in text and 'about 0.1 verdicts' in text


def test_forms_of_the_euler_loss_are_compared_with_none_of_it():
    outcomes = Outcomes(tuple(result(name, seed, rotation_deg=value + seed)
                              for name, value in (('base', 3.0), ('euler_none', 5.0),
                                                  ('euler_safe', 4.0)) for seed in range(2)), ())
    row = next(line for line in markdown(outcomes).splitlines() if 'photographs, rotation' in line)
    assert '| 5.50 ± 0.71 | – | 4.50 ± 0.71<br>-1.00 [-1.00, -1.00] **better** |' in row


def test_a_seed_that_the_base_lacks_is_not_compared():
    outcomes = Outcomes((result('base', 0, rotation_deg=3.0), result(VARIANT, 0, rotation_deg=3.1),
                         result(VARIANT, 1, rotation_deg=9.0)), ())
    assert outcomes.comparison(VARIANT, 'base', 'rotation_deg') is None
    assert 'nothing can be compared yet' in markdown(outcomes)


def test_report_only_reads_what_is_there_and_draws_it(tmp_path, capsys):
    for variant in all_variants():
        for seed in range(2):
            run = RunFolder.of(tmp_path, variant.name, seed)
            run.path.mkdir(parents=True)
            outcome = result(variant.name, seed, inner51_percent=4.0 + seed, rotation_deg=3.0)
            (run.path / 'result.json').write_text(json.dumps(asdict(outcome)))
    assert main(['--report-only', '--output', str(tmp_path)]) == 0
    names = ('report.md', 'runs.csv', 'ablation.png')
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in names]
    assert (tmp_path / 'ablation.png').read_bytes().startswith(b'\x89PNG')
    assert len((tmp_path / 'runs.csv').read_text().splitlines()) == 1 + 2 * len(all_variants())
    assert (tmp_path / 'report.md').read_text().count('### ') == 8


def test_nothing_ended_is_nothing_to_report(tmp_path):
    with pytest.raises(ValueError, match='no run has ended'):
        write_report(tmp_path, Outcomes.read(tmp_path))
