"""Tables and figures of events, held against what the runs will record, before any job. Loads no pandas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from credit.analysis.pooling import pooling
from credit.dag.experiment import Experiment
from credit.dag.recorded import recorded
from credit.errors import ConfigError, one_of


def problems(options: Mapping[str, Any], runs: Sequence[tuple[Experiment, str, str]], place: str) -> Iterator[str]:
    """What is wrong with `events` among the options; runs: (experiment, data set, method) that they leave."""
    try:
        wanted = pooling(options, place)
    except ConfigError as error:
        yield str(error)
        return
    cells = [experiment.cell(dataset, method) for experiment, dataset, method in runs]
    known = {cell.metrics for cell in cells}
    for metric in wanted.data if None not in known else ():
        if not recorded(metric, frozenset().union(*known)):
            yield one_of(f"{place}.events.data: metric", metric, frozenset().union(*known))
    methods = {method for experiment, *_ in runs for method in experiment.names["methods"]}
    for method in wanted.grids:
        if method not in methods:
            yield one_of(f"{place}.events.grids: method", method, methods)
    for name, metrics in (lines if isinstance(lines := options.get("lines"), Mapping) else {}).items():
        for metric in metrics if isinstance(metrics, list) else ():
            if metric not in [*wanted.data]:
                yield one_of(f"{place}.lines.{name}: metric", metric, wanted.data)
    longest = max((cell.run["train"]["epochs"] for cell in cells), default=0)
    whole = all(e.settings.scale == "paper" and e.settings.epochs is None for e, *_ in runs)
    if cells and whole and wanted.after >= longest:
        yield f"{place}.events.after = {wanted.after}; leaves nothing, no run has more than {longest} epochs"
