"""Ablations: seeded runs that can be continued, and what few seeds can say."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from command_line import ablate as main
from training_set import overrides

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_ros.network.cost import weight_count
from trans3dhead_training.ablation.ablation_report import markdown
from trans3dhead_training.ablation.ablation_results import Results, compare
from trans3dhead_training.ablation.ablation_runs import existing_runs, planned_runs
from trans3dhead_training.ablation.variants import all_variants, chosen_variants

pytestmark = pytest.mark.train

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
def study(prepared, tmp_path_factory) -> dict:
    """Two variants and seeds; first one run fails, and then one result is lost."""
    root = tmp_path_factory.mktemp('ablation') / 'study'
    in_the_way = root / VARIANT / 'seed1' / 'losses.csv'
    in_the_way.mkdir(parents=True)
    code, first = main(arguments(prepared, root)), Results.read(existing_runs(root))
    report = (root / 'report.md').read_text()
    in_the_way.rmdir()
    (root / 'base' / 'seed0' / 'metrics.csv').unlink()
    kept = [root / 'base' / 'seed1', root / VARIANT / 'seed0']
    made = [(folder / 'last.safetensors').stat().st_mtime_ns for folder in kept]
    second_code = main(arguments(prepared, root))
    return {'root': root, 'first': (code, first, report),
            'second': (second_code, Results.read(existing_runs(root)),
                       (root / 'report.md').read_text()),
            'made': made,
            'made_after': [(folder / 'last.safetensors').stat().st_mtime_ns for folder in kept]}


def test_a_run_fails_while_the_others_finish(study):
    code, results, report = study['first']
    assert code == 1 and results.unfinished == 1
    assert {(name, *seeds) for name, seeds in results.metrics.items()} == {
        ('base', 0, 1), (VARIANT, 0)}
    assert '1 of 4 runs' in report


def test_the_next_call_makes_only_what_is_missing(study):
    code, results, report = study['second']
    assert code == 0 and results.unfinished == 0
    assert sum(map(len, results.metrics.values())) == 4 and 'Unfinished' not in report
    assert study['made'] == study['made_after']


def test_a_result_has_the_metrics_and_the_cost_of_its_network(study):
    folder = study['root'] / VARIANT / 'seed0'
    network, metadata = load_checkpoint(folder / 'last.safetensors', torch.device('cpu'))
    assert network.config.reference == 'mean' and metadata['metrics']['step'] == 2
    results = study['second'][1]
    assert results.metrics[VARIANT][0]['inner51_percent'] > 0
    weights, multiply_adds = results.cost[VARIANT]
    assert weights == pytest.approx(weight_count(network) / 1e6) and multiply_adds > 0
    assert not any((folder / name).exists() for name in ('state.pt', 'best.onnx'))


def test_equal_seeds_give_equal_metrics(study):
    """A run that was lost and made again is the same; another seed is another run."""
    before, after = study['first'][1].metrics['base'], study['second'][1].metrics['base']
    assert before[0] == after[0] != after[1]


def test_another_configuration_is_refused_by_name(study, prepared):
    with pytest.raises(UserError, match=r'^batch_size: .*seed0 holds a run with 8, not 4'):
        main(arguments(prepared, study['root'], 'batch_size=4'))


@pytest.mark.parametrize(('more', 'message'), [
    (['seed=3'], 'seed: the ablation sets it'),
    (['steps=0', 'minutes=1'], 'give steps=N'),
    (['--variants', 'marr,dance'], "'dance' is unknown"),
    (['--seeds', '0'], '--seeds: at least 1'),
    (['--backbone', 'nowhere'], '--backbone: no file nowhere'),
    (['--report-only'], 'no run has finished'),
])
def test_a_mistake_is_reported_before_anything_is_trained(prepared, tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        main(arguments(prepared, tmp_path, *more))
    assert not list(tmp_path.glob('*/*/log.txt'))


def test_another_backbone_is_refused(prepared, tmp_path):
    def plan(backbone: str) -> None:
        planned_runs(tmp_path, None, base_keys(prepared, 2), chosen_variants([VARIANT]), 1,
                     Path(backbone))

    plan('one.safetensors')
    plan('one.safetensors')
    with pytest.raises(UserError, match=r'^init_checkpoint: .*other\.safetensors'):
        plan('other.safetensors')


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
def test_interrupting_the_study_stops_its_runs_cleanly(prepared, tmp_path):
    root = tmp_path / 'study'
    command = [sys.executable, '-m', 'trans3dhead_ros.cli.main', 'ablate',
               *arguments(prepared, root, steps=10 ** 7), 'log_steps=1']
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    process = subprocess.Popen(command, env={**os.environ, 'PYTHONPATH': path},
                               start_new_session=True)
    folders = [root / name / 'seed0' for name in ('base', VARIANT)]
    try:
        deadline = time.monotonic() + 180
        while not all((folder / 'losses.csv').is_file()
                      and (folder / 'losses.csv').stat().st_size for folder in folders):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        assert not processes_with(str(root))
    finally:
        process.kill()
        for number in processes_with(str(root)):
            os.kill(number, signal.SIGKILL)
    assert all((folder / 'state.pt').is_file() for folder in folders)
    assert not any((folder / 'metrics.csv').read_text() for folder in folders)


def results(**metrics: dict[str, tuple[float, ...]]) -> Results:
    """Return results of one metric per variant: `results(base={'rotation_deg': (3.0, 4.0)})`."""
    return Results({variant: {seed: {key: values[seed] for key, values in columns.items()
                                     if seed < len(values)}
                              for seed in range(max(map(len, columns.values())))}
                    for variant, columns in metrics.items()})


def test_three_seeds_need_four_standard_errors():
    seen = compare([1.0, 2.0, 3.0])
    half = 4.302652729911275 / 3 ** 0.5  # Student's t, 2 degrees of freedom
    assert (seen.mean, seen.low, seen.high) == pytest.approx((2.0, 2 - half, 2 + half))
    assert seen.verdict == 'no difference seen'
    assert compare([1.9, 2.0, 2.1]).verdict == 'worse'
    assert compare([-1.9, -2.0, -2.1]).verdict == 'better'
    assert compare([0.0, 0.0, 0.0]).verdict == 'no difference seen'
    assert compare([2.0]) is None


def test_the_report_pairs_seeds_and_counts_its_comparisons():
    # Seeds differ by more than variants do, and equally in both.
    text = markdown(results(base={'inner51_percent': (5.0, 6.0, 7.0)},
                            marr_mean={'inner51_percent': (5.4, 6.5, 7.6)}))
    assert '| 6.00 ± 1.00 |' in text
    assert '| 6.50 ± 1.10<br>+0.50 [+0.25, +0.75] **worse** |' in text
    assert 'Comparisons: 1, of which with a verdict: 1.' in text and 'about 0.1 verdicts' in text


def test_forms_of_the_euler_loss_are_compared_with_none_of_it():
    text = markdown(results(base={'rotation_deg': (3.0, 4.0)},
                            euler_none={'rotation_deg': (5.0, 6.0)},
                            euler_safe={'rotation_deg': (4.0, 5.0)}))
    row = next(line for line in text.splitlines() if 'photographs, rotation' in line)
    assert '| 5.50 ± 0.71 | – | 4.50 ± 0.71<br>-1.00 [-1.00, -1.00] **better** |' in row


def test_a_seed_missing_from_the_base_is_not_compared():
    found = results(base={'rotation_deg': (3.0,)}, marr_mean={'rotation_deg': (3.1, 9.0)})
    assert found.comparison(VARIANT, 'base', 'rotation_deg') is None
    assert 'nothing can be compared yet' in markdown(found)


def test_report_only_reads_what_is_there_and_draws_it(tmp_path, capsys):
    for variant in all_variants():
        for seed in range(2):
            folder = tmp_path / variant.name / f'seed{seed}'
            folder.mkdir(parents=True)
            (folder / 'config.yaml').write_text(f'steps: 2\nseed: {seed}\n')
            (folder / 'metrics.csv').write_text(
                f'step,val_inner51_percent,val_rotation_deg\n2,{4.0 + seed},3.0\n')
    assert main(['--report-only', '--output', str(tmp_path)]) == 0
    names = ('report.md', 'ablation.png')
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in names]
    assert (tmp_path / 'ablation.png').read_bytes().startswith(b'\x89PNG')
    assert (tmp_path / 'report.md').read_text().count('### ') == 8
