# What all rules share: the resolved workflow, and named functions of wildcards.
import atexit
import functools
import gc
import inspect
import itertools
import json
import shlex
import sys
from pathlib import Path

# Jobs and files of the DAG stay until the end: to look through them for garbage, again and again, would be a quarter of
# a dry run, and another quarter when Python ends. As usual again once jobs start (`onstart`); not switched off, since
# `--no-hooks` starts without.
COLLECTING = gc.get_threshold()
gc.set_threshold(10_000_000)
atexit.register(gc.freeze)

from credit.config.files import overlay, read_yaml
from credit.dag import judged, own
from credit.dag.ahead import changes
from credit.dag.cost import banner, trains
from credit.dag.curves import asked_for, unusable_tensorboard
from credit.dag.landing import draw_by_experiment
from credit.dag.progress import Progress
from credit.dag.searches import missing_package, sampled_cells
from credit.dag.shell import plain, settings_of, shown
from credit.dag.stopping import Stop, mark_call, say_interrupts
from credit.dag.stored import in_store
from credit.dag.targets import Workflow
from credit.dag.targets import as_param
from credit.dag.varied import title
from credit.provenance.kept import kept_path
from credit.provenance.made import record_path
from snakemake import persistence
from snakemake.exceptions import WorkflowError
from snakemake.io import IOFile
from snakemake.settings.types import DeploymentMethod, RerunTrigger

if workflow.is_main_process:
    say_interrupts()
try:
    # A module is handed a part of the configuration, or none
    settings = overlay(read_yaml(CONFIG / "config.yaml"), config)
    WORKFLOW = Workflow(settings, CHECKOUT, CONFIG, job=not workflow.is_main_process)
except ValueError as error:
    raise WorkflowError(str(error)) from None

STOP = Stop()
PROGRESS = Progress(WORKFLOW.settings.progress, WORKFLOW.settings.progress_period)
WITH_CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
if workflow.is_main_process:
    mark_call()
    unusable = own.problems(WORKFLOW)
    if WORKFLOW.settings.tensorboard:
        unusable += unusable_tensorboard(WITH_CONDA and CHECKOUT / "envs" / "train.yaml")
    if unusable:
        raise WorkflowError("\n".join(unusable))
    for notice in own.notices(WORKFLOW):
        print(notice, file=sys.stderr)
    atexit.register(WORKFLOW.present.save)
    atexit.register(lambda: say_changes())
    draw_by_experiment(sys.modules.get("snakemake.report.html_reporter"), WORKFLOW)
    atexit.register(PROGRESS.end)

SAMPLED = sampled_cells(WORKFLOW)
RESULTS = WORKFLOW.results
DATA = WORKFLOW.settings.data_folder
LOGS = f"{RESULTS}/logs"
TIMES = f"{RESULTS}/logs/benchmarks"
SCRIPTS = shlex.quote(str(CHECKOUT / "workflow" / "scripts"))
# Without conda, jobs use the interpreter that runs Snakemake, whatever `python` means in the shell. A shell function
# keeps both paths out of the rules' commands: another folder or environment is no reason to rerun a job. `exec`, so
# that a cluster's signal reaches the training process, which saves its checkpoint, and no shell that dies first.
# -E, -s: neither the caller's PYTHON... variables nor packages in a user's home decide what runs (see scripts/_src.py).
PYTHON = "python -E -s" if WITH_CONDA else f"{shlex.quote(sys.executable)} -E"
# What a job writes for those who look on stands in no command either.
LOOKING = asked_for() if WORKFLOW.settings.tensorboard else ""
shell.prefix(
    f"set -euo pipefail; {LOOKING}"
    f'credit_script() {{{{ local name=$1; shift; exec {PYTHON} {SCRIPTS}/"$name".py "$@"; }}}}; '
)


wildcard_constraints:
    paper=r"[a-z]+",
    experiment=r"[a-z][a-z0-9_]*",
    dataset=r"[a-z][a-z0-9_]*",
    method=r"[a-z][a-z0-9_-]*",
    shard=r"\d+(?:\.short)?",


def papers_of_experiments():
    """A paper where the name of one of its experiments follows: a table of another paper may bear this name."""
    names = {}
    for key in WORKFLOW.experiments:
        paper, _, name = key.partition("/")
        names.setdefault(paper, []).append(name)
    return "|".join(rf"{paper}(?=/(?:{'|'.join(mine)})\.)" for paper, mine in names.items())


def papers_searching(sampled):
    """Pattern of the papers whose searches draw what they try, or of all others; it looks ahead for the cell."""
    return rf"(?{'=' if sampled else '!'}(?:{'|'.join(SAMPLED) or '(?!)'})/)[a-z]+"


def papers_keeping(kinds):
    """Pattern of the papers whose cells keep just these kinds of files; it looks ahead for the cell. Cells that keep
    something are listed, all others keep nothing."""
    cells = WORKFLOW.keeping.get(kinds, ()) if kinds else itertools.chain(*WORKFLOW.keeping.values())
    return rf"(?{'=' if kinds else '!'}(?:{'|'.join(cells) or '(?!)'})/)[a-z]+"


def results_keeping(kinds):
    """What a training job makes, by name: its result first, then what it keeps beside it."""
    result = f"{RESULTS}/runs/{{paper}}/{{experiment}}/{{dataset}}/{{method}}/shard{{shard}}.jsonl"
    paths = {"result": result, **{kind: str(kept_path(result, kind)) for kind in kinds}}
    return {name: ensure(update(path), non_empty=True) for name, path in paths.items()}


def with_records(paths):
    # Snakemake makes again what is asked for, but not what else a job should have written.
    return [*paths, *dict.fromkeys(str(record_path(path)) for path in paths)]


def all_targets():
    return with_records([*WORKFLOW.artefact_paths(), *judged.paths(WORKFLOW)])


def collect_garbage_again():
    atexit.unregister(gc.freeze)
    gc.freeze()  # the DAG is not looked through any more
    gc.set_threshold(*COLLECTING)


def announce():
    mode = "conda environments" if WITH_CONDA else f"this environment ({sys.executable})"
    asked = {job: json.loads(job.params.spec) for job in workflow.dag.needrun_jobs() if trains(job.output)}
    ahead = {job: spec for job, spec in asked.items() if not in_store(WORKFLOW, str(job.output[0]), spec)}
    if not WITH_CONDA and (problem := missing_package(ahead.values())):
        raise WorkflowError(problem)
    print(banner(WORKFLOW, mode, ahead.values()), file=sys.stderr)
    from credit.dag.standing import Job  # not to plan
    from credit.dag.work import Work

    followed = {job: Job(str(job.output[0]), Work(spec), str(job.log[0])) for job, spec in ahead.items()}
    PROGRESS.begin(workflow, followed, len(asked) - len(ahead))


def say_changes():
    # The last that a dry run says: Snakemake's own reasons know that a specification has changed, not what in it.
    if workflow.dryrun and workflow.dag is not None:
        ahead = workflow.dag.needrun_jobs(exclude_finished=False)
        made = sorted(str(job.output[0]) for job in ahead if job.output)
        for line in changes(WORKFLOW, made, settings_of(sys.argv[1:])):
            print(line, file=sys.stderr)


def last_words():
    PROGRESS.end()
    # What `update` kept of a failed job has its record renewed, as if the job had made it. Of runs and searches headers
    # decide without a record; everything else counts as incomplete.
    failed = [each for job in workflow.scheduler.failed for each in (job if job.is_group() else [job])]
    for job in failed:
        if trains(job.output):
            workflow.persistence.cleanup(job)
        else:
            workflow.persistence.started(job)
    return STOP.last_words(LOGS)


def cell_of(wildcards):
    return f"{wildcards.paper}/{wildcards.experiment}", wildcards.dataset, wildcards.method


def fetch_spec(wildcards):
    return as_param(WORKFLOW.fetch_spec(wildcards.dataset))


def user_files(wildcards):
    return own.paths(wildcards.dataset) or WORKFLOW.settings.user_files or ""


def prepare_spec(wildcards):
    return as_param(WORKFLOW.prepare_spec(wildcards.dataset))


def search_spec(wildcards):
    return as_param(WORKFLOW.search_spec(*cell_of(wildcards)))


@functools.cache  # Snakemake asks four times a job
def train_spec_of(key, dataset, method, shard):
    return as_param(WORKFLOW.train_spec(key, dataset, method, shard))


def train_spec(wildcards):
    return train_spec_of(*cell_of(wildcards), wildcards.shard)


FORCED = set()


def judge(spec, files, inputs, choice=None):
    # A result says itself what it was made from. Snakemake has its own records, but none of a file that was copied here,
    # or whose job ended after the driver was killed; and what was put in a file's place it does not see.
    if not workflow.is_main_process:
        return inputs
    stale = WORKFLOW.present.stale(spec, *files, choice=choice) or lacking(*files)
    if not stale:
        return [] if unrecorded(files) else inputs
    if RerunTrigger.PARAMS in workflow.rerun_triggers:
        if not FORCED:
            why = f"what differs, for example: credit why {stale[0]}{settings_of(sys.argv[1:])}"
            print(
                f"results that are not what would be made now are made again (forced execution); {why}", file=sys.stderr
            )
        FORCED.update(stale)
        workflow.dag.forcefiles.update(stale)
    return inputs


def lacking(result, *kept):
    # A file beside a result that is missing is made again where it is asked for itself; here, because it is to be kept.
    missing = [path for path in kept if not Path(path).exists()]
    return [result] if missing and Path(result).exists() else []


def unrecorded(files):
    # Results that are there, and that Snakemake did not see made. They need no inputs while nobody asks to make them
    # again; with inputs they would be, when their data is newer than they are, or is made for another job of the call.
    asked, records = workflow.dag_settings, workflow.persistence
    return (
        not (asked.forceall or asked.forcerun or asked.forcetargets)
        and all(map(WORKFLOW.present.__getitem__, files))
        and not any(map(records.metadata, map(IOFile, files)))
        and not records._filter_incomplete_keys(files)
    )


def data_inputs(cell):
    # Not ancient(): Snakemake then overlooks that the params changed too when the data is made again in the same run.
    # Touched files with the same content rerun nothing, since their checksums are compared (profiles/default).
    return [WORKFLOW.data_path(cell.data)] if cell.data else []


def choice_of(wildcards):
    return f"{RESULTS}/runs/{'/'.join(cell_of(wildcards))}/choice.json"


def search_inputs(wildcards):
    place = cell_of(wildcards)
    cell = WORKFLOW.cell(*place)
    if not cell.search:
        return data_inputs(cell)
    inputs = data_inputs(cell) + WORKFLOW.weights_paths(place, cell.search["seeds"])
    return judge(search_spec(wildcards), [choice_of(wildcards)], inputs)


def train_inputs(wildcards):
    place = cell_of(wildcards)
    cell = WORKFLOW.cell(*place)
    run = f"{RESULTS}/runs/{'/'.join(place)}/shard{wildcards.shard}"
    choice = [choice_of(wildcards)] if cell.search else []
    files = [f"{run}.jsonl", *(str(kept_path(f"{run}.jsonl", kind)) for kind in cell.keep)]
    inputs = data_inputs(cell) + WORKFLOW.start_paths(place, wildcards.shard) + choice
    return judge(train_spec(wildcards), files, inputs, *choice)


def collect_inputs(wildcards):
    return WORKFLOW.runs(f"{wildcards.paper}/{wildcards.experiment}")


def collect_spec(wildcards):
    return as_param(WORKFLOW.collect_spec(f"{wildcards.paper}/{wildcards.experiment}"))


def artefact_spec(kind, name):
    # A function, since Snakemake looks for wildcards in a text, and titles may have braces.
    def spec(wildcards):
        return as_param(WORKFLOW.artefact_spec(kind, name))

    return spec


def readable_spec(name):
    def spec(wildcards):
        return as_param(WORKFLOW.readable_spec(name))

    return spec


def fidelity_spec(wildcards):
    return as_param(WORKFLOW.fidelity_spec())


def fidelity_page_spec(wildcards):
    return as_param(judged.page_spec(WORKFLOW))


def experiment_of(wildcards):
    return WORKFLOW.experiment(f"{wildcards.paper}/{wildcards.experiment}")


def train_threads(wildcards):
    return WORKFLOW.cell(*cell_of(wildcards)).run["train"]["threads"]


def train_mem_mb(wildcards, attempt):
    return experiment_of(wildcards).resource("mem_mb", 2000) * attempt


def train_runtime(wildcards, attempt):
    return experiment_of(wildcards).resource("runtime", 60) * attempt


def train_gpu(wildcards):
    return experiment_of(wildcards).resource("gpu", 0)


# Snakemake asks for the parameters of a job's functions a dozen times a job; written down, they need not be derived.
for function in (train_spec, train_inputs, train_threads, train_mem_mb, train_runtime, train_gpu):
    function.__signature__ = inspect.signature(function)

# Nor load pandas, for a tenth of the time of a call with nothing to do, to see that no parameter is one of its tables.
for kind in vars(persistence).values():
    if hasattr(kind, "_serialize_param_builtin"):
        kind._serialize_param_pandas = kind._serialize_param_builtin

# Nor need it ask for each job where all have the same.
TRAIN_GPU = 1 if WORKFLOW.settings.device == "cuda" else train_gpu if WORKFLOW.asks_for_gpu else 0
